"""`quantize`: the maps stay exact and similar, and images that were held out show it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import camrt
from camrt.errors import ExportError, UsageError
from camrt.export import attach, quantize
from camrt.export.quantize.calibration import MIN_TO_DIVIDE
from camrt.export.quantize.int8 import METHODS, int8_sums_overflow
from camrt.export.quantize.quantize import PEARSON, TOP1
from camrt.model_file import ModelInfo
from camrt.runtime.inference.cam_identity import check_identity
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, run, session
from support.tiny_models import LABELS, write_class_maps, write_linear


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def real_values(results, name, grid):
    return (results[name].astype(np.float64) - grid["zero_point"]) * grid["scale"]


@pytest.mark.parametrize("write", [write_linear, write_class_maps])
def test_maps_of_the_quantized_file_are_exact_and_similar(write, photos, tmp_path):
    source, target = write(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    report = quantize(source, target, calibration=photos)
    first, second = camrt.load(source, provider="cpu"), camrt.load(target, provider="cpu")
    assert second.info.quantization["kind"] == "int8"
    assert (second.labels, second.geometry, second.head) == (first.labels, first.geometry, first.head)
    assert second.info.map_margin == first.info.map_margin
    source_maps = [[first(image).cam(number) for number in range(first.classes)] for image in report.images]
    quantized_maps = []
    for image in report.images:
        result = second(image)
        assert result.maps.dtype == np.uint8
        check = check_identity(second, result)
        assert check.tolerance == 1e-4
        assert check.holds
        quantized_maps.append([result.cam(number) for number in range(second.classes)])
    assert np.corrcoef(np.ravel(source_maps), np.ravel(quantized_maps))[0, 1] > 0.99


def test_cam_weights_are_unchanged(photos, tmp_path):
    source, target = write_linear(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    quantize(source, target, calibration=photos)
    first, second = camrt.load(source, provider="cpu"), camrt.load(target, provider="cpu")
    assert np.array_equal(first.decoder.cam_weights, second.decoder.cam_weights)
    assert np.array_equal(first.decoder.cam_bias, second.decoder.cam_bias)


def test_metadata_and_report_agree(photos, tmp_path):
    source, target = write_linear(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    model = onnx.load(source)
    model.metadata_props.add(key="trained_on", value="nothing")
    onnx.save(model, source)
    report = quantize(source, target, calibration=photos).as_dict()
    entries = metadata(target)
    assert entries["trained_on"] == "nothing"
    quantization = json.loads(entries["camrt.quantization"])
    assert quantization["calibration"] == f"{report['calibrated_on']} images" == "6 images"
    assert quantization["evaluated_on"] == f"{report['evaluated_on']} images" == "12 images"
    for key in ("top1_agreement", "pearson_median", "rank_median", "box_iou_median"):
        assert quantization[key] == report[key]
    assert report["size_ratio"] == source.stat().st_size / target.stat().st_size
    assert json.loads(entries["camrt.verification"])["identity_error"] <= 1e-4
    assert len(report["images"]) == sum(row["images"] for row in report["classes"]) == 12
    assert {row["label"] for row in report["classes"]} <= set(LABELS)
    json.dumps(report, allow_nan=False)


def test_same_images_give_the_same_file(photos, tmp_path):
    source = write_linear(tmp_path / "float.onnx")
    for name in ("a.onnx", "b.onnx"):
        quantize(source, tmp_path / name, calibration=photos)
    first, second = (run(tmp_path / name, np.zeros((1, 32, 32, 3), np.uint8)) for name in ("a.onnx", "b.onnx"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def graph_of(net, ending):
    """Add one head to the features of ``net``, and return the graph's output."""
    features = net.features()
    if ending == "two means":
        return net.gemm(net.mean(net.mean(features, [3], 0), [2], 0))
    if ending == "one mean":
        return net.gemm(net.mean(features, [2, 3], 0))
    if ending == "convolution":
        pooled = net.op("GlobalAveragePool", features)
        return net.op("Flatten", net.op("Conv", pooled, net.weights(CLASSES, 5, 1, 1)))
    maps = net.op("Conv", features, net.weights(CLASSES, 5, 1, 1), net.weights(CLASSES))
    return net.op("Flatten", net.op("GlobalAveragePool", maps))  # with both signs: the zero point is not 0


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("ending", ["two means", "one mean", "convolution", "signed class maps"])
def test_every_form_of_the_head_is_quantized_exactly(opset, ending, photos, tmp_path):
    net = Net(opset)
    net.save(tmp_path / "classifier.onnx", graph_of(net, ending))
    attach(tmp_path / "classifier.onnx", tmp_path / "float.onnx", **PLAIN)
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos)
    outputs = run(tmp_path / "int8.onnx", report.images[:2])
    grid = json.loads(metadata(tmp_path / "int8.onnx")["camrt.quantization"])["features"]
    name = "class_maps" if "class_maps" in outputs else "features"
    assert outputs[name].dtype == np.uint8
    assert (grid["zero_point"] > 0) == (ending == "signed class maps")
    assert_identity({**outputs, name: real_values(outputs, name, grid)})
    one_by_one = [run(tmp_path / "int8.onnx", image[None]) for image in report.images[:2]]
    assert np.array_equal(np.concatenate([one[name] for one in one_by_one]), outputs[name])


def test_pool_inside_the_network_computes_in_integers(photos, tmp_path):
    """Squeeze and excitation: torch's exporter writes its pool as a ReduceMean."""
    net = Net(18)
    features = net.features()
    gate = net.op("Sigmoid", net.op("Conv", net.mean(features, [2, 3]), net.weights(5, 5, 1, 1)))
    scaled = net.op("Mul", features, gate)
    last = net.op("Relu", net.op("Conv", scaled, net.weights(5, 5, 1, 1)))
    net.save(tmp_path / "classifier.onnx", net.gemm(net.mean(last, [2, 3], 0)))
    attach(tmp_path / "classifier.onnx", tmp_path / "float.onnx", **PLAIN)
    quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos, method="minmax")
    op_types = operators(tmp_path / "int8.onnx")
    assert "ReduceMean" not in op_types
    assert op_types.count("GlobalAveragePool") == 1  # of the gate; the head's pool is a sum of integers
    assert op_types.count("ReduceSum") == 1


def test_fp16_file_has_float32_outputs(photos, tmp_path):
    source, target = write_linear(tmp_path / "float.onnx"), tmp_path / "fp16.onnx"
    report = quantize(source, target, calibration=photos, fp16=True)
    assert (report.kind, report.calibrated_on) == ("fp16", 6)
    assert report.fidelity.pearson_median > 0.999
    kinds = {output.name: output.type.tensor_type.elem_type for output in onnx.load(target).graph.output}
    assert set(kinds.values()) == {TensorProto.FLOAT}
    weights = [tensor for tensor in onnx.load(target).graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    assert weights
    model = camrt.load(target, provider="cpu")
    assert check_identity(model, model(report.images[0])).holds


@pytest.mark.parametrize("method", METHODS)
def test_method_option_is_used(method, photos, tmp_path):
    report = quantize(write_linear(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration=photos, method=method)
    assert json.loads(metadata(tmp_path / "out.onnx")["camrt.quantization"])["method"] == method
    assert {attempt.configuration.split(",")[1] for attempt in report.attempts} == {f" calibrated by {method}"}


def test_other_configurations_are_tried_until_one_passes(photos, tmp_path):
    """One random feature is far larger than the others: 8 bits cannot hold both."""
    source = write_linear(tmp_path / "in.onnx", channels=8)
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == "kernel":
            values = numpy_helper.to_array(tensor).copy()
            values[0] *= 3000  # the linear layer ignores this channel, see below
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        if tensor.name == "weight":
            values = numpy_helper.to_array(tensor).copy()
            values[:, 0] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, source)
    report = quantize(source, tmp_path / "out.onnx", calibration=photos)
    configurations = [attempt.configuration for attempt in report.attempts]
    assert ["minmax" in each for each in configurations] == [True, True, False, False]
    assert ["float32" in each for each in configurations] == [False, True, False, True]
    assert ["percentile" in each for each in configurations] == [False, False, True, True]
    assert report.selected in configurations
    assert not report.passed
    assert any("falls short" in note for note in report.notes)
    assert any("4 configurations were tried" in note for note in report.notes)


def test_first_configuration_that_passes_is_selected(photos, tmp_path):
    report = quantize(write_class_maps(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration=photos)
    *before, last = report.attempts
    assert (last.configuration, last.passed) == (report.selected, report.passed)
    assert not any(attempt.passed for attempt in before)
    assert (last.fidelity.top1_agreement >= TOP1 and last.fidelity.pearson_median >= PEARSON) == last.passed


def test_few_images_are_for_calibration_and_evaluation(photos, tmp_path):
    few = sorted(Path(photos).iterdir())[: MIN_TO_DIVIDE - 1]
    report = quantize(write_linear(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration=few)
    assert not report.held_out
    assert report.calibrated_on == report.fidelity.images == len(few)
    assert any("uses the images of the calibration" in note for note in report.notes)


def test_quantized_file_is_refused(photos, tmp_path, shared_data):
    quantize(write_linear(tmp_path / "in.onnx"), tmp_path / "int8.onnx", calibration=photos)
    quantize(tmp_path / "in.onnx", tmp_path / "fp16.onnx", calibration=photos, fp16=True)
    attach(shared_data / "models" / "mobilenetv2_torchvision_qdq_int8.onnx", tmp_path / "qdq.onnx")
    for name, evidence in (("int8", "int8"), ("fp16", "fp16"), ("qdq", "QuantizeLinear|DequantizeLinear")):
        with pytest.raises(ExportError, match=f"quantized already .*({evidence})"):
            quantize(tmp_path / f"{name}.onnx", tmp_path / "out.onnx", calibration=photos)
    assert not (tmp_path / "out.onnx").exists()


def test_half_precision_file_is_refused(photos, tmp_path):
    net = Net(dtype=np.float16)
    net.save(tmp_path / "classifier.onnx", net.gemm(net.pooled()))
    attach(tmp_path / "classifier.onnx", tmp_path / "in.onnx", **PLAIN)
    with pytest.raises(ExportError, match="16-bit floats already"):
        quantize(tmp_path / "in.onnx", tmp_path / "out.onnx", calibration=photos)


def test_classifier_is_refused_with_the_command_to_attach_it(photos, tmp_path):
    net = Net()
    net.save(tmp_path / "classifier.onnx", net.gemm(net.pooled()))
    with pytest.raises(ExportError, match="camrt attach"):
        quantize(tmp_path / "classifier.onnx", tmp_path / "out.onnx", calibration=photos)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ExportError, match="not an ONNX model"):
        quantize(tmp_path / "text.onnx", tmp_path / "out.onnx", calibration=photos)


def test_file_that_fails_the_identity_is_not_written(photos, tmp_path):
    """A second node reads its maps beside the pool."""
    source = write_linear(tmp_path / "in.onnx")
    model = onnx.load(source)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type == "Flatten":
            model.graph.node.append(helper.make_node("GlobalMaxPool", ["features"], ["largest"]))
            model.graph.node.append(helper.make_node("Add", ["pooled", "largest"], ["both"]))
            node.input[0] = "both"
        model.graph.node.append(node)
    onnx.save(model, source)
    with pytest.raises(ExportError, match="do not add up to the logits"):
        quantize(source, tmp_path / "out.onnx", calibration=photos)
    assert not (tmp_path / "out.onnx").exists()


def test_contradictory_options_are_refused(photos, tmp_path):
    source = write_linear(tmp_path / "in.onnx")
    with pytest.raises(UsageError, match="minmax, percentile, entropy"):
        quantize(source, tmp_path / "out.onnx", calibration=photos, method="guess")
    with pytest.raises(UsageError, match="16-bit floats have none"):
        quantize(source, tmp_path / "out.onnx", calibration=photos, method="minmax", fp16=True)
    (tmp_path / "out.onnx").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        quantize(source, tmp_path / "out.onnx", calibration=photos)
    assert (tmp_path / "out.onnx").read_text() == "mine"
    quantize(source, tmp_path / "out.onnx", calibration=photos, overwrite=True)
    assert ModelInfo.from_metadata(metadata(tmp_path / "out.onnx")).quantization["kind"] == "int8"


def test_processor_without_vnni_gets_7_bit_weights(monkeypatch, tmp_path, photos):
    with monkeypatch.context() as patched:
        patched.setattr("platform.machine", lambda: "x86_64")
        patched.setattr(Path, "read_text", lambda *_: "flags : sse avx2 fma")
        assert int8_sums_overflow()
        patched.setattr(Path, "read_text", lambda *_: "flags : avx2 avx512_vnni")
        assert not int8_sums_overflow()
        patched.setattr("platform.machine", lambda: "aarch64")
        assert not int8_sums_overflow()
    module = sys.modules["camrt.export.quantize.quantize"]  # the attribute of this name is the public function
    monkeypatch.setattr(module, "int8_sums_overflow", lambda: True)
    report = quantize(write_class_maps(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration=photos)
    assert any("no VNNI" in note for note in report.notes)
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert weights
    assert all(np.abs(values).max() <= 64 for values in weights)


@pytest.mark.process
def test_quantize_needs_no_torch(photos, tmp_path):
    block_torch = "import sys; sys.modules['torch'] = sys.modules['sympy'] = None\n"
    tools = subprocess.run(
        [sys.executable, "-c", f"{block_torch}import onnxruntime.quantization"], capture_output=True, check=False
    )
    if tools.returncode:
        pytest.skip("the tools of this ONNX Runtime import torch")
    source = write_linear(tmp_path / "in.onnx")
    code = block_torch + (
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: True if name == 'torch' else find(name, *a);"
        f"from camrt.export import quantize; quantize({str(source)!r}, {str(tmp_path / 'out.onnx')!r}, "
        f"calibration={str(photos)!r}); quantize({str(source)!r}, {str(tmp_path / 'half.onnx')!r}, "
        f"calibration={str(photos)!r}, fp16=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def hidden_layer(net, maps):
    pooled = net.op("Flatten", net.op("GlobalAveragePool", maps))
    hidden = net.op("HardSwish", net.op("Gemm", pooled, net.weights(6, CHANNELS), transB=1))
    return net.op("Gemm", hidden, net.weights(CLASSES, 6), transB=1)


def flattened(net, maps):
    hidden = net.op("Relu", net.op("Gemm", net.op("Flatten", maps), net.weights(6, CHANNELS * 16), transB=1))
    return net.op("Gemm", hidden, net.weights(CLASSES, 6), transB=1)


def first_token(net, maps):
    cells = net.op("Reshape", maps, net.const(np.array([0, CHANNELS, 16], np.int64)))
    first = net.op("ReduceMax", cells, axes=[2], keepdims=1)
    tokens = net.op("Transpose", net.op("Concat", first, cells, axis=2), perm=[0, 2, 1])
    scores = net.op("MatMul", tokens, net.op("Transpose", tokens, perm=[0, 2, 1]))
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), tokens)
    class_token = net.op("Gather", mixed, net.const(np.array(0, np.int64)), axis=1)
    return net.op("Gemm", net.op("Relu", class_token), net.weights(CLASSES, CHANNELS), transB=1)


@pytest.mark.parametrize("head", [hidden_layer, flattened, first_token], ids=lambda head: head.__name__)
def test_per_cell_head_reads_the_dequantized_map(head, photos, tmp_path):
    """The head stays in float32, so the class maps are the float file's head on the dequantized map."""
    net = Net()
    attach(net.save(tmp_path / "in.onnx", head(net, net.features())), tmp_path / "float.onnx", **PLAIN)
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos)
    model = onnx.load(tmp_path / "int8.onnx")
    assert "QuantizeLinear" in operators(tmp_path / "int8.onnx")
    first, second = (run(tmp_path / f"{name}.onnx", report.images) for name in ("float", "int8"))
    assert second["class_maps"].dtype == np.float32
    assert np.corrcoef(first["class_maps"].ravel(), second["class_maps"].ravel())[0, 1] > 0.9
    feature_map = run_to(model, "asked_map", report.images)
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "float.onnx")))
    float_head = extractor.extract_model(["asked_map"], ["logits", "class_maps"])
    logits, class_maps = session(float_head).run(None, {"asked_map": feature_map})
    np.testing.assert_allclose(second["logits"], logits, rtol=0, atol=1e-5 * np.abs(logits).max())
    np.testing.assert_allclose(second["class_maps"], class_maps, rtol=0, atol=1e-5 * np.abs(class_maps).max())


def run_to(model, tensor, images):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    return session(copy).run(None, {"image": images})[0]


def test_network_with_channels_last_computes_in_integers(photos, tmp_path):
    """Its pool reads the maps in another layout than the file's output."""
    net = Net()
    net.input_shape = ["N", 8, 8, 3]
    maps = net.features(source=net.op("Transpose", net.input, perm=[0, 3, 1, 2]))
    pooled = net.mean(net.op("Transpose", maps, perm=[0, 2, 3, 1]), [1, 2], 0)
    attach(net.save(tmp_path / "in.onnx", net.gemm(pooled)), tmp_path / "float.onnx", **PLAIN)
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos)
    assert report.fidelity.pearson_median > 0.95
    model = camrt.load(tmp_path / "int8.onnx", provider="cpu")
    result = model(report.images[0])
    assert result.maps.dtype == np.uint8
    assert check_identity(model, result).holds
    assert operators(tmp_path / "int8.onnx").count("Conv") == 2
    assert operators(tmp_path / "int8.onnx").count("QuantizeLinear") >= 2


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("own", ["scale", "mean and scale", "nothing"])
def test_networks_own_preprocessing_is_kept(own, channels, photos, tmp_path):
    """The first convolution reads the pixels, so its weights hold all preprocessing."""
    net = Net()
    pixels = net.input
    if own == "mean and scale":
        pixels = net.op("Sub", pixels, net.const(np.array([90, 120, 60], np.float32).reshape(1, 3, 1, 1)))
    if own != "nothing":
        pixels = net.op("Mul", pixels, net.const(np.array([0.02, 0.01, 0.03], np.float32).reshape(1, 3, 1, 1)))
    logits = net.gemm(net.op("Flatten", net.op("GlobalAveragePool", net.features(source=pixels))))
    source = net.save(tmp_path / "in.onnx", logits)
    attach(source, tmp_path / "float.onnx", scale=0.5, mean=(1, 2, 3), std=(2, 1, 4), channels=channels)
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos)
    first, second = (run(tmp_path / f"{name}.onnx", report.images)["logits"] for name in ("float", "int8"))
    assert np.abs(first - second).max() < 0.1 * np.ptp(first)
