"""A network whose input has a fixed size gets another one: it then equals the network exported at that size."""

import warnings

import numpy as np
import onnx
import pytest
import torch

from camrt.errors import ExportError, UsageError
from camrt.export import attach, survey
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, expected_output, random_images, run

OLD = (8, 8)
NEW = (16, 12)
"""(width, height) in pixels; the maps have half of it."""


def ints(net, *values):
    return net.const(np.array(values, np.int64))


def floats(net, *values):
    return net.const(np.array(values, np.float32))


def pool_of_map(net, maps, h, w):
    return net.op("Flatten", net.op("AveragePool", maps, kernel_shape=[h, w]))


def fixed_reshape(net, maps, h, w):
    pooled = net.op("GlobalAveragePool", maps)
    return net.op("Reshape", pooled, ints(net, 1, CHANNELS))


def tokens(net, maps, h, w):
    cells = net.op("Reshape", maps, ints(net, 1, CHANNELS, h * w))
    return net.mean(cells, [2], keepdims=0)


def tokens_last(net, maps, h, w):
    last = net.op("Transpose", maps, perm=[0, 2, 3, 1])
    return net.mean(net.op("Reshape", last, ints(net, 1, h * w, CHANNELS)), [1], keepdims=0)


def channel_shuffle(net, maps, h, w):
    wide = net.op("Conv", maps, net.weights(6, CHANNELS, 1, 1))
    parts = net.op("Reshape", wide, ints(net, 1, 2, 3, h, w))
    mixed = net.op("Reshape", net.op("Transpose", parts, perm=[0, 2, 1, 3, 4]), ints(net, 1, 6, h, w))
    return gap(net, net.op("Conv", mixed, net.weights(CHANNELS, 6, 3, 3), pads=[1] * 4), h, w)


def map_of_tokens(net, maps, h, w):
    """Channels are mixed on tokens, and these become a map again."""
    cells = net.op("Transpose", net.op("Reshape", maps, ints(net, 1, CHANNELS, h * w)), perm=[0, 2, 1])
    mixed = net.op("Transpose", net.op("MatMul", cells, net.weights(CHANNELS, CHANNELS)), perm=[0, 2, 1])
    back = net.op("Reshape", mixed, ints(net, 1, CHANNELS, h, w))
    return gap(net, net.op("Conv", back, net.weights(CHANNELS, CHANNELS, 3, 3), pads=[1] * 4), h, w)


def gap(net, maps, h, w):
    return net.op("Flatten", net.op("GlobalAveragePool", maps))


def excitation(net, maps, h, w):
    """Squeeze and excitation with a pool of the map's size, whose gates are expanded to the map."""
    squeezed = net.op("AveragePool", maps, kernel_shape=[h, w])
    gates = net.op("Sigmoid", net.op("Conv", squeezed, net.weights(CHANNELS, CHANNELS, 1, 1)))
    return gap(net, net.op("Mul", maps, net.op("Expand", gates, ints(net, 1, CHANNELS, h, w))), h, w)


def largest_of_map(net, maps, h, w):
    largest = net.op("MaxPool", maps, kernel_shape=[h, w])
    return gap(net, net.op("Sub", maps, largest), h, w)


def pyramid(net, maps, h, w):
    """A smaller map is enlarged to the size of the larger one."""
    small = net.op("Conv", maps, net.weights(CHANNELS, CHANNELS, 3, 3), pads=[1] * 4, strides=[2, 2])
    sizes = ints(net, 1, CHANNELS, h, w)
    large = net.op("Resize", small, "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric")
    return gap(net, net.op("Add", maps, large), h, w)


def cut_edges(net, maps, h, w):
    """Padded, convolved, and cut to its size again."""
    padded = net.op("Pad", maps, ints(net, 0, 0, 1, 1, 0, 0, 1, 1))
    inner = net.op("Slice", padded, ints(net, 1, 1), ints(net, h + 1, w + 1), ints(net, 2, 3))
    return gap(net, net.op("Conv", inner, net.weights(CHANNELS, CHANNELS, 1, 1)), h, w)


def sum_of_cells(net, maps, h, w):
    """The mean, written as a sum and a factor."""
    total = net.op("ReduceSum", maps, ints(net, 2, 3), keepdims=0)
    return net.op("Mul", total, floats(net, 1 / (h * w)))


def response_normalisation(net, maps, h, w):
    """Global response normalisation of ConvNeXt V2."""
    norm = net.op("ReduceL2", maps, axes=[2, 3], keepdims=1)
    mean = net.op("ReduceMean", norm, axes=[1], keepdims=1)
    return gap(net, net.op("Mul", maps, net.op("Div", norm, mean)), h, w)


def quantized(net, maps, h, w):
    def pair(tensor):
        scale, zero = net.const(np.array(0.02, np.float32)), net.const(np.array(0, np.uint8))
        return net.op("DequantizeLinear", net.op("QuantizeLinear", tensor, scale, zero), scale, zero)

    pooled = pair(net.op("AveragePool", pair(maps), kernel_shape=[h, w]))
    return net.op("Reshape", pooled, ints(net, 1, CHANNELS))


FORMS = [
    gap, pool_of_map, fixed_reshape, tokens, tokens_last, channel_shuffle, map_of_tokens, excitation, largest_of_map,
    pyramid, cut_edges, sum_of_cells, response_normalisation, quantized,
]  # fmt: skip


def save(form, path, size, *, batch=1, opset=17):
    """Write the network as an exporter does at this size: its sizes are constants."""
    net = Net(opset, batch=batch)
    width, height = size
    net.input_shape = [batch, 3, height, width]
    return net.save(path, net.gemm(form(net, net.features(), height // 2, width // 2)))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_network_at_another_size_equals_its_export_at_that_size(form, tmp_path):
    source = save(form, tmp_path / "in.onnx", OLD)
    report = attach(source, tmp_path / "out.onnx", size=NEW, **PLAIN)
    assert report.input == NEW
    assert report.verification["reshaped_from"] == "8x8"
    assert report.verification["reshape_error"] <= 1e-6
    images = random_images(3, *NEW)
    results = run(tmp_path / "out.onnx", images)
    reference = save(form, tmp_path / "reference.onnx", NEW)
    expected = expected_output(reference, images)
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    assert_identity(results, 0.05 if form is quantized else 1e-4)


@pytest.mark.slow
@pytest.mark.input_kind("model", "fixed input size, changed with --size", "the network exported at that size", "equal")
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_torchvision_network_at_another_size_equals_torch(name, tmp_path):
    from support.networks import torch_network

    network = torch_network("torchvision", name, 224)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this exporter a legacy; most files in the field are from it
        torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), str(tmp_path / "in.onnx"), dynamo=False)
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx", size=(256, 160), mean=(0, 0, 0), std=(1, 1, 1), channels="bgr")
    images = random_images(2, 256, 160)
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32)) / 255).numpy()
    logits = run(tmp_path / "out.onnx", images)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("mobilenet_v1_0.25_128", (160, 128), (256, 4, 5)),
        ("resnet8_large_cifar10", (48, 64), (160, 16, 12)),
        ("squeezenet11_caffe", (320, 256), (1000, 17, 21)),
        ("mobilenetv2_torchvision_qdq_int8", (320, 224), (1280, 7, 10)),
    ],
)
def test_real_models_take_other_sizes(name, size, features, shared_data, tmp_path):
    report = attach(shared_data / "models" / f"{name}.onnx", tmp_path / "out.onnx", size=size)
    assert report.features == features
    assert report.verification["reshape_error"] <= 1e-5


@pytest.mark.input_kind("model", "open input size, pool of a fixed size", "the graph at the pool's size", "global pool")
def test_fixed_pool_in_a_graph_of_any_size_becomes_global(tmp_path):
    net = Net()
    first = net.features()
    maps = net.op("Relu", net.op("Conv", first, net.weights(CHANNELS, CHANNELS, 3, 3), pads=[1] * 4, strides=[2, 2]))
    pooled = net.op("Flatten", net.op("AveragePool", maps, kernel_shape=[7, 7]))
    source = net.save(tmp_path / "in.onnx", net.gemm(pooled), size="any")
    report = attach(source, tmp_path / "out.onnx", size=(40, 32), **PLAIN)
    assert report.features == (CHANNELS, 8, 10)
    assert report.verification["reshaped_from"] == "28x28"
    assert any("global pool" in remark for remark in report.remarks)
    assert_identity(run(tmp_path / "out.onnx", random_images(2, 40, 32)))


def position_embedding(net, maps, h, w):
    return gap(net, net.op("Add", maps, net.weights(1, CHANNELS, h, w)), h, w)


def flattened(net, maps, h, w):
    return net.op("MatMul", net.op("Flatten", maps), net.weights(CHANNELS * h * w, CHANNELS))


def full_map_convolution(net, maps, h, w):
    return net.op("Flatten", net.op("Conv", maps, net.weights(CHANNELS, 1, h, w), group=CHANNELS))


def pool_without_the_edge(net, maps, h, w):
    return net.op("Flatten", net.op("AveragePool", maps, kernel_shape=[h - 1, w - 1], strides=[h - 1, w - 1]))


def windows(net, maps, h, w):
    cut = net.op("Reshape", maps, ints(net, 1, CHANNELS, h // 2, 2, w // 2, 2))
    largest = net.op("ReduceMax", cut, axes=[3, 5], keepdims=0)
    return gap(net, largest, h, w)


def normalised_over_the_map(net, maps, h, w):
    normal = net.op("LayerNormalization", maps, net.weights(CHANNELS, h, w), axis=1)
    return gap(net, normal, h, w)


def halves(net, maps, h, w):
    net.nodes.append(onnx.helper.make_node("Split", [maps, ints(net, h // 2, h // 2)], ["top", "bottom"], axis=2))
    return gap(net, net.op("Sub", "top", "bottom"), h, w)


def coordinates(net, maps, h, w):
    joined = net.op("Concat", maps, net.const(np.zeros((1, 1, h, w), np.float32)), axis=1)
    return gap(net, net.op("Conv", joined, net.weights(CHANNELS, CHANNELS + 1, 1, 1)), h, w)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (position_embedding, r"Add node 'the_add\d+' applies a constant of \[1, 5, 4, 4\] with numbers for each place"),
        (flattened, r"MatMul node 'the_matmul\d+' has weights for the cells of one map size"),
        (full_map_convolution, r"Conv node 'the_conv\d+' has weights for each of the 4x4 cells"),
        (pool_without_the_edge, r"AveragePool node .* by a window of 3x3 that does not cover it exactly once"),
        (windows, r"Reshape node .* makes \[1, 5, 2, 2, 2, 2\] of \[1, 5, 4, 4\].*windows or patches"),
        (normalised_over_the_map, r"LayerNormalization node .* weights of \[5, 4, 4\], one for each place"),
        (halves, r"Split node .* an axis of 4 cells into parts of fixed sizes"),
        (coordinates, r"Concat node .* joins tensors of different sizes.*One of them is a constant"),
    ],
)
@pytest.mark.input_kind("model", "fixed input size with weights for each place", "the graph", "refused, with the node")
def test_network_that_is_tied_to_its_size_is_refused_with_the_node(form, message, tmp_path):
    source = save(form, tmp_path / "in.onnx", OLD)
    with pytest.raises(ExportError, match=message):
        attach(source, tmp_path / "out.onnx", size=NEW, **PLAIN)
    assert not (tmp_path / "out.onnx").exists()


def test_branches_that_no_longer_fit_name_a_better_size(tmp_path):
    net = Net(batch=1)
    maps = net.features()
    padded = net.op("Conv", maps, net.weights(CHANNELS, CHANNELS, 3, 3), pads=[0, 0, 1, 1], strides=[2, 2])
    skip = net.op("Conv", maps, net.weights(CHANNELS, CHANNELS, 1, 1), strides=[2, 2])
    source = net.save(tmp_path / "in.onnx", net.gemm(gap(net, net.op("Add", padded, skip), 2, 2)))
    with pytest.raises(ExportError, match=r"Add node .*\[1, 5, 4, 4\] and \[1, 5, 5, 5\].*multiple of 32"):
        attach(source, tmp_path / "out.onnx", size=(18, 18), **PLAIN)


def test_mean_image_of_one_colour_follows_the_size(tmp_path):
    """MATLAB's exporter repeats the mean of each channel over the image."""

    def write(path, size):
        net = Net(batch=1)
        mean = np.broadcast_to(np.array([104, 117, 123], np.float32)[:, None, None], (3, size, size))
        centred = net.op("Sub", net.input, net.const(np.ascontiguousarray(mean)))
        return net.save(path, net.gemm(gap(net, net.features(source=centred), 0, 0)), size=size)

    attach(write(tmp_path / "in.onnx", 8), tmp_path / "out.onnx", size=(16, 16), **PLAIN)
    images = random_images(2, 16, 16)
    expected = expected_output(write(tmp_path / "reference.onnx", 16), images)
    logits = run(tmp_path / "out.onnx", images)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_mean_image_with_a_pattern_is_refused(tmp_path):
    net = Net(batch=1)
    centred = net.op("Sub", net.input, net.weights(3, 8, 8))
    source = net.save(tmp_path / "in.onnx", net.gemm(gap(net, net.features(source=centred), 0, 0)))
    with pytest.raises(ExportError, match=r"Sub node .* a constant of \[3, 8, 8\].*mean image"):
        attach(source, tmp_path / "out.onnx", size=(16, 16), **PLAIN)


def test_same_size_changes_nothing(classifier, tmp_path):
    attach(classifier, tmp_path / "plain.onnx", **PLAIN)
    attach(classifier, tmp_path / "sized.onnx", size=(8, 8), **PLAIN)
    assert (tmp_path / "plain.onnx").read_bytes() == (tmp_path / "sized.onnx").read_bytes()


def test_stated_shorter_side_follows_the_size(classifier, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(
        '{"do_resize": true, "size": {"shortest_edge": 10}, "do_center_crop": true, "crop_size": 8, '
        '"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "rescale_factor": 1}'
    )
    report = attach(classifier, tmp_path / "out.onnx", size=(16, 16))
    geometry = onnx.load(tmp_path / "out.onnx")
    assert report.input == (16, 16)
    assert any("10 pixels" in sentence and "is 20 here" in sentence for sentence in report.assumptions)
    assert any('"shorter_side":20' in entry.value.replace(" ", "") or entry.value == "20"
               for entry in geometry.metadata_props)  # fmt: skip


def test_survey_shows_the_network_at_another_size(classifier):
    result = survey(classifier, size=(16, 12))
    assert result.input == (16, 12)
    assert result.head == "linear"
    assert result.layers[-1].shape == (CHANNELS, 6, 8)


def test_several_heads_share_the_new_size(tmp_path):
    net = Net(batch=1)
    pooled = net.op("Flatten", net.op("AveragePool", net.features(), kernel_shape=[4, 4]))
    source = net.save(tmp_path / "in.onnx", net.gemm(pooled, to="kind"), net.gemm(pooled, to="age"))
    report = attach(source, tmp_path / "out.onnx", output=["kind", "age"], size=(16, 12), **PLAIN)
    assert [head.features for head in report.heads] == [(CHANNELS, 6, 8)] * 2
    assert run(tmp_path / "out.onnx", random_images(2, 16, 12))["logits.age"].shape == (2, CLASSES)


def test_size_that_leaves_no_cell_is_refused_with_the_node(tmp_path):
    net = Net()
    maps = net.op("Conv", net.features(), net.weights(CHANNELS, CHANNELS, 3, 3))
    source = net.save(tmp_path / "in.onnx", net.gemm(gap(net, maps, 0, 0)), size=16)
    with pytest.raises(ExportError, match=r"Conv node 'the_conv\d+' .*no cell is left; choose a larger size"):
        attach(source, tmp_path / "out.onnx", size=(16, 4), **PLAIN)


@pytest.mark.parametrize("make", [attach, survey])
def test_size_beyond_the_limit_of_a_model_file_is_refused_before_it_needs_memory(make, classifier, tmp_path):
    arguments = [classifier] if make is survey else [classifier, tmp_path / "out.onnx"]
    with pytest.raises(UsageError, match="100000x100000: more than"):
        make(*arguments, size=(100000, 100000))
