"""Metadata of the file and files beside it: what is read, what wins, and which contradictions are refused."""

import json
from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camrt.cli import main
from camrt.errors import ExportError, UsageError
from camrt.export import attach, survey
from camrt.export.source_metadata.collect import collect
from camrt.model_file import ModelInfo
from support.export_graphs import CHANNELS, CLASSES, Net, random_images, run, session

NAMES = ("ant", "bee", "cat", "dog")
ULTRALYTICS = {
    "author": "Ultralytics",
    "task": "classify",
    "imgsz": "[8, 8]",
    "names": "{0: 'ant', 1: 'bee', 2: 'cat', 3: 'dog'}",
}
IMAGE = {
    "Image.BitmapPixelFormat": "Bgr8",
    "Image.NominalPixelRange": "NominalRange_0_255",
    "Image.ColorSpaceGamma": "SRGB",
}
UNIT = {"scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]}


def model_with(metadata, *, classes=CLASSES, colours=3, first=None):
    net = Net()
    net.input_shape = ["N", colours, 8, 8]
    start = first(net) if first else net.input
    maps = net.op("Relu", net.op("Conv", start, net.weights(CHANNELS, colours, 3, 3)))
    output = net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps)), classes=classes)
    model = net.model(output, **{output: ["N", classes]})
    onnx.helper.set_model_props(model, metadata)
    return model


def save(folder, metadata=None, **options):
    onnx.save(model_with(metadata or {}, **options), folder / "in.onnx")
    return folder / "in.onnx"


def info_of(path):
    return ModelInfo.from_metadata(session(path).get_modelmeta().custom_metadata_map)


def assert_input(source, target, order, scale, mean, std):
    """Compare the new file's logits with the source's on these pixels."""
    images = random_images(3)
    ordered = images[..., ::-1] if order == "rgb" else images
    data = ((ordered * scale - np.asarray(mean)) / std).transpose(0, 3, 1, 2).astype(np.float32)
    expected = session(source).run(None, {"data": data})[0]
    np.testing.assert_allclose(run(target, images)["logits"], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.input_kind("preprocessing", "metadata of Ultralytics (names, task, imgsz)", "ONNX Runtime", "equal")
def test_ultralytics_metadata_give_labels_pixels_and_crop(tmp_path):
    source = save(tmp_path, ULTRALYTICS)
    report = attach(source, tmp_path / "out.onnx")
    assert report.labels == NAMES
    assert report.read == (
        "From the file's Ultralytics metadata: 4 labels (ant; bee; cat; ...), channel order RGB, pixels / 255, the "
        "centre cropped, input size 8x8.",
    )
    assert report.assumptions == (
        "The network is assumed to be trained on images resized with antialiasing, as by Pillow and torchvision "
        "(--interpolation).",
        "The graph ends in logits; scores are assumed to be their softmax (--activation).",
    )
    geometry = info_of(tmp_path / "out.onnx").geometry
    assert (geometry.resize, geometry.shorter_side) == ("crop", None)
    assert_input(source, tmp_path / "out.onnx", "rgb", 1 / 255, 0, 1)


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_ultralytics_network_that_does_not_classify_is_refused(task, tmp_path):
    source = save(tmp_path, ULTRALYTICS | {"task": task})
    with pytest.raises(ExportError, match=f"Ultralytics metadata say task '{task}'.*--output"):
        attach(source, tmp_path / "out.onnx")
    assert attach(source, tmp_path / "out.onnx", output=onnx.load(source).graph.output[0].name).labels == NAMES


@pytest.mark.input_kind(
    "preprocessing", "Image.* metadata of ONNX (CNTK, WinML, Custom Vision)", "ONNX Runtime", "equal"
)
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    ("pixel_range", "scale", "mean"),
    [
        ("NominalRange_0_255", 1, 0),
        ("Normalized_0_1", 1 / 255, 0),
        ("Normalized_1_1", 1 / 127.5, 1),
        ("NominalRange_16_235", 219 / 255, -16),
    ],
)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_image_metadata_give_order_and_range(pixel_range, scale, mean, order, upper, tmp_path):
    metadata = {"Image.BitmapPixelFormat": f"{order.title()}8", "Image.NominalPixelRange": pixel_range}
    if upper:  # keys and values are case insensitive
        metadata = {key.upper(): value.upper() for key, value in metadata.items()}
    source = save(tmp_path, metadata)
    report = attach(source, tmp_path / "out.onnx")
    assert_input(source, tmp_path / "out.onnx", order, scale, mean, 1)
    assert not any(word in " ".join(report.assumptions) for word in ("ImageNet", "RGB"))


def test_range_alone_leaves_the_order_assumed(tmp_path):
    report = attach(save(tmp_path, {"Image.NominalPixelRange": "Normalized_0_1"}), tmp_path / "out.onnx")
    assert report.read == ("From the file's ONNX image metadata: pixels / 255.",)
    assert "The network's input is assumed to be RGB (--bgr)." in report.assumptions


def test_network_that_takes_bytes_is_assumed_to_scale_them_itself(tmp_path):
    model = model_with({"Image.NominalPixelRange": "Normalized_0_1"}, first=lambda net: net.cast(net.input))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, tmp_path / "in.onnx")
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert info_of(tmp_path / "out.onnx").preprocessing == {
        "channels": "rgb",
        "scale": 1.0,
        "mean": [0] * 3,
        "std": [1] * 3,
    }
    assert any("takes bytes, so it is assumed to compute 'pixels / 255' itself" in text for text in report.assumptions)


def test_linear_brightness_is_a_remark(tmp_path):
    report = attach(save(tmp_path, IMAGE | {"Image.ColorSpaceGamma": "Linear"}), tmp_path / "out.onnx")
    assert any("linear brightness" in sentence for sentence in report.assumptions)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"Image.BitmapPixelFormat": "Yuv"}, "Image.BitmapPixelFormat is 'Yuv', none of gray8, rgb8"),
        ({"Image.NominalPixelRange": "0-255"}, "Image.NominalPixelRange is '0-255'"),
        ({"Image.BitmapPixelFormat": "Gray8"}, r"grey images; but the network's input has 3 channel"),
        (ULTRALYTICS | {"imgsz": "[640, 640]"}, "input size 640x640; but the network's input is 8x8"),
        (ULTRALYTICS | {"names": "{0: 'ant', 1: 'bee'}"}, "2 labels in the file's Ultralytics metadata.*4 classes"),
        (ULTRALYTICS | {"names": "{0: 'ant', 1: "}, "Ultralytics metadata, names: it begins like a list or dict"),
        (
            ULTRALYTICS | IMAGE,
            "channel order RGB; but the file's ONNX image metadata: channel order BGR.*--rgb or --bgr",
        ),
        (
            ULTRALYTICS | {"Image.NominalPixelRange": "Normalized_1_1"},
            r"pixels / 255; but .*pixels / 127.5, mean 1. Pass --scale",
        ),
        ({"model_info mean_values": "1 2"}, r"model_info .*mean_values is .*'1', '2'.*not one number"),
    ],
)
def test_contradictions_and_unknown_values_are_refused(metadata, message, tmp_path):
    source = save(tmp_path, metadata)
    with pytest.raises(UsageError, match=message):
        attach(source, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_options_decide_contradictions(tmp_path):
    source = save(tmp_path, ULTRALYTICS | IMAGE | {"names": "{0: 'ant', 1: 'bee'}", "imgsz": "[9, 9]"})
    options = {"channels": "bgr", "scale": 1.0, "labels": NAMES, "size": (8, 8), "resize": "stretch"}
    report = attach(source, tmp_path / "out.onnx", **options)
    assert (report.labels, report.read) == (NAMES, ())
    assert info_of(tmp_path / "out.onnx").preprocessing == {
        "channels": "bgr",
        "scale": 1.0,
        "mean": [0] * 3,
        "std": [1] * 3,
    }
    assert any("--mean is not set, and is assumed to be 0,0,0" in sentence for sentence in report.assumptions)


def test_places_that_agree_are_read_once(tmp_path):
    metadata = ULTRALYTICS | {"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_0_1"}
    source = save(tmp_path, metadata)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": dict(enumerate(NAMES))}))
    report = attach(source, tmp_path / "out.onnx")
    assert (len(report.read), report.labels) == (1, NAMES)


def test_inspect_shows_what_is_read_and_refuses_contradictions(tmp_path, capsys):
    source = save(tmp_path, IMAGE)
    assert survey(source).read == ("From the file's ONNX image metadata: channel order BGR, pixels 0 to 255.",)
    assert main(["inspect", str(source)]) == 0
    assert "\nread          From the file's ONNX image metadata: channel order BGR" in capsys.readouterr().out
    assert main(["inspect", str(save(tmp_path))]) == 0
    assert "\nassumed       The network's input is assumed to be pixels / 255" in capsys.readouterr().out
    surveyed = survey(save(tmp_path, ULTRALYTICS | IMAGE))
    assert surveyed.head is None
    assert "channel order RGB; but the file's ONNX image metadata" in surveyed.refusal
    one_logit = save(tmp_path, classes=1)
    assert survey(one_logit).head == "linear"


def test_labels_of_the_file_win_over_a_label_file_beside_it(tmp_path):
    (tmp_path / "labels.txt").write_text("w\nx\ny\nz\n")
    assert attach(save(tmp_path, ULTRALYTICS), tmp_path / "out.onnx").labels == NAMES


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("names", "{0: 'ant', 1: 'bee', 2: 'cat', 3: 'dog'}"),  # as YOLOv5 writes, beside "stride"
        ("classes", '["ant", "bee", "cat", "dog"]'),
        ("class_names", "ant,bee,cat,dog"),
        ("labels", "ant; bee; cat; dog"),
        ("labels", "ant\nbee\ncat\ndog"),
        ("id2label", '{"0": "ant", "1": "bee", "2": "cat", "3": "dog"}'),
    ],
)
def test_labels_in_other_metadata_are_read_without_more(key, value, tmp_path):
    report = attach(save(tmp_path, {key: value}), tmp_path / "out.onnx")
    assert report.labels == NAMES
    assert report.read[0].startswith(f"From the file's metadata, entry '{key}': 4 labels")
    assert any("ImageNet" in sentence for sentence in report.assumptions)


@pytest.mark.parametrize("value", ["4", "labels.txt", ""])
def test_entry_that_holds_no_names_is_no_list_of_labels(value, tmp_path):
    assert attach(save(tmp_path, {"classes": value}), tmp_path / "out.onnx").read == ()


KEYS = [
    "size",
    "crop_size",
    "crop_pct",
    "rescale_factor",
    "image_mean",
    "image_std",
    "resample",
    "id2label",
    "do_center_crop",
    "pretrained_cfg",
    "label_names",
    "mean",
    "std",
    "input_size",
    "labels",
    "imageSize",
    "Image.NominalPixelRange",
    "CustomVision.Preprocess.NormalizeStd",
    "CustomVision.Preprocess.CropWidth",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["preprocessor_config.json", "config.json", "metadata_properties.json", "metadata.json"]),
    key=st.sampled_from(KEYS),
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["height", "0", "mean"]), inner),
        max_leaves=4,
    ),
)
def test_wrong_values_give_one_error_or_none(name, key, value, tmp_path):
    model = model_with({})
    entries = {
        "tmVersion": "2",
        "architecture": "x",
        "mean": [0.5],
        "std": [0.5],
        "image_mean": [0.5],
        "image_std": [0.5],
    }
    entries |= {"CustomVision.Version": "1", "CustomVision.Preprocess.NormalizeMean": "[1]", key: value}
    for file in tmp_path.glob("*.json"):
        file.unlink()
    (tmp_path / name).write_text(json.dumps(entries))
    with suppress(UsageError):
        facts = collect(model, tmp_path / "in.onnx", (), output_is_named=False)
        assert all(sentence.startswith("From ") for sentence in facts.sentences())


@pytest.mark.input_kind("labels", "labels.txt beside the file (Custom Vision, Teachable Machine)", "the names", "equal")
@pytest.mark.parametrize("text", ["ant\r\nbee\r\ncat\r\ndog\r\n", "0 ant\n1 bee\n2 cat\n3 dog\n"])
def test_label_file_beside_the_classifier_is_read(text, tmp_path):
    source = save(tmp_path)
    (tmp_path / "labels.txt").write_text(text)
    report = attach(source, tmp_path / "out.onnx")
    assert report.labels == NAMES
    assert "labels.txt beside the file" in report.read[0]
    (tmp_path / "labels.txt").write_text("ant\nbee\n")
    with pytest.raises(UsageError, match=r"2 labels in labels.txt beside the file .*4 classes.*--labels none"):
        attach(source, tmp_path / "out.onnx", overwrite=True)
    (tmp_path / "labels.txt").write_text("0 ant\n1 bee\n2 cat\n4 dog\n")
    with pytest.raises(UsageError, match=r"labels.txt: numbered lines: line 4 .*--labels none"):
        attach(source, tmp_path / "out.onnx", overwrite=True)
    assert attach(source, tmp_path / "out.onnx", labels="none", overwrite=True).labels is None


CUSTOM_VISION = {
    "CustomVision.Metadata.Version": "1.1",
    "CustomVision.Postprocess.Method": "ClassificationMultiClass",
    "CustomVision.Preprocess.CropHeight": "0",
    "CustomVision.Preprocess.CropMethod": "FullImageShorterSide",
    "CustomVision.Preprocess.CropWidth": "0",
    "CustomVision.Preprocess.NormalizeMean": "[0.0, 0.0, 0.0]",
    "CustomVision.Preprocess.NormalizeStd": "[1.0, 1.0, 1.0]",
    "CustomVision.Preprocess.ResizeMethod": "ByShorterSideAlign32",
    "CustomVision.Preprocess.TargetHeight": "8",
    "CustomVision.Preprocess.TargetWidth": "8",
    "Image.BitmapPixelFormat": "Bgr8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}


@pytest.mark.input_kind(
    "preprocessing", "metadata_properties.json beside the file (Custom Vision)", "ONNX Runtime", "equal"
)
@pytest.mark.parametrize(
    ("changes", "mean", "std", "resize", "activation"),
    [
        ({}, 0, 1, ("stretch", None), "softmax"),
        (
            {"NormalizeMean": "[104, 117, 123]", "NormalizeStd": "[2, 2, 2]"},
            (104, 117, 123),
            2,
            ("stretch", None),
            "softmax",
        ),
        (
            {
                "CropHeight": "8",
                "CropWidth": "8",
                "CropMethod": "OneCropCenter",
                "TargetHeight": "10",
                "TargetWidth": "10",
            },
            0,
            1,
            ("crop", 10),
            "softmax",
        ),
        ({"Postprocess": "ClassificationMultiLabel"}, 0, 1, ("stretch", None), "sigmoid"),
    ],
)
def test_custom_vision_file_is_read(changes, mean, std, resize, activation, tmp_path):
    source = save(tmp_path)
    renamed = {f"CustomVision.Preprocess.{key}": value for key, value in changes.items() if key != "Postprocess"}
    if "Postprocess" in changes:
        renamed["CustomVision.Postprocess.Method"] = changes["Postprocess"]
    (tmp_path / "metadata_properties.json").write_text(json.dumps(CUSTOM_VISION | renamed))
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    report = attach(source, tmp_path / "out.onnx")
    assert (report.labels, report.activation) == (NAMES, activation)
    geometry = info_of(tmp_path / "out.onnx").geometry
    assert (geometry.resize, geometry.shorter_side) == resize
    assert_input(source, tmp_path / "out.onnx", "bgr", 1, mean, std)


@pytest.mark.input_kind("preprocessing", "metadata.json beside the file (Teachable Machine)", "ONNX Runtime", "equal")
def test_teachable_machine_file_is_read(tmp_path):
    source = save(tmp_path)
    entries = {"tmVersion": "2.4.10", "packageName": "@teachablemachine/image", "labels": NAMES, "imageSize": 8}
    (tmp_path / "metadata.json").write_text(json.dumps(entries))
    report = attach(source, tmp_path / "out.onnx")
    assert report.labels == NAMES
    assert info_of(tmp_path / "out.onnx").geometry.resize == "crop"
    assert_input(source, tmp_path / "out.onnx", "rgb", 1 / 127.5, 1, 1)


def test_denoted_axes_that_contradict_the_shape_are_refused(tmp_path):
    model = model_with({})
    names = ("DATA_BATCH", "DATA_CHANNEL", "DATA_FEATURE", "DATA_FEATURE")
    for dimension, denotation in zip(model.graph.input[0].type.tensor_type.shape.dim, names, strict=True):
        dimension.denotation = denotation
    onnx.save(model, tmp_path / "in.onnx")
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[1].denotation = "DATA_FEATURE"
    model.graph.input[0].type.tensor_type.shape.dim[3].denotation = "DATA_CHANNEL"
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(UsageError, match=r"denotes its input's axes as NHWC.*NCHW"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx", overwrite=True)
