"""OpenVINO's Model API: attach reads and writes its metadata, and its own code runs our files."""

import json
import subprocess
import sys

import cv2
import numpy as np
import onnx
import pytest

import camrt
from camrt.errors import HeadNotFound, UsageError
from camrt.export import attach
from support.export_graphs import CHANNELS, CLASSES, PLAIN, SIZE, Net, random_images, run, session
from support.needs import environment

RUN_MODEL_API = """
import json, sys
import cv2
from model_api.models import ClassificationModel

model = ClassificationModel.create_model(sys.argv[1])
print(json.dumps([[int(top.id), top.name, float(top.confidence)] for top in model(cv2.imread(sys.argv[2])).top_labels]))
"""


def metadata_of(path):
    return session(path).get_modelmeta().custom_metadata_map


def add_saliency_map(net, count):
    """Add maps as OpenVINO XAI does: one for each class, stretched to 0 to 255, as bytes."""
    maps = net.features(source=net.op("Relu", net.input))  # a division by 255 at the start would contradict
    raw = net.op("Conv", maps, net.weights(count, CHANNELS, 1, 1))
    scaled = net.op("Clip", raw, net.const(np.array(0, np.float32)), net.const(np.array(255, np.float32)))
    flat = net.op("Flatten", net.op("MaxPool", maps, kernel_shape=[2, 2], strides=[2, 2]))
    logits = net.op("Gemm", net.op("Relu", flat), net.weights(CLASSES, CHANNELS * 4), transB=1)
    return net.op("Identity", logits, to="logits"), net.cast(scaled, np.uint8)


def save_classifier(tmp_path, metadata=None, maps=CLASSES):
    net = Net()
    logits, _ = add_saliency_map(net, maps)
    net.nodes[-1].output[0] = "saliency_map"
    model = net.model(logits)
    kind = onnx.TensorProto.UINT8
    model.graph.output.append(onnx.helper.make_tensor_value_info("saliency_map", kind, ["N", maps, 4, 4]))
    onnx.helper.set_model_props(model, metadata or {})
    onnx.save(model, tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


def test_own_saliency_map_is_shown_unchanged(tmp_path):
    report = attach(save_classifier(tmp_path), tmp_path / "out.onnx", **PLAIN)
    assert (report.head, report.features) == ("saliency_map", (CLASSES, 4, 4))
    image = random_images(1)[0]
    data = image[None].transpose(0, 3, 1, 2).astype(np.float32)
    expected = session(tmp_path / "in.onnx").run(["saliency_map"], {"data": data})[0][0].astype(np.float32)
    result = camrt.load(tmp_path / "out.onnx", provider="cpu")(image)
    np.testing.assert_array_equal(np.stack([result.cam(class_id) for class_id in range(CLASSES)]), expected)
    assert result.draw(image).shape == image.shape


def test_saliency_map_with_another_number_of_classes_is_refused(tmp_path):
    source = save_classifier(tmp_path, maps=CLASSES - 1)
    with pytest.raises(
        HeadNotFound, match=r"'saliency_map' has shape \[N, 3, 4, 4\].*one map for each of the 4 classes"
    ):
        attach(source, tmp_path / "out.onnx", **PLAIN)


def test_model_info_fills_the_options_that_are_not_set(tmp_path):
    source = save_classifier(
        tmp_path,
        {
            "model_info mean_values": "10 20 30",
            "model_info scale_values": "2 4 8",
            "model_info reverse_input_channels": "True",
            "model_info labels": "red green blue other",
        },
    )
    report = attach(source, tmp_path / "out.onnx")
    assert report.labels == ("red", "green", "blue", "other")
    assert report.read == (
        "From the file's model_info (OpenVINO Model API): 4 labels (red; green; blue; ...), channel order RGB, pixels "
        "0 to 255, mean 10,20,30, std 2,4,8.",
    )
    assert not any(word in " ".join(report.assumptions) for word in ("ImageNet", "RGB", "names"))
    images = random_images(2)
    data = ((images[..., ::-1] - np.array([10, 20, 30])) / np.array([2, 4, 8])).transpose(0, 3, 1, 2)
    expected = np.concatenate(
        [session(source).run(["logits"], {"data": one[None].astype(np.float32)})[0] for one in data]
    )
    logits = run(tmp_path / "out.onnx", images)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    explicit = attach(source, tmp_path / "explicit.onnx", labels=list("abcd"), **PLAIN)
    assert explicit.labels == tuple("abcd")
    assert metadata_of(tmp_path / "explicit.onnx")["model_info labels"] == "a b c d"
    assert "model_info mean_values" not in metadata_of(tmp_path / "explicit.onnx")  # the preprocessing is in the graph


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resize": "crop", "labels": ["a b", "c", "d", "e"]}, {"resize_type": "crop", "labels": "a_b c d e"}),
        ({"resize": "letterbox"}, {"resize_type": "fit_to_window_letterbox"}),
        ({"resize": "crop", "shorter_side": 9}, {}),
        ({"activation": "sigmoid"}, {}),
    ],
)
def test_model_info_is_written_where_the_model_api_would_agree(options, expected, tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    attach(source, tmp_path / "out.onnx", **PLAIN, **options)
    info = {key: value for key, value in metadata_of(tmp_path / "out.onnx").items() if key.startswith("model_info ")}
    if expected:
        expected |= {"model_type": "Classification", "reverse_input_channels": "False", "interpolation_mode": "LINEAR"}
    assert info == {f"model_info {key}": value for key, value in expected.items()}


def grey_model(metadata=None):
    net = Net()
    net.input_shape = ["N", 1, SIZE, SIZE]
    model = net.model(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", net.features(colours=1)))))
    onnx.helper.set_model_props(model, metadata or {})
    return model


@pytest.mark.input_kind("preprocessing", "model_info of a grey network (OpenVINO Model API)", "ONNX Runtime", "equal")
@pytest.mark.parametrize("order", [{}, {"model_info reverse_input_channels": "True"}])
def test_order_of_channels_means_nothing_for_a_grey_network(order, tmp_path):
    entries = {"model_info model_type": "Classification", "model_info mean_values": "10", **order}
    onnx.save(grey_model(entries), tmp_path / "in.onnx")
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx", scale=1, mean=(10,), std=(1,))
    assert report.read == ("From the file's model_info (OpenVINO Model API): grey images.",)
    grey = np.repeat(random_images(2)[..., :1], 3, axis=3)
    expected = expected_output_of_grey(tmp_path / "in.onnx", grey[..., 0].astype(np.float32) - 10)
    np.testing.assert_allclose(run(tmp_path / "out.onnx", grey)["logits"], expected, rtol=1e-4, atol=1e-5)


def expected_output_of_grey(path, images):
    return session(path).run(None, {"data": images[:, None]})[0]


@pytest.mark.parametrize(
    ("entries", "scale"),
    [
        ({"intensity_mode": "none"}, 1.0),
        ({"intensity_mode": "scale_to_unit"}, 1 / 255),
        ({"intensity_mode": "scale_to_unit", "intensity_max_value": "127.5"}, 1 / 127.5),
    ],
)
def test_intensity_is_scaled_before_mean_and_scale(entries, scale, tmp_path):
    numbers = {"mean_values": "0.4 0.5 0.6", "scale_values": "0.2 0.3 0.4"}
    source = save_classifier(tmp_path, {f"model_info {key}": value for key, value in (entries | numbers).items()})
    attach(source, tmp_path / "out.onnx")
    images = random_images(2)
    data = ((images * scale - np.array([0.4, 0.5, 0.6])) / np.array([0.2, 0.3, 0.4])).transpose(0, 3, 1, 2)
    expected = session(source).run(["logits"], {"data": data.astype(np.float32)})[0]
    logits = run(tmp_path / "out.onnx", images)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "entries", [{"intensity_mode": "window"}, {"intensity_mode": "percentile"}, {"input_dtype": "u16"}]
)
def test_pixels_that_cannot_be_followed_need_a_decision(entries, tmp_path):
    source = save_classifier(tmp_path, {f"model_info {key}": value for key, value in entries.items()})
    with pytest.raises(UsageError, match=r"intensity_mode .* Pass --scale, --mean and --std to decide"):
        attach(source, tmp_path / "out.onnx")
    assert attach(source, tmp_path / "out.onnx", **PLAIN).head == "saliency_map"


def test_entries_that_are_not_followed_are_named(tmp_path):
    entries = {"resize_type": "fit_to_window", "interpolation_mode": "CUBIC", "pad_value": "114"}
    source = save_classifier(tmp_path, {f"model_info {key}": value for key, value in entries.items()})
    sentences = " ".join(attach(source, tmp_path / "out.onnx").assumptions)
    for name, value in entries.items():
        assert f"{name} {value} is not followed." in sentences


def answer_of_model_api(model, image):
    pytest.importorskip("model_api", reason="needs openvino-model-api, installed without its dependencies")
    command = [sys.executable, "-c", RUN_MODEL_API, model, image]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[-1])[0]


@pytest.mark.process
@pytest.mark.parametrize("side", [SIZE, 5])
@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
def test_model_api_gives_the_same_answer_for_a_grey_network(side, resize, tmp_path):
    """The image is as large as the input, or enlarged: there the interpolations agree."""
    onnx.save(grey_model(), tmp_path / "in.onnx")
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx", labels=list("abcd"), resize=resize)
    cv2.imwrite(str(tmp_path / "image.png"), random_images(1, side, side)[0])
    top = answer_of_model_api(tmp_path / "out.onnx", tmp_path / "image.png")
    result = camrt.load(tmp_path / "out.onnx", provider="cpu")(cv2.imread(str(tmp_path / "image.png")))
    class_id, label, score = result.top(1)[0]
    assert (top[0], top[1]) == (class_id, label)
    assert top[2] == pytest.approx(score, abs=1e-5 if side == SIZE else 5e-3)


@pytest.mark.process
@pytest.mark.slow
def test_model_api_gives_the_same_answer(shared_data, tmp_path):
    """In a process of its own, because OpenVINO changes the processor's state for good."""
    labels = shared_data / "labels" / "imagenet1000.txt"
    source = shared_data / "models" / "squeezenet11_caffe.onnx"
    caffe = {"channels": "bgr", "scale": 1, "mean": (104, 117, 123), "std": (1, 1, 1)}
    attach(source, tmp_path / "out.onnx", labels=labels, interpolation="linear", **caffe)
    image = shared_data / "images_cls" / "n02098286_West_Highland_white_terrier.JPEG"
    top = answer_of_model_api(tmp_path / "out.onnx", image)
    class_id, label, score = camrt.load(tmp_path / "out.onnx", provider="cpu")(cv2.imread(str(image))).top(1)[0]
    assert (top[0], top[1]) == (class_id, label.replace(" ", "_"))
    assert top[2] == pytest.approx(score, abs=5e-3)
