"""`--fine`: the last stage with stride 1 and dilation 2. Every second cell keeps its value, and all cells are new."""

import json

import numpy as np
import onnx
import pytest

from camrt.cli import main
from camrt.errors import ExportError
from camrt.export import attach, from_torch
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, random_images, run, session

SIZE = 32
"""Width and height of the input in pixels; the first convolution halves it, the last stage once more."""


def conv(net, maps, *, kernel=3, stride=1, group=1, channels=CHANNELS, dilation=1, bias=True):
    pad = dilation * (kernel - 1) // 2
    weights = [net.weights(channels, CHANNELS // group, kernel, kernel)] + ([net.weights(channels)] if bias else [])
    options = {"pads": [pad] * 4, "strides": [stride] * 2, "group": group, "dilations": [dilation] * 2}
    return net.op("Relu", net.op("Conv", maps, *weights, **options))


def plain(net, maps):
    return conv(net, conv(net, conv(net, maps, stride=2)), kernel=5)


def residual(net, maps):
    """A block with a strided 1x1 convolution on its skip branch, and one with none."""
    first = net.op("Conv", conv(net, maps, stride=2), net.weights(CHANNELS, CHANNELS, 3, 3), pads=[1] * 4)
    skip = net.op("Conv", maps, net.weights(CHANNELS, CHANNELS, 1, 1), strides=[2, 2])
    joined = net.op("Relu", net.op("Add", first, skip))
    return net.op("Relu", net.op("Add", conv(net, joined), joined))


def pooled_skip(net, maps):
    """ResNet-D: the skip branch is a strided average pool and a 1x1 convolution."""
    pool = net.op("AveragePool", maps, kernel_shape=[2, 2], strides=[2, 2])
    skip = net.op("Conv", pool, net.weights(CHANNELS, CHANNELS, 1, 1))
    return conv(net, net.op("Add", conv(net, maps, stride=2), skip))


def sliced_skip(net, maps):
    """ResNet for CIFAR: the skip branch takes every second cell."""
    ends = net.const(np.array([2**31 - 1] * 2))
    starts, axes, steps = (net.const(np.array(values)) for values in ([0, 0], [2, 3], [2, 2]))
    return conv(net, net.op("Add", conv(net, maps, stride=2), net.op("Slice", maps, starts, ends, axes, steps)))


def depthwise(net, maps):
    strided = conv(net, maps, stride=2, group=CHANNELS)
    return conv(net, conv(net, strided, kernel=1), kernel=5, group=CHANNELS)


def strided_pool(net, maps):
    return conv(net, net.op("MaxPool", maps, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))


def strided_pool_rounded_up(net, maps):
    return conv(net, net.op("MaxPool", maps, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1))


def unpadded(net, maps):
    """Inception: convolution and pool without padding, side by side, with an uneven number of cells."""
    odd = net.op("Conv", maps, net.weights(CHANNELS, CHANNELS, 2, 2))
    first = net.op("Conv", odd, net.weights(CHANNELS, CHANNELS, 3, 3), strides=[2, 2])
    second = net.op("MaxPool", odd, kernel_shape=[3, 3], strides=[2, 2])
    joined = net.op("Concat", first, second, axis=1)
    return net.op("Relu", net.op("Conv", joined, net.weights(CHANNELS, 2 * CHANNELS, 3, 3), pads=[1] * 4))


def average_branch(net, maps):
    """Inception: an average pool with stride 1 that leaves the padding out."""
    strided = conv(net, maps, stride=2)
    return conv(net, net.op("AveragePool", strided, kernel_shape=[3, 3], pads=[1] * 4), kernel=1)


def average_branch_with_padding(net, maps):
    strided = conv(net, maps, stride=2)
    options = {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}
    return conv(net, net.op("AveragePool", strided, **options), kernel=1)


def largest_branch(net, maps):
    return conv(net, net.op("MaxPool", conv(net, maps, stride=2), kernel_shape=[3, 3], pads=[1] * 4))


def automatic_padding(net, maps):
    """TensorFlow: padding "SAME", more of it at the end."""
    options = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
    strided = net.op("Relu", net.op("Conv", maps, net.weights(CHANNELS, CHANNELS, 3, 3), **options))
    return net.op("Relu", net.op("Conv", strided, net.weights(CHANNELS, CHANNELS, 3, 3), auto_pad="SAME_UPPER"))


def separate_padding(net, maps):
    padded = net.op("Pad", conv(net, maps, stride=2), net.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    return net.op("Relu", net.op("Conv", padded, net.weights(CHANNELS, CHANNELS, 3, 3)))


def dilated_already(net, maps):
    return conv(net, conv(net, maps, stride=2), dilation=2)


def excitation(net, maps):
    strided = conv(net, maps, stride=2)
    squeezed = net.op("GlobalAveragePool", strided)
    gates = net.op("Sigmoid", net.op("Conv", squeezed, net.weights(CHANNELS, CHANNELS, 1, 1)))
    return conv(net, net.op("Mul", strided, gates))


def excitation_by_mean(net, maps):
    strided = conv(net, maps, stride=2)
    gates = net.op("Sigmoid", net.op("ReduceMean", strided, axes=[2, 3], keepdims=1))
    return conv(net, net.op("Mul", strided, gates))


def excitation_by_pool(net, maps):
    strided = conv(net, maps, stride=2)
    gates = net.op("Sigmoid", net.op("AveragePool", strided, kernel_shape=[8, 8]))
    return conv(net, net.op("Mul", strided, gates))


def shuffled(net, maps):
    """ShuffleNet, with the size of the map in its Reshapes."""
    wide = net.op("Conv", conv(net, maps, stride=2), net.weights(6, CHANNELS, 1, 1))
    parts = net.op("Reshape", wide, net.const(np.array([1, 2, 3, 8, 8])))
    mixed = net.op("Reshape", net.op("Transpose", parts, perm=[0, 2, 1, 3, 4]), net.const(np.array([1, 6, 8, 8])))
    return net.op("Relu", net.op("Conv", mixed, net.weights(CHANNELS, 6, 3, 3), pads=[1] * 4))


def quantized(net, maps):
    def pair(tensor, scale):
        scale, zero = net.const(np.array(scale, np.float32)), net.const(np.array(128, np.uint8))
        return net.op("DequantizeLinear", net.op("QuantizeLinear", tensor, scale, zero), scale, zero)

    def layer(tensor, scale, **options):
        integers = net.random.integers(-127, 128, (CHANNELS, CHANNELS, 3, 3), dtype=np.int8)
        weights = net.op("DequantizeLinear", net.const(integers), net.const(np.array(0.004, np.float32)))
        return pair(net.op("Conv", tensor, weights, pads=[1] * 4, **options), scale)

    return layer(layer(pair(maps, 0.03), 0.06, strides=[2, 2]), 0.1)


FORMS = [
    plain, residual, pooled_skip, sliced_skip, depthwise, strided_pool, strided_pool_rounded_up, unpadded,
    average_branch, average_branch_with_padding, largest_branch, automatic_padding, separate_padding, dilated_already,
    excitation, excitation_by_mean, excitation_by_pool, shuffled, quantized,
]  # fmt: skip


def save(form, path, *, batch=1, pool="GlobalAveragePool", opset=17, size=SIZE):
    net = Net(opset, batch=batch)
    maps = form(net, net.features())
    pooled = net.op(pool, maps) if pool == "GlobalAveragePool" else net.op(pool, maps, kernel_shape=[8, 8])
    return net.save(path, net.gemm(net.op("Flatten", pooled)), size=size)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_second_cell_equals_the_coarse_map(form, tmp_path):
    """Also at the borders: the padding grows with the dilation."""
    source = save(form, tmp_path / "in.onnx")
    coarse = attach(source, tmp_path / "coarse.onnx", **PLAIN)
    fine = attach(source, tmp_path / "fine.onnx", fine=True, **PLAIN)
    rows, columns = coarse.features[1:]
    assert fine.features[1] in (2 * rows, 2 * rows - 1)
    assert fine.features[2] in (2 * columns, 2 * columns - 1)
    images = random_images(4, SIZE, SIZE)
    expected, results = (run(tmp_path / f"{name}.onnx", images) for name in ("coarse", "fine"))
    scale = np.abs(expected["features"]).max()
    assert scale > 1e-3
    np.testing.assert_allclose(results["features"][..., ::2, ::2], expected["features"], rtol=0, atol=1e-5 * scale)
    between = results["features"][..., 1::2, 1::2]
    assert np.abs(between - expected["features"][..., : between.shape[2], : between.shape[3]]).max() > 1e-3 * scale
    np.testing.assert_array_equal(results["cam_weights"], expected["cam_weights"])
    assert_identity(results)


@pytest.mark.parametrize("opset", [11, 19])
def test_average_pool_is_dilated_in_every_opset(opset, tmp_path):
    source = save(average_branch, tmp_path / "in.onnx", opset=opset)
    report = attach(source, tmp_path / "fine.onnx", fine=True, **PLAIN)
    assert report.features == (CHANNELS, 16, 16)
    assert report.verification["fine_error"] <= 1e-5


@pytest.mark.parametrize("size", [30, 34, 28])
def test_uneven_maps_keep_their_cells(size, tmp_path):
    """The map before the stage has 15, 17 or 14 cells a side."""
    report = attach(save(residual, tmp_path / "in.onnx", size=size), tmp_path / "fine.onnx", fine=True, **PLAIN)
    cells = size // 2
    assert report.features == (CHANNELS, cells, cells)


def test_fixed_pool_of_the_coarse_map_becomes_global(tmp_path):
    source = save(plain, tmp_path / "in.onnx", pool="AveragePool")
    report = attach(source, tmp_path / "fine.onnx", fine=True, **PLAIN)
    assert report.features == (CHANNELS, 16, 16)
    assert_identity(run(tmp_path / "fine.onnx", random_images(2, SIZE, SIZE)))


def test_size_and_fine_work_together(tmp_path):
    source = save(shuffled, tmp_path / "in.onnx")
    report = attach(source, tmp_path / "fine.onnx", size=(64, 48), fine=True, **PLAIN)
    assert report.features == (CHANNELS, 24, 32)
    assert report.verification["reshaped_from"] == "32x32"
    assert_identity(run(tmp_path / "fine.onnx", random_images(2, 64, 48)))


@pytest.mark.slow
@pytest.mark.input_kind("model", "int8 file (QDQ), last stage made finer", "the same file", "every second cell equal")
def test_real_int8_network_becomes_finer(shared_data, tmp_path):
    source = shared_data / "models" / "mobilenetv2_torchvision_qdq_int8.onnx"
    photos = sorted((shared_data / "images_boxes").glob("*.JPEG"))[:12]
    report = attach(source, tmp_path / "fine.onnx", fine=True, images=photos)
    attach(source, tmp_path / "coarse.onnx")
    assert report.features == (1280, 14, 14)
    assert report.fine.kind == "real"
    assert report.fine.same_answer / report.fine.images >= 0.8
    images = np.stack([random_images(1, 224, 224)[0], *random_images(2, 224, 224)])
    fine, coarse = (
        session(tmp_path / f"{name}.onnx").run(["features"], {"image": images})[0] for name in ("fine", "coarse")
    )
    np.testing.assert_array_equal(fine[..., ::2, ::2], coarse)


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128", "resnet8_large_cifar10", "squeezenet11_caffe"])
def test_real_networks_become_finer(name, shared_data, tmp_path):
    report = attach(shared_data / "models" / f"{name}.onnx", tmp_path / "fine.onnx", fine=True)
    cells = {"mobilenet_v1_0.25_128": 7, "resnet8_large_cifar10": 16, "squeezenet11_caffe": 31}[name]
    assert report.features[1:] == (cells, cells)
    assert report.map_margin == (2 if name == "squeezenet11_caffe" else 0)
    assert report.verification["fine_error"] <= 1e-5


def enlarged(net, maps):
    scales = net.const(np.array([1, 1, 2, 2], np.float32))
    return conv(net, net.op("Resize", conv(net, maps, stride=2), "", scales, mode="nearest"))


def two_scales(net, maps):
    """One branch shrinks the map in one step, another one in two."""
    steps = conv(net, conv(net, maps, stride=2), stride=2)
    once = net.op("Conv", maps, net.weights(CHANNELS, CHANNELS, 1, 1), strides=[4, 4])
    return net.op("Add", steps, once)


def joined_with_a_coarser_map(net, maps):
    """HRNet: what is shrunk twice is repeated, and added to what is shrunk once."""
    twice = conv(net, conv(net, maps, stride=2), stride=2)
    repeats = net.const(np.array([1, 1, 2, 2]))
    return net.op("Add", net.op("Tile", twice, repeats), conv(net, maps, stride=2))


def normalised_over_cells(net, maps):
    ones = net.const(np.ones(CHANNELS, np.float32))
    return net.op("InstanceNormalization", conv(net, maps, stride=2), ones, ones)


def position_embedding(net, maps):
    return conv(net, net.op("Add", conv(net, maps, stride=2), net.weights(1, CHANNELS, 8, 8)))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (enlarged, r"Resize node 'the_resize\d+' resizes the map"),
        (joined_with_a_coarser_map, r"do not all shrink the same map \(Conv node 'the_conv\d+', Conv node"),
        (normalised_over_cells, r"InstanceNormalization node .* normalises over all cells of the map"),
        (position_embedding, r"Add node .* applies a constant of \[1, 5, 8, 8\].*Leave --fine out"),
        (two_scales, r"Conv node 'the_conv\d+' has stride 4x4; supported is 2x2"),
    ],
)
def test_stage_that_has_no_finer_form_is_refused_with_the_node(form, message, tmp_path):
    source = save(form, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=message):
        attach(source, tmp_path / "fine.onnx", fine=True, **PLAIN)
    assert not (tmp_path / "fine.onnx").exists()


@pytest.mark.input_kind("model", "--fine for a network without stride 2", "the graph", "refused with the reason")
def test_network_without_stride_is_refused(tmp_path):
    net = Net()
    maps = net.op("Relu", net.op("Conv", net.input, net.weights(CHANNELS, 3, 3, 3), pads=[1] * 4))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    with pytest.raises(ExportError, match="no operator with stride 2 lies between its input and the feature map"):
        attach(source, tmp_path / "fine.onnx", fine=True, **PLAIN)


def test_head_with_weights_for_each_cell_is_refused(tmp_path):
    net = Net()
    flat = net.op("Flatten", plain(net, net.features()))
    source = net.save(tmp_path / "in.onnx", net.gemm(flat, channels=CHANNELS * 64), size=SIZE)
    with pytest.raises(ExportError, match=r"the head \(weighted_cells\) has a weight for each cell"):
        attach(source, tmp_path / "fine.onnx", fine=True, **PLAIN)


def test_several_heads_share_the_finer_stage(tmp_path):
    net = Net(batch=1)
    pooled = net.op("Flatten", net.op("GlobalAveragePool", plain(net, net.features())))
    source = net.save(tmp_path / "in.onnx", net.gemm(pooled, to="kind"), net.gemm(pooled, to="age"), size=SIZE)
    report = attach(source, tmp_path / "fine.onnx", output=["kind", "age"], fine=True, **PLAIN)
    assert [head.features for head in report.heads] == [(CHANNELS, 16, 16)] * 2
    convolutions = [node for node in onnx.load(tmp_path / "fine.onnx").graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 5  # each is there once


def test_dynamically_quantized_stage_is_refused_since_its_range_changes(tmp_path):
    """A dynamic quantizer takes its range from all cells, so the cells between change the others."""
    net = Net()
    net.nodes.append(onnx.helper.make_node("DynamicQuantizeLinear", [net.features()], ["q", "scale", "zero"]))
    weights = net.const(net.random.integers(-127, 128, (CHANNELS, CHANNELS, 3, 3), dtype=np.int8))
    net.nodes.append(onnx.helper.make_node("DynamicQuantizeLinear", ["floats"], ["q2", "scale2", "zero2"]))
    first = net.op("ConvInteger", "q", weights, "zero", pads=[1] * 4, strides=[2, 2])
    factor = net.op("Mul", "scale", net.const(np.array(0.01, np.float32)))
    net.op("Relu", net.op("Mul", net.cast(first), factor), to="floats")
    second = net.op("ConvInteger", "q2", weights, "zero2", pads=[1] * 4)
    maps = net.op("Relu", net.op("Mul", net.cast(second), net.op("Mul", "scale2", factor)))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))), size=SIZE)
    attach(source, tmp_path / "coarse.onnx", **PLAIN)
    with pytest.raises(ExportError, match=r"DynamicQuantizeLinear node .* takes its range from all cells"):
        attach(source, tmp_path / "fine.onnx", fine=True, **PLAIN)


def test_torch_module_becomes_finer(tmp_path):
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 6, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(6, 8, 3, 2, 1), torch.nn.ReLU(),
              torch.nn.Conv2d(8, 8, 3, 1, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
              torch.nn.Linear(8, CLASSES)]  # fmt: skip
    network = torch.nn.Sequential(*layers)
    report = from_torch(network, tmp_path / "fine.onnx", input_size=SIZE, fine=True, **PLAIN)
    assert report.features == (8, 16, 16)
    assert report.verification["torch_error"] <= 1e-4
    images = random_images(2, SIZE, SIZE)
    for layer, dilation in ((layers[2], 1), (layers[4], 2)):  # torch's own layers, dilated
        layer.stride, layer.dilation, layer.padding = (1, 1), (dilation, dilation), (dilation, dilation)
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    logits = run(tmp_path / "fine.onnx", images)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_command_prints_and_records_the_effect_on_labelled_images(tmp_path, capsys):
    import cv2

    source = save(plain, tmp_path / "in.onnx")
    for class_id in range(3):
        (tmp_path / "photos" / str(class_id)).mkdir(parents=True)
        for number, image in enumerate(random_images(4, SIZE, SIZE)):
            cv2.imwrite(str(tmp_path / "photos" / str(class_id) / f"{number}.png"), image)
    words = ["attach", str(source), "-o", str(tmp_path / "fine.onnx"), "--fine", "--check", str(tmp_path / "photos")]
    assert main(words) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  fine"))
    assert "of 12 answers are right" in line
    assert "of 12 labelled images keep their best class" in line
    assert main(["inspect", str(tmp_path / "fine.onnx"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["verification"]
    assert record["fine_from"] == "8x8"
    assert record["fine_images"] == "12 labelled"
    assert 0 <= record["fine_correct"] <= 12
    assert record["fine_time_ratio"] > 0
