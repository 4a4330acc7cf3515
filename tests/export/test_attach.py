"""`attach`: metadata, report, options, and the rules for the target file."""

import onnx
import pytest

from camrt.errors import DiskFull, ExportError, SourceError, UsageError
from camrt.export import attach
from camrt.model_file import ModelInfo
from support.export_graphs import CHANNELS, PLAIN, Net, assert_identity, random_images, run, session
from support.limits import largest_file


def info_of(path):
    metadata = session(path).get_modelmeta().custom_metadata_map
    return ModelInfo.from_metadata(metadata)


def test_metadata_describes_the_model_file(classifier, tmp_path):
    model = onnx.load(classifier)
    onnx.helper.set_model_props(model, {"trained_on": "nothing"})
    onnx.save(model, classifier)
    attach(
        classifier,
        tmp_path / "out.onnx",
        labels=["a", "b", "c", "d"],
        resize="crop",
        shorter_side=9,
        interpolation="area",
        activation="sigmoid",
        **PLAIN,
    )
    info = info_of(tmp_path / "out.onnx")
    assert info.labels == ("a", "b", "c", "d")
    assert (info.geometry.width, info.geometry.height) == (8, 8)
    assert (info.geometry.resize, info.geometry.shorter_side, info.geometry.interpolation) == ("crop", 9, "area")
    assert (info.head, info.activation, info.map_margin) == ("linear", "sigmoid", 0)
    assert info.preprocessing == {"channels": "bgr", "scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}
    assert info.source["file"] == "in.onnx"  # without its folder, which means nothing on another machine
    assert (info.source["producer"], info.source["opset"]) == ("tests", 17)
    assert info.verification["identity_error"] <= info.verification["identity_tolerance"] == 1e-4
    assert info.verification["images"] == "8 synthetic"
    assert session(tmp_path / "out.onnx").get_modelmeta().custom_metadata_map["trained_on"] == "nothing"


def test_report_lists_each_assumption(classifier, tmp_path):
    net = Net()
    maps = net.op("Relu", net.op("Conv", net.input, net.weights(CHANNELS, 3, 3, 3)))
    source = net.save(tmp_path / "plain.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    sentences = " ".join(attach(source, tmp_path / "out.onnx").assumptions)
    for word in ("ImageNet", "RGB", "stretched", "antialiasing", "softmax", "no names"):
        assert word in sentences
    report = attach(
        classifier,
        tmp_path / "explicit.onnx",
        labels=list("abcd"),
        activation="none",
        resize="letterbox",
        interpolation="antialias",
        **PLAIN,
    )
    assert report.assumptions == ()


def test_given_images_are_used_for_the_verification(classifier, tmp_path, shared_data):
    report = attach(classifier, tmp_path / "out.onnx", images=shared_data / "cam_reference")
    assert report.verification["images"].endswith(" real")


def test_broken_image_is_named(classifier, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(SourceError, match=r"broken\.png"):
        attach(classifier, tmp_path / "out.onnx", images=[tmp_path / "broken.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no images"):
        attach(classifier, tmp_path / "out.onnx", images=tmp_path / "empty")


@pytest.mark.parametrize(
    "wrong", [{"resize": "squash"}, {"shorter_side": 300}, {"activation": "relu"}, {"interpolation": "cubic"}]
)
def test_option_out_of_range_is_refused(wrong, classifier, tmp_path):
    with pytest.raises(UsageError):
        attach(classifier, tmp_path / "out.onnx", **wrong)


def test_activation_that_contradicts_the_graph_is_refused(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.op("Softmax", net.gemm(net.pooled()), axis=1))
    with pytest.raises(UsageError, match="softmax already"):
        attach(source, tmp_path / "out.onnx", activation="sigmoid")


def test_existing_file_is_replaced_with_overwrite_only(classifier, tmp_path):
    target = tmp_path / "out.onnx"
    target.write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        attach(classifier, target)
    assert target.read_text() == "mine"
    attach(classifier, target, overwrite=True)
    assert_identity(run(target, random_images(1)))


def test_classifier_is_never_overwritten(classifier):
    before = classifier.read_bytes()
    with pytest.raises(UsageError, match="another name"):
        attach(classifier, classifier, overwrite=True)
    assert classifier.read_bytes() == before


def test_model_file_is_refused_as_a_classifier(classifier, tmp_path):
    attach(classifier, tmp_path / "once.onnx")
    with pytest.raises(ExportError, match="model file already"):
        attach(tmp_path / "once.onnx", tmp_path / "twice.onnx")


def test_target_that_cannot_be_written_is_refused(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    with pytest.raises(UsageError, match="no folder"):
        attach(source, tmp_path / "nowhere" / "out.onnx")
    with pytest.raises(UsageError, match="is a folder"):
        attach(source, tmp_path, overwrite=True)


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    (tmp_path / "out.onnx").write_text("the old one")
    with largest_file(1000), pytest.raises(DiskFull, match=r"out\.onnx cannot be written"):
        attach(source, tmp_path / "out.onnx", overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.onnx", "out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "the old one"
