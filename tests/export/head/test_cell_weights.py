"""Heads that are affine in the map: a cell's share is what the classifier's own head gives to this cell alone."""

import json

import cv2
import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

import camrt
from camrt.cli import main
from camrt.export import attach, quantize
from camrt.runtime.inference.cam_identity import check_identity
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, random_images, run, session

WIDTH, HEIGHT = 12, 8
CELLS = 4 * 6
"""The maps are not square, so that a wrong order of the axes shows."""


def flattened(net, maps):
    return net.gemm(net.op("Flatten", maps), channels=CHANNELS * CELLS)


def matmul_and_add(net, maps):
    flat = net.op("Reshape", maps, net.const(np.array([0, -1], np.int64)))
    return net.op("Add", net.op("MatMul", flat, net.weights(CHANNELS * CELLS, CLASSES)), net.weights(CLASSES))


def channels_last(net, maps):
    """Keras flattens maps with the channels last."""
    return flattened(net, net.op("Transpose", maps, perm=[0, 2, 3, 1]))


def normalised_before(net, maps):
    parameters = [net.weights(CHANNELS) for _ in range(3)]
    variance = net.const(np.linspace(0.5, 2, CHANNELS).astype(np.float32))
    normal = net.op("BatchNormalization", maps, *parameters, variance)
    return flattened(net, normal), normal


def scaled_before(net, maps):
    return flattened(net, net.op("Mul", maps, net.weights(CHANNELS, 1, 1)))


def shifted_before(net, maps):
    shifted = net.op("Add", net.weights(CHANNELS, 1, 1), maps)
    return flattened(net, shifted), shifted


def divided_in_each_cell(net, maps):
    return flattened(net, net.op("Div", maps, net.const(np.linspace(1, 2, CELLS).reshape(4, 6).astype(np.float32))))


def two_layers(net, maps):
    hidden = net.op("Sub", net.op("Gemm", net.op("Flatten", maps), net.weights(6, CHANNELS * CELLS), transB=1),
                    net.weights(6))  # fmt: skip
    return net.gemm(net.op("Dropout", hidden), channels=6)


def depthwise(net, maps):
    """MobileFaceNet and MiniFASNet: a depthwise convolution over the whole map, then linear layers."""
    pooled = net.op("Conv", maps, net.weights(CHANNELS, 1, 4, 6), net.weights(CHANNELS), group=CHANNELS)
    normal = net.op("BatchNormalization", pooled, *(net.weights(CHANNELS) for _ in range(3)),
                    net.const(np.ones(CHANNELS, np.float32)))  # fmt: skip
    return net.gemm(net.op("Flatten", normal))


def convolution_over_the_map(net, maps):
    return net.op("Flatten", net.op("Conv", maps, net.weights(CLASSES, CHANNELS, 4, 6), net.weights(CLASSES)))


def window_on_a_part(net, maps):
    """An average pool of a fixed size, on a map that is larger than in the training."""
    return net.gemm(net.op("Flatten", net.op("AveragePool", maps, kernel_shape=[3, 5], strides=[3, 5])))


def windows_then_flattened(net, maps):
    small = net.op("AveragePool", maps, kernel_shape=[2, 2], strides=[2, 2])
    return net.gemm(net.op("Flatten", small), channels=CHANNELS * 6)


def padded_windows(net, maps):
    small = net.op("AveragePool", maps, kernel_shape=[3, 3], strides=[2, 3], pads=[1, 0, 1, 2], count_include_pad=1)
    return net.gemm(net.op("Flatten", small), channels=CHANNELS * 4)


def linear_convolution(net, maps):
    kernel, bias = net.weights(CHANNELS, CHANNELS, 3, 3), net.weights(CHANNELS)
    more = net.op("Conv", maps, kernel, bias, pads=[1, 1, 1, 1])
    return net.gemm(
        net.op("Flatten", net.op("AveragePool", more, kernel_shape=[2, 2], strides=[2, 2])), channels=CHANNELS * 6
    ), more


def rows_and_columns(net, maps):
    """The means of the rows beside the means of the columns."""
    rows, columns = (net.op("Flatten", net.mean(maps, [axis])) for axis in (2, 3))
    return net.gemm(net.op("Concat", rows, columns, axis=1), channels=CHANNELS * 10)


HEADS = [
    flattened, matmul_and_add, channels_last, normalised_before, scaled_before, shifted_before, divided_in_each_cell,
    two_layers, depthwise, convolution_over_the_map, window_on_a_part, windows_then_flattened, padded_windows,
    linear_convolution, rows_and_columns,
]  # fmt: skip


def logits_of(source, start, values, output):
    """Run the classifier from one of its inner tensors."""
    part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(onnx.load(source))).extract_model([start], [output])
    return np.concatenate([session(part).run(None, {start: row[None]})[0] for row in values.astype(np.float32)])


def value_of(source, tensor, images):
    model = onnx.load(source)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    return session(model).run(None, {"data": images.transpose(0, 3, 1, 2).astype(np.float32)})[0]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
@pytest.mark.input_kind(
    "model",
    "flattened map and one linear layer; depthwise convolution over the map; average pool on a part of the map",
    "the classifier's head on single cells",
    "equal shares, exact maps",
)
def test_share_of_each_cell_is_what_the_head_gives_to_it_alone(head, tmp_path):
    net = Net()
    net.input_shape = ["N", 3, HEIGHT, WIDTH]
    maps = net.features()
    output = head(net, maps)
    output, maps = output if isinstance(output, tuple) else (output, maps)  # the last map is shown
    source = net.save(tmp_path / "in.onnx", output)
    report = attach(source, tmp_path / "out.onnx", **PLAIN)
    assert (report.head, report.features) == ("weighted_cells", (CLASSES, 4, 6))
    image = random_images(1, WIDTH, HEIGHT)
    results = run(tmp_path / "out.onnx", image)
    assert list(results) == ["scores", "logits", "class_maps", "cam_bias"]
    means = results["class_maps"].mean(axis=(2, 3), dtype=np.float64)
    largest = np.abs(results["logits"]).max()
    np.testing.assert_allclose(means + results["cam_bias"], results["logits"], rtol=0, atol=1e-5 * largest)

    cells = value_of(source, maps, image)[0]
    masks = np.eye(CELLS).reshape(CELLS, 1, 4, 6)
    without = logits_of(source, maps, np.zeros((1, *cells.shape)), output)
    shares = logits_of(source, maps, cells * masks, output) - without  # (cells, K)
    expected = CELLS * shares.T.reshape(1, CLASSES, 4, 6)
    np.testing.assert_allclose(results["class_maps"], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(results["cam_bias"], without[0], rtol=0, atol=1e-5 * largest)


def test_cells_outside_the_average_have_no_share(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op(
        "AveragePool", net.features(), kernel_shape=[3, 3], strides=[3, 3]))))  # fmt: skip
    attach(source, tmp_path / "out.onnx", **PLAIN)
    maps = run(tmp_path / "out.onnx", random_images(1))["class_maps"][0]
    assert (maps[:, 3] == 0).all()
    assert (maps[:, :, 3] == 0).all()
    assert maps[:, :3, :3].std() > 0


@pytest.mark.parametrize("head", [flattened, depthwise], ids=lambda head: head.__name__)
def test_runtime_and_quantization_keep_the_identity(head, tmp_path, capsys):
    net = Net()
    net.input_shape = ["N", 3, HEIGHT, WIDTH]
    attach(net.save(tmp_path / "in.onnx", head(net, net.features())), tmp_path / "out.onnx", **PLAIN)
    assert main(["inspect", str(tmp_path / "out.onnx"), "--verify", "--json", "--provider", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["identity_holds"]
    assert report["identity_error"] <= 1e-5
    (tmp_path / "images").mkdir()
    for number in range(6):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), random_images(6, WIDTH, HEIGHT)[number])
    quantize(tmp_path / "out.onnx", tmp_path / "int8.onnx", calibration=tmp_path / "images")
    model = camrt.load(tmp_path / "int8.onnx", provider="cpu")
    check = check_identity(model, model(random_images(1, WIDTH, HEIGHT)[0]))
    assert (model.head, check.holds, check.tolerance) == ("weighted_cells", True, 1e-4)


def test_matrix_of_a_flattened_map_is_stored_once(tmp_path):
    """It is most of a small network."""
    for head in (flattened, matmul_and_add, channels_last):
        net = Net()
        net.input_shape = ["N", 3, 64, 64]
        maps = net.features()
        flat = net.op("Transpose", maps, perm=[0, 2, 3, 1]) if head is channels_last else maps
        flat = net.op("Flatten", flat)
        if head is matmul_and_add:
            logits = net.op("MatMul", flat, net.weights(CHANNELS * 1024, CLASSES))
        else:
            logits = net.gemm(flat, channels=CHANNELS * 1024)
        source = net.save(tmp_path / "in.onnx", logits)
        assert attach(source, tmp_path / "out.onnx", overwrite=True, **PLAIN).head == "weighted_cells"
        assert (tmp_path / "out.onnx").stat().st_size < source.stat().st_size + 5000


def test_half_precision_head_has_float32_maps(tmp_path):
    net = Net(dtype=np.float16)
    flat = net.op("Flatten", net.features())
    source = net.save(tmp_path / "in.onnx", net.gemm(flat, channels=CHANNELS * 16))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(2))
    assert results["class_maps"].dtype == np.float32


class RandomImages(CalibrationDataReader):
    """Random images, one at a time."""

    def __init__(self):
        self.left = list(random_images(20).transpose(0, 3, 1, 2).astype(np.float32))

    def get_next(self):
        return {"data": self.left.pop()[None]} if self.left else None


def test_quantized_head_on_a_flattened_map_is_exact(tmp_path):
    """The map is rounded once, before it is flattened; the second rounding, on the same grid, changes nothing."""
    net = Net()
    flat = net.op("Flatten", net.features())
    source = net.save(tmp_path / "float.onnx", net.gemm(flat, channels=CHANNELS * 16))
    quantize_static(source, tmp_path / "in.onnx", RandomImages(), quant_format=QuantFormat.QDQ)
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert report.head == "weighted_cells"
    assert report.verification["identity_tolerance"] == 1e-4
    results = run(tmp_path / "out.onnx", random_images(2))
    means = results["class_maps"].mean(axis=(2, 3), dtype=np.float64)
    largest = np.abs(results["logits"]).max()
    np.testing.assert_allclose(means + results["cam_bias"], results["logits"], rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("factor", [True, False])
def test_hidden_layer_is_still_masked(factor, tmp_path):
    """Also with a step for each channel before the map is flattened."""
    net = Net()
    maps = net.op("Mul", net.features(), net.weights(CHANNELS, 1, 1)) if factor else net.features()
    hidden = net.op("Relu", net.gemm(net.op("Flatten", maps), channels=CHANNELS * 16, classes=6))
    source = net.save(tmp_path / "in.onnx", net.gemm(hidden, channels=6))
    assert attach(source, tmp_path / "out.onnx", **PLAIN).head == "masked"


def test_mean_that_is_written_as_a_sum_is_linear(tmp_path):
    net = Net()
    total = net.op("ReduceSum", net.features(), net.const(np.array([2, 3], np.int64)), keepdims=0)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Div", total, net.const(np.array(16, np.float32)))))
    assert attach(source, tmp_path / "out.onnx", **PLAIN).head == "linear"
    assert_identity(run(tmp_path / "out.onnx", random_images(2)))
