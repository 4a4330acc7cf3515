"""Files of Hugging Face beside a classifier: the same pixels as transformers' own image processors give."""

import json
import os

import numpy as np
import pytest

from camrt.errors import UsageError
from camrt.export import attach
from camrt.export.graph.preprocessing import Preprocessing
from camrt.geometry import fit
from camrt.model_file import ModelInfo
from support.export_graphs import CHANNELS, CLASSES, Net, session

FRAME = (300, 400)
"""Height and width of the frame that the processors get."""
PROCESSORS = {
    "ViT": {"size": {"height": 224, "width": 224}},
    "ConvNext": {"size": {"shortest_edge": 224}, "crop_pct": 0.875},
    "ConvNext at 384": {"size": {"shortest_edge": 384}},
    "MobileNetV2": {},
    "Bit": {},
    "PoolFormer": {},
    "MobileViT": {"size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}},
    "EfficientNet": {"size": {"height": 224, "width": 224}, "include_top": True, "image_std": [0.4, 0.5, 0.6]},
    "EfficientNet with offset": {
        "size": {"height": 224, "width": 224},
        "rescale_factor": 1 / 127.5,
        "rescale_offset": True,
        "include_top": False,
        "do_normalize": False,
    },
}


def classifier(path, side, labels=CLASSES):
    net = Net()
    maps = net.op("Relu", net.op("Conv", net.input, net.weights(CHANNELS, 3, 3, 3), strides=[4, 4]))
    output = net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps)), classes=labels)
    return net.save(path, output, size=side, **{output: ["N", labels]})


def info_of(path):
    return ModelInfo.from_metadata(session(path).get_modelmeta().custom_metadata_map)


def coordinates():
    """Return a BGR image whose blue grows to the right, whose green grows downwards, and whose red falls."""
    rows, columns = np.mgrid[0 : FRAME[0], 0 : FRAME[1]]
    image = np.stack(
        [columns * 255 / (FRAME[1] - 1), rows * 255 / (FRAME[0] - 1), 255 - rows * 255 / (FRAME[0] - 1)], -1
    )
    return image.round().astype(np.uint8)


@pytest.fixture
def torch_libraries():
    """Make torchvision importable beside this torch, for transformers and timm."""
    import camrt.benchmarks.compare.torch_libraries  # noqa: F401


@pytest.mark.slow
@pytest.mark.usefixtures("torch_libraries")
@pytest.mark.input_kind(
    "preprocessing", "preprocessor_config.json beside the file (Hugging Face)", "transformers", "equal"
)
@pytest.mark.parametrize("name", PROCESSORS)
def test_network_input_equals_that_of_transformers(name, tmp_path):
    """The frame is smooth, so every filter gives nearly the same; wrong crops, scales and means differ far more."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers
    from PIL import Image

    processor = getattr(transformers, f"{name.split()[0]}ImageProcessorPil")(**PROCESSORS[name])
    processor.save_pretrained(tmp_path)
    image = coordinates()
    expected = processor(Image.fromarray(image[..., ::-1].copy()), return_tensors="np")["pixel_values"][0]
    source = classifier(tmp_path / "model.onnx", expected.shape[1])
    report = attach(source, tmp_path / "out.onnx")
    assert any("preprocessor_config.json" in sentence for sentence in report.read)
    assert not any(word in " ".join(report.assumptions) for word in ("ImageNet", "RGB", "stretched to the network"))
    info = info_of(tmp_path / "out.onnx")
    assert_same_pixels(image, info, expected)


def write(folder, name, **entries):
    (folder / name).write_text(json.dumps(entries))


NAMES = {"0": "ant", "1": "bee", "2": "cat", "3": "dog"}


@pytest.mark.input_kind("labels", "id2label in config.json beside the file", "the names", "equal")
@pytest.mark.parametrize("folder", ["", "onnx"])
def test_labels_and_activation_come_from_config(folder, tmp_path):
    write(tmp_path, "config.json", id2label=NAMES, problem_type="multi_label_classification")
    (tmp_path / folder).mkdir(exist_ok=True)
    report = attach(classifier(tmp_path / folder / "model.onnx", 32), tmp_path / "out.onnx")
    assert (report.labels, report.activation) == (tuple(NAMES.values()), "sigmoid")
    assert report.read == ("From config.json: 4 labels (ant; bee; cat; ...), scores by sigmoid.",)
    assert not any(word in " ".join(report.assumptions) for word in ("softmax", "names"))


def test_names_that_transformers_invents_are_no_labels(tmp_path):
    write(tmp_path, "config.json", id2label={str(number): f"LABEL_{number}" for number in range(4)})
    report = attach(classifier(tmp_path / "model.onnx", 32), tmp_path / "out.onnx")
    assert (report.labels, report.read) == (None, ())


def test_wrong_number_of_labels_is_refused_unless_an_option_decides(tmp_path):
    write(tmp_path, "config.json", id2label=NAMES)
    source = classifier(tmp_path / "model.onnx", 32, labels=7)
    with pytest.raises(UsageError, match=r"4 labels in config.json, but the network has 7 classes.*--labels none"):
        attach(source, tmp_path / "out.onnx")
    assert attach(source, tmp_path / "out.onnx", labels="none").labels is None
    assert attach(source, tmp_path / "named.onnx", labels=list("abcdefg")).labels == tuple("abcdefg")


def test_config_of_another_tool_says_nothing(tmp_path):
    write(tmp_path, "config.json", learning_rate=1, classes=["a"])
    write(tmp_path, "metadata.json", anything=True)
    assert attach(classifier(tmp_path / "model.onnx", 32), tmp_path / "out.onnx").read == ()


def test_damaged_config_is_named(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(UsageError, match=r"preprocessor_config.json beside the classifier is not JSON"):
        attach(classifier(tmp_path / "model.onnx", 32), tmp_path / "out.onnx")


def test_open_size_is_that_of_the_config_and_another_is_refused(tmp_path):
    write(
        tmp_path,
        "preprocessor_config.json",
        size={"height": 48, "width": 64},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    source = classifier(tmp_path / "model.onnx", "any")
    assert attach(source, tmp_path / "out.onnx").input == (64, 48)
    assert attach(source, tmp_path / "option.onnx", size=(32, 32)).input == (32, 32)
    fixed = classifier(tmp_path / "fixed.onnx", 32)
    with pytest.raises(UsageError, match=r"input size 64x48; but the network's input is 32x32. Pass --size 32x32"):
        attach(fixed, tmp_path / "fixed.cam.onnx")
    assert attach(fixed, tmp_path / "fixed.cam.onnx", size=(32, 32)).input == (32, 32)


@pytest.mark.slow
@pytest.mark.usefixtures("torch_libraries")
@pytest.mark.input_kind("preprocessing", "config.json of timm beside the file", "timm", "equal")
@pytest.mark.parametrize(
    ("crop_pct", "crop_mode", "resize"),
    [
        (0.875, "center", ("crop", 256)),
        (0.95, "center", ("crop", 235)),
        (1.0, "center", ("crop", None)),
        (1.0, "squash", ("stretch", None)),
    ],
)
def test_network_input_equals_that_of_timm(crop_pct, crop_mode, resize, tmp_path):
    import timm.data
    from PIL import Image

    pretrained = {
        "input_size": [3, 224, 224],
        "mean": [0.5, 0.4, 0.3],
        "std": [0.25, 0.2, 0.3],
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        "interpolation": "bicubic",
    }
    descriptions = {"n1": "ant", "n2": "bee", "n3": "cat", "n4": "dog"}
    write(
        tmp_path,
        "config.json",
        architecture="resnet18",
        num_classes=4,
        label_names=list(descriptions),
        label_descriptions=descriptions,
        pretrained_cfg=pretrained,
    )
    report = attach(classifier(tmp_path / "model.onnx", 224), tmp_path / "out.onnx")
    assert report.labels == tuple(NAMES.values())
    assert any("bicubic" in sentence for sentence in report.assumptions)
    info = info_of(tmp_path / "out.onnx")
    assert (info.geometry.resize, info.geometry.shorter_side) == resize
    image = coordinates()
    expected = timm.data.create_transform(**pretrained)(Image.fromarray(image[..., ::-1].copy())).numpy()
    assert_same_pixels(image, info, expected)


def assert_same_pixels(image, info, expected):
    """Compare within three levels of 255: the filters differ, but the image is smooth."""
    pixels = np.empty((info.geometry.height, info.geometry.width, 3), np.uint8)
    fit(image, info.geometry, pixels)
    own = Preprocessing(**info.preprocessing).apply(pixels[None])[0]
    one_level = np.ptp(expected, axis=(1, 2)) / 255
    assert (np.abs(own - expected).max(axis=(1, 2)) <= 3 * one_level).all()
