"""Model files in fewer bits: explained as exactly as before, judged by pictures they have not seen."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import camrt
from camrt.errors import ExportError, SourceError, UsageError
from camrt.export import attach, quantize
from camrt.export.quantize.calibration import FEWEST, MOST, read_calibration
from camrt.export.quantize.int8 import METHODS, overflows_here
from camrt.export.quantize.quantize import PEARSON, TOP1
from camrt.model_file import InputGeometry, ModelInfo
from camrt.runtime.inference.cam_identity import check_identity
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, run, session
from support.tiny_models import LABELS, write_class_maps, write_linear


@pytest.fixture(scope="module")
def photos(shared_data, tmp_path_factory):
    """Eighteen photos, which take no time."""
    folder = tmp_path_factory.mktemp("photos")
    for file in sorted((shared_data / "images_cls").glob("*.JPEG"))[:18]:
        cv2.imwrite(str(folder / f"{file.stem}.png"), cv2.resize(cv2.imread(str(file)), (64, 48)))
    return folder


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def real_values(results, name, grid):
    return (results[name].astype(np.float64) - grid["zero_point"]) * grid["scale"]


@pytest.mark.parametrize("write", [write_linear, write_class_maps])
def test_the_new_file_explains_itself_exactly(write, photos, tmp_path):
    source, target = write(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    report = quantize(source, target, calibration=photos)
    first, second = camrt.load(source, provider="cpu"), camrt.load(target, provider="cpu")
    assert second.info.quantization["kind"] == "int8"
    assert (second.labels, second.geometry, second.head) == (first.labels, first.geometry, first.head)
    assert second.info.map_margin == first.info.map_margin
    cams = [[first(picture).cam(number) for number in range(first.classes)] for picture in report.pictures]
    found = []
    for picture in report.pictures:
        result = second(picture)
        assert result.maps.dtype == np.uint8
        check = check_identity(second, result)
        assert check.tolerance == 1e-4
        assert check.holds
        found.append([result.cam(number) for number in range(second.classes)])
    assert np.corrcoef(np.ravel(cams), np.ravel(found))[0, 1] > 0.99


def test_the_weights_of_the_maps_stay_as_they_are(photos, tmp_path):
    source, target = write_linear(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    quantize(source, target, calibration=photos)
    first, second = camrt.load(source, provider="cpu"), camrt.load(target, provider="cpu")
    assert np.array_equal(first.decoder.cam_weights, second.decoder.cam_weights)
    assert np.array_equal(first.decoder.cam_bias, second.decoder.cam_bias)


def test_the_metadata_and_the_report_say_the_same(photos, tmp_path):
    source, target = write_linear(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    model = onnx.load(source)
    model.metadata_props.add(key="trained_on", value="nothing")
    onnx.save(model, source)
    report = quantize(source, target, calibration=photos).as_dict()
    entries = metadata(target)
    assert entries["trained_on"] == "nothing"
    stated = json.loads(entries["camrt.quantization"])
    assert stated["calibration"] == f"{report['calibrated_on']} pictures" == "6 pictures"
    assert stated["judged_by"] == f"{report['evaluated_on']} pictures" == "12 pictures"
    for key in ("top1_agreement", "pearson_median", "rank_median", "box_iou_median"):
        assert stated[key] == report[key]
    assert report["size_ratio"] == source.stat().st_size / target.stat().st_size
    assert json.loads(entries["camrt.verification"])["identity_error"] <= 1e-4
    assert len(report["pictures"]) == sum(row["pictures"] for row in report["classes"]) == 12
    assert {row["label"] for row in report["classes"]} <= set(LABELS)
    json.dumps(report, allow_nan=False)


def test_the_same_pictures_give_the_same_file(photos, tmp_path):
    source = write_linear(tmp_path / "float.onnx")
    for name in ("a.onnx", "b.onnx"):
        quantize(source, tmp_path / name, calibration=photos)
    first, second = (run(tmp_path / name, np.zeros((1, 32, 32, 3), np.uint8)) for name in ("a.onnx", "b.onnx"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def graph_of(net, ending):
    """Build one head on the features of ``net``: returns the graph's output."""
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
def test_every_way_to_write_the_head(opset, ending, photos, tmp_path):
    net = Net(opset)
    net.save(tmp_path / "classifier.onnx", graph_of(net, ending))
    attach(tmp_path / "classifier.onnx", tmp_path / "float.onnx", **PLAIN)
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos)
    found = run(tmp_path / "int8.onnx", report.pictures[:2])
    grid = json.loads(metadata(tmp_path / "int8.onnx")["camrt.quantization"])["features"]
    name = "class_maps" if "class_maps" in found else "features"
    assert found[name].dtype == np.uint8
    assert (grid["zero_point"] > 0) == (ending == "signed class maps")
    assert_identity({**found, name: real_values(found, name, grid)})
    one_by_one = [run(tmp_path / "int8.onnx", picture[None]) for picture in report.pictures[:2]]
    assert np.array_equal(np.concatenate([one[name] for one in one_by_one]), found[name])


def test_pools_inside_the_network_become_integers_too(photos, tmp_path):
    """As in squeeze and excitation, where torch's exporter writes the pool as a ReduceMean."""
    net = Net(18)
    features = net.features()
    gate = net.op("Sigmoid", net.op("Conv", net.mean(features, [2, 3]), net.weights(5, 5, 1, 1)))
    scaled = net.op("Mul", features, gate)
    last = net.op("Relu", net.op("Conv", scaled, net.weights(5, 5, 1, 1)))
    net.save(tmp_path / "classifier.onnx", net.gemm(net.mean(last, [2, 3], 0)))
    attach(tmp_path / "classifier.onnx", tmp_path / "float.onnx", **PLAIN)
    quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos, method="minmax")
    found = operators(tmp_path / "int8.onnx")
    assert "ReduceMean" not in found
    assert found.count("GlobalAveragePool") == 1  # of the gate; that of the head is a sum of integers
    assert found.count("ReduceSum") == 1


def test_half_floats_keep_the_outputs_of_the_contract(photos, tmp_path):
    source, target = write_linear(tmp_path / "float.onnx"), tmp_path / "fp16.onnx"
    report = quantize(source, target, calibration=photos, fp16=True)
    assert (report.kind, report.calibrated_on) == ("fp16", 0)
    assert report.fidelity.pearson_median > 0.999
    kinds = {output.name: output.type.tensor_type.elem_type for output in onnx.load(target).graph.output}
    assert set(kinds.values()) == {TensorProto.FLOAT}
    weights = [tensor for tensor in onnx.load(target).graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    assert weights
    model = camrt.load(target, provider="cpu")
    assert check_identity(model, model(report.pictures[0])).holds


@pytest.mark.parametrize("method", METHODS)
def test_the_method_that_is_asked_for_is_the_one_that_is_used(method, photos, tmp_path):
    report = quantize(write_linear(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration=photos, method=method)
    assert json.loads(metadata(tmp_path / "out.onnx")["camrt.quantization"])["method"] == method
    assert {attempt.configuration.split(",")[1] for attempt in report.attempts} == {f" calibrated by {method}"}


def test_where_it_is_not_good_enough_other_ways_are_tried_in_order(photos, tmp_path):
    """Random features with a wild outlier: 8 bits cannot hold both it and the rest."""
    source = write_linear(tmp_path / "in.onnx", channels=8)
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == "kernel":
            values = numpy_helper.to_array(tensor).copy()
            values[0] *= 3000  # and the linear layer all but ignores it
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


def test_the_first_way_that_is_good_is_taken(photos, tmp_path):
    report = quantize(write_class_maps(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration=photos)
    *before, last = report.attempts
    assert (last.configuration, last.passed) == (report.selected, report.passed)
    assert not any(attempt.passed for attempt in before)
    assert (last.fidelity.top1_agreement >= TOP1 and last.fidelity.pearson_median >= PEARSON) == last.passed


def test_a_third_of_the_pictures_calibrates_and_the_others_judge(photos):
    geometry = InputGeometry(width=16, height=12)
    pictures = read_calibration(photos, geometry)
    assert pictures.held_out
    assert (len(pictures.calibrating), len(pictures.judging), len(pictures.names)) == (6, 12, 12)
    calibrating = {picture.tobytes() for picture in pictures.calibrating}
    assert not any(picture.tobytes() in calibrating for picture in pictures.judging)


def test_pictures_are_cut_as_the_runtime_cuts_frames(tmp_path):
    frame = np.zeros((30, 60, 3), np.uint8)
    frame[:, 20:40] = 200  # all that a centre crop of 60x30 to 10x15 sees
    cv2.imwrite(str(tmp_path / "wide.png"), frame)
    seen = read_calibration(tmp_path / "wide.png", InputGeometry(width=10, height=15, resize="crop"))
    assert (seen.judging == 200).all()
    assert not seen.held_out


def test_few_pictures_judge_themselves_and_the_report_says_so(photos, tmp_path):
    few = sorted(Path(photos).iterdir())[: FEWEST - 1]
    report = quantize(write_linear(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration=few)
    assert not report.held_out
    assert report.calibrated_on == report.fidelity.pictures == len(few)
    assert any("the same that it was calibrated on" in note for note in report.notes)


def test_a_long_video_is_read_evenly(tmp_path):
    frames = MOST + 100
    writer = cv2.VideoWriter(str(tmp_path / "long.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (32, 32))
    for number in range(frames):
        writer.write(np.full((32, 32, 3), number * 255 // frames, np.uint8))
    writer.release()
    pictures = read_calibration(tmp_path / "long.mp4", InputGeometry(width=8, height=8))
    used = len(pictures.calibrating) + len(pictures.judging)
    assert MOST / 2 < used <= MOST
    brightness = np.concatenate([pictures.calibrating, pictures.judging]).mean(axis=(1, 2, 3))
    assert brightness.min() < 10
    assert brightness.max() > 240
    assert pictures.names[0] == "long.mp4, frame 2"


@pytest.mark.parametrize(
    ("paths", "error", "message"),
    [
        (["nowhere"], UsageError, "there is no nowhere"),
        (["empty"], UsageError, "no images in empty"),
        (["notes.txt"], UsageError, "notes.txt is neither an image nor a video"),
        (["broken.png"], SourceError, "broken.png cannot be decoded"),
        ([], UsageError, "no images in an empty list"),
    ],
)
def test_what_cannot_calibrate_is_named(paths, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("notes.txt").write_text("no video")
    Path("broken.png").write_bytes(b"no picture")
    write_linear(Path("in.onnx"))
    with pytest.raises(error, match=message):
        quantize("in.onnx", "out.onnx", calibration=paths)
    assert not Path("out.onnx").exists()


def test_a_quantized_file_is_not_quantized_again(photos, tmp_path, shared_data):
    quantize(write_linear(tmp_path / "in.onnx"), tmp_path / "int8.onnx", calibration=photos)
    quantize(tmp_path / "in.onnx", tmp_path / "fp16.onnx", calibration=photos, fp16=True)
    attach(shared_data / "models" / "mobilenetv2_torchvision_qdq_int8.onnx", tmp_path / "qdq.onnx")
    for name, how in (("int8", "int8"), ("fp16", "fp16"), ("qdq", "QuantizeLinear|DequantizeLinear")):
        with pytest.raises(ExportError, match=f"quantized already .*({how})"):
            quantize(tmp_path / f"{name}.onnx", tmp_path / "out.onnx", calibration=photos)
    assert not (tmp_path / "out.onnx").exists()


def test_a_classifier_in_half_floats_is_refused(photos, tmp_path):
    net = Net(dtype=np.float16)
    net.save(tmp_path / "classifier.onnx", net.gemm(net.pooled()))
    attach(tmp_path / "classifier.onnx", tmp_path / "in.onnx", **PLAIN)
    with pytest.raises(ExportError, match="16-bit floats already"):
        quantize(tmp_path / "in.onnx", tmp_path / "out.onnx", calibration=photos)


def test_what_is_no_model_file_is_sent_to_attach(photos, tmp_path):
    net = Net()
    net.save(tmp_path / "classifier.onnx", net.gemm(net.pooled()))
    with pytest.raises(ExportError, match="camrt attach"):
        quantize(tmp_path / "classifier.onnx", tmp_path / "out.onnx", calibration=photos)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ExportError, match="not an ONNX model"):
        quantize(tmp_path / "text.onnx", tmp_path / "out.onnx", calibration=photos)


def test_a_file_whose_maps_do_not_explain_it_is_not_written(photos, tmp_path):
    """Its maps have one more reader than the pool, whatever its metadata say."""
    source = write_linear(tmp_path / "in.onnx")
    model = onnx.load(source)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type == "Flatten":
            model.graph.node.append(helper.make_node("GlobalMaxPool", ["features"], ["most"]))
            model.graph.node.append(helper.make_node("Add", ["pooled", "most"], ["both"]))
            node.input[0] = "both"
        model.graph.node.append(node)
    onnx.save(model, source)
    with pytest.raises(ExportError, match="do not add up to the logits"):
        quantize(source, tmp_path / "out.onnx", calibration=photos)
    assert not (tmp_path / "out.onnx").exists()


def test_what_makes_no_sense_is_refused(photos, tmp_path):
    source = write_linear(tmp_path / "in.onnx")
    with pytest.raises(UsageError, match="minmax, percentile, entropy"):
        quantize(source, tmp_path / "out.onnx", calibration=photos, method="guess")
    with pytest.raises(UsageError, match="need no calibration"):
        quantize(source, tmp_path / "out.onnx", calibration=photos, method="minmax", fp16=True)
    (tmp_path / "out.onnx").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        quantize(source, tmp_path / "out.onnx", calibration=photos)
    assert (tmp_path / "out.onnx").read_text() == "mine"
    quantize(source, tmp_path / "out.onnx", calibration=photos, overwrite=True)
    assert ModelInfo.from_metadata(metadata(tmp_path / "out.onnx")).quantization["kind"] == "int8"


def test_a_processor_whose_sums_overflow_is_known_by_its_flags(monkeypatch, tmp_path, photos):
    with monkeypatch.context() as patched:
        patched.setattr("platform.machine", lambda: "x86_64")
        patched.setattr(Path, "read_text", lambda *_: "flags : sse avx2 fma")
        assert overflows_here()
        patched.setattr(Path, "read_text", lambda *_: "flags : avx2 avx512_vnni")
        assert not overflows_here()
        patched.setattr("platform.machine", lambda: "aarch64")
        assert not overflows_here()
    module = sys.modules["camrt.export.quantize.quantize"]  # by attribute it is the public function
    monkeypatch.setattr(module, "overflows_here", lambda: True)
    report = quantize(write_class_maps(tmp_path / "in.onnx"), tmp_path / "out.onnx", calibration=photos)
    assert any("no VNNI" in note for note in report.notes)
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert weights
    assert all(np.abs(values).max() <= 64 for values in weights)


def test_quantizing_needs_no_torch(photos, tmp_path):
    without = "import sys; sys.modules['torch'] = sys.modules['sympy'] = None\n"
    tools = subprocess.run(
        [sys.executable, "-c", f"{without}import onnxruntime.quantization"], capture_output=True, check=False
    )
    if tools.returncode:
        pytest.skip("the tools of this ONNX Runtime import torch themselves")
    source = write_linear(tmp_path / "in.onnx")
    code = without + (
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
    chosen = net.op("Gather", mixed, net.const(np.array(0, np.int64)), axis=1)
    return net.op("Gemm", net.op("Relu", chosen), net.weights(CLASSES, CHANNELS), transB=1)


@pytest.mark.parametrize("head", [hidden_layer, flattened, first_token], ids=lambda head: head.__name__)
def test_a_head_that_is_asked_is_asked_about_what_the_integers_stand_for(head, photos, tmp_path):
    """Everything behind the map is what it was, in float32: the file's class maps are the head's own answers."""
    net = Net()
    attach(net.save(tmp_path / "in.onnx", head(net, net.features())), tmp_path / "float.onnx", **PLAIN)
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos)
    model = onnx.load(tmp_path / "int8.onnx")
    assert "QuantizeLinear" in operators(tmp_path / "int8.onnx")
    first, second = (run(tmp_path / f"{name}.onnx", report.pictures) for name in ("float", "int8"))
    assert second["class_maps"].dtype == np.float32
    assert np.corrcoef(first["class_maps"].ravel(), second["class_maps"].ravel())[0, 1] > 0.9
    # The map that the head gets, put into the float file's head, gives the int8 file's answers.
    entry = run_to(model, "asked_map", report.pictures)
    behind = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "float.onnx")))
    head_alone = behind.extract_model(["asked_map"], ["logits", "class_maps"])
    logits, class_maps = session(head_alone).run(None, {"asked_map": entry})
    np.testing.assert_allclose(second["logits"], logits, rtol=0, atol=1e-5 * np.abs(logits).max())
    np.testing.assert_allclose(second["class_maps"], class_maps, rtol=0, atol=1e-5 * np.abs(class_maps).max())


def run_to(model, tensor, pictures):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    return session(copy).run(None, {"image": pictures})[0]


def test_a_network_with_channels_last_becomes_integers_too(photos, tmp_path):
    """Its pool reads the maps in another order than the file gives them."""
    net = Net()
    net.picture = ["N", 8, 8, 3]
    maps = net.features(source=net.op("Transpose", net.input, perm=[0, 3, 1, 2]))
    pooled = net.mean(net.op("Transpose", maps, perm=[0, 2, 3, 1]), [1, 2], 0)
    attach(net.save(tmp_path / "in.onnx", net.gemm(pooled)), tmp_path / "float.onnx", **PLAIN)
    report = quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration=photos)
    assert report.fidelity.pearson_median > 0.95
    model = camrt.load(tmp_path / "int8.onnx", provider="cpu")
    result = model(report.pictures[0])
    assert result.maps.dtype == np.uint8
    assert check_identity(model, result).holds
    assert operators(tmp_path / "int8.onnx").count("Conv") == 2
    assert operators(tmp_path / "int8.onnx").count("QuantizeLinear") >= 2


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("own", ["scale", "mean and scale", "nothing"])
def test_what_the_network_does_to_the_pixels_itself_is_kept(own, channels, photos, tmp_path):
    """The first convolution reads the pixels, so all that was before it must be in its weights."""
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
    first, second = (run(tmp_path / f"{name}.onnx", report.pictures)["logits"] for name in ("float", "int8"))
    assert np.abs(first - second).max() < 0.1 * np.ptp(first)
