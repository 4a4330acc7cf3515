"""One file of several heads gives for each head what the head's own file gives, and holds the backbone once."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from camrt.errors import ExportError, UsageError
from camrt.export import attach, from_torch, quantize
from camrt.model_file import ModelInfo, output_of
from support.export_graphs import CHANNELS, PLAIN, Net, random_images, run

HEADS = {"age": 4, "gender": 2, "mood": 3, "hair": 4, "glasses": 1}
"""Output of each head and its length: linear, linear on the same pool, a map a class, not linear, one logit."""


def network():
    net = Net()
    maps = net.features()
    for inputs, outputs in ((CHANNELS, 64), (64, 64), (64, CHANNELS)):  # most of the weights
        early = maps
        kernel = net.const(net.random.normal(0, inputs**-0.5 / 3, (outputs, inputs, 3, 3)).astype(np.float32))
        maps = net.op("Relu", net.op("Conv", maps, kernel, pads=[1] * 4))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", maps))
    net.gemm(pooled, to="age")
    net.gemm(pooled, classes=2, to="gender")
    mood = net.op("Conv", maps, net.weights(3, CHANNELS, 1, 1))
    net.op("Flatten", net.op("GlobalAveragePool", mood), to="mood")
    hidden = net.op("Relu", net.gemm(pooled, classes=6))
    net.gemm(hidden, channels=6, to="hair")
    of_early = net.op("Flatten", net.op("GlobalAveragePool", early))
    net.gemm(of_early, channels=64, classes=1, to="glasses")
    return net


def save(net, path):
    return net.save(path, *HEADS, **{name: ["N", length] for name, length in HEADS.items()})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The file of all heads, its report, and the file of each head."""
    folder = tmp_path_factory.mktemp("heads")
    source = save(network(), folder / "in.onnx")
    report = attach(source, folder / "all.onnx", output=list(HEADS), **PLAIN)
    for name in HEADS:
        attach(source, folder / f"{name}.onnx", output=name, **PLAIN)
    return folder, report


@pytest.mark.input_kind("model", "several heads on one backbone", "ONNX Runtime, a file for each head", "equal outputs")
def test_each_head_gives_what_its_own_file_gives(files):
    folder, report = files
    kinds = ["linear", "linear", "pooled_class_maps", "per_position", "linear"]
    assert [head.head for head in report.heads] == kinds
    assert [head.classes for head in report.heads] == [4, 2, 3, 4, 2]
    images = random_images(3)
    together = run(folder / "all.onnx", images)
    names = []
    for number, name in enumerate(HEADS):
        for output, values in run(folder / f"{name}.onnx", images).items():
            names.append(output_of(name if number else None, output))
            assert np.array_equal(together[names[-1]], values), names[-1]
    assert list(together) == names
    onnx.checker.check_model(onnx.load(folder / "all.onnx"), full_check=True)


def test_the_backbone_is_in_the_file_once(files):
    folder, _ = files
    sizes = [(folder / f"{name}.onnx").stat().st_size for name in HEADS]
    assert (folder / "all.onnx").stat().st_size < 1.1 * max(sizes) < 0.5 * sum(sizes)
    kernels = [t for t in onnx.load(folder / "all.onnx").graph.initializer if list(t.dims) == [64, 64, 3, 3]]
    assert len(kernels) == 1


def test_the_entries_of_a_one_head_file_are_those_of_the_first_head(files):
    folder, _ = files
    info, one = (read_info(folder / f"{name}.onnx") for name in ("all", "age"))
    assert (info.labels, info.geometry, info.activation, info.head) == (
        one.labels,
        one.geometry,
        one.activation,
        one.head,
    )
    assert info.verification == one.verification
    assert info.source == one.source
    assert [head.name for head in info.heads] == list(HEADS)
    assert "camrt.heads" not in {entry.key for entry in onnx.load(folder / "age.onnx").metadata_props}
    for head in info.heads:
        own = read_info(folder / f"{head.name}.onnx")
        assert (head.labels, head.activation, head.head) == (own.labels, own.activation, own.head)
        assert head.verification.keys() == own.verification.keys()


def read_info(path):
    return ModelInfo.from_metadata({entry.key: entry.value for entry in onnx.load(path).metadata_props})


def test_a_list_of_one_output_makes_the_file_of_that_output(tmp_path):
    source = save(network(), tmp_path / "in.onnx")
    attach(source, tmp_path / "text.onnx", output="age", **PLAIN)
    attach(source, tmp_path / "list.onnx", output=["age"], **PLAIN)
    assert (tmp_path / "list.onnx").read_bytes() == (tmp_path / "text.onnx").read_bytes()


def test_labels_and_activations_belong_to_their_heads(tmp_path):
    source = save(network(), tmp_path / "in.onnx")
    (tmp_path / "moods.txt").write_text("glad\nsad\nneither\n")
    labels = {"mood": tmp_path / "moods.txt", "glasses": ["glasses"]}
    activation = {"mood": "sigmoid", "gender": "none"}
    outputs = ["mood", "gender", "glasses"]
    report = attach(source, tmp_path / "out.onnx", output=outputs, labels=labels, activation=activation, **PLAIN)
    assert [head.labels for head in report.heads] == [("glad", "sad", "neither"), None, ("not glasses", "glasses")]
    assert [head.activation for head in report.heads] == ["sigmoid", "none", "sigmoid"]
    results = run(tmp_path / "out.onnx", random_images(2))
    np.testing.assert_allclose(
        results["scores"], 1 / (1 + np.exp(-results["logits"].astype(float))), rtol=1e-4, atol=1e-6
    )
    assert np.array_equal(results["scores.gender"], results["logits.gender"])
    report = attach(source, tmp_path / "one.onnx", output=outputs, activation="sigmoid", labels="none", **PLAIN)
    assert [head.activation for head in report.heads] == ["sigmoid"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": []}, "output is an empty list"),
        ({"output": ["age", "age"]}, "output 'age' is named twice"),
        ({"output": ["age", "wage"]}, "head 'wage': the graph has no output 'wage'; its outputs are: age, gender"),
        ({"output": ["age", "mood"], "labels": ["a"]}, "2 heads, and labels of one.*--labels age=FILE --labels mood"),
        ({"output": ["age", "mood"], "labels": {"hair": ["a"]}}, "labels for head 'hair', but the heads are age, mood"),
        (
            {"output": ["age", "mood"], "labels": {"mood": ["a"]}},
            "head 'mood': there is 1 label, but the network has 3",
        ),
        ({"output": "age", "labels": {"mood": ["a"]}}, "labels for head 'mood', but the heads are age"),
        ({"labels": {"mood": ["a"]}}, "labels for head 'mood', but no --output names heads"),
        ({"output": ["age", "mood"], "activation": {"hair": "none"}}, "an activation for head 'hair'"),
        ({"output": ["age", "mood"], "activation": {"mood": "relu"}}, "activation is 'relu'"),
        ({"output": ["age", "glasses"], "activation": "softmax"}, "head 'glasses': .*softmax of one number"),
        ({"output": ["age", "mood"], "layer": "mean"}, "head 'age': 'mean' is no feature map"),
    ],
)
def test_options_that_fit_no_head_are_refused_with_its_name(tmp_path, options, message):
    source = save(network(), tmp_path / "in.onnx")
    with pytest.raises(UsageError, match=message):
        attach(source, tmp_path / "out.onnx", **options, **PLAIN)
    assert not (tmp_path / "out.onnx").exists()


def test_labels_of_the_file_are_not_given_to_any_of_several_heads(tmp_path):
    model = network().model(*HEADS, **{name: ["N", length] for name, length in HEADS.items()})
    helper.set_model_props(model, {"labels": '["a", "b", "c", "d"]'})
    onnx.save(model, tmp_path / "in.onnx")
    assert attach(tmp_path / "in.onnx", tmp_path / "one.onnx", output="age", **PLAIN).labels == ("a", "b", "c", "d")
    report = attach(tmp_path / "in.onnx", tmp_path / "two.onnx", output=["age", "hair"], **PLAIN)
    assert [head.labels for head in report.heads] == [None, None]
    assert any("4 labels and does not say for which head" in sentence for sentence in report.assumptions)


def test_two_outputs_of_one_head_are_two_heads(tmp_path):
    net = Net()
    logits = net.gemm(net.pooled(), to="raw")
    net.op("Softmax", logits, to="probabilities", axis=1)
    source = net.save(tmp_path / "in.onnx", "raw", "probabilities")
    attach(source, tmp_path / "out.onnx", output=["probabilities", "raw"], activation={"raw": "sigmoid"}, **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(2))
    assert np.array_equal(results["logits"], results["logits.raw"])
    np.testing.assert_allclose(results["scores"].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        results["scores.raw"], 1 / (1 + np.exp(-results["logits"].astype(float))), rtol=1e-4, atol=1e-6
    )


def test_a_saliency_map_of_the_source_belongs_to_one_head(tmp_path):
    net = Net()
    maps = net.features(4)
    hidden = net.op("Sin", net.op("Flatten", net.op("GlobalMaxPool", maps)))
    for name in ("a", "b"):
        net.gemm(hidden, channels=4, to=name)
    net.op("Identity", maps, to="saliency_map")
    source = net.save(tmp_path / "in.onnx", "a", "b", "saliency_map", saliency_map=["N", 4, 4, 4])
    assert attach(source, tmp_path / "a.onnx", output="a", **PLAIN).head == "saliency_map"
    with pytest.raises(UsageError, match="saliency_map has the maps of one head only, not of a, b"):
        attach(source, tmp_path / "out.onnx", output=["a", "b"], **PLAIN)


def test_quantize_refuses_several_heads_with_the_way_out(files):
    folder, _ = files
    with pytest.raises(ExportError, match=r"has 5 heads, and this needs a file with one.*--output age"):
        quantize(folder / "all.onnx", folder / "int8.onnx", calibration=folder)


class TwoTowers(nn.Module):
    """Two heads, each with a convolution and a pool of its own; maps of equal shape."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.age, self.gender = (nn.Conv2d(8, 6, 3, padding=1) for _ in range(2))
        self.age_layer, self.gender_layer = nn.Linear(6, 5), nn.Linear(6, 2)

    def forward(self, images):
        maps = self.stem(images).relu()
        age, gender = self.age(maps).relu().mean((2, 3)), self.gender(maps).relu().mean((2, 3))
        return {"age": self.age_layer(age), "gender": self.gender_layer(gender)}


def test_a_torch_module_with_two_towers_becomes_one_file(tmp_path):
    module = TwoTowers().eval()
    with pytest.raises(UsageError, match="choose one with --output, or several") as refusal:
        from_torch(module, tmp_path / "out.onnx", input_size=32)
    assert str(refusal.value).endswith("age, gender")  # the keys of the dictionary
    names, labels = ["age", "gender"], {"gender": ["f", "m"]}
    report = from_torch(module, tmp_path / "out.onnx", input_size=32, output=names, labels=labels)
    assert [(head.classes, head.labels) for head in report.heads] == [(5, None), (2, ("f", "m"))]
    assert all(head.verification["features_error"] < 1e-5 for head in report.heads)
    images = random_images(2, 32, 32)
    pixels = (images[..., ::-1] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        expected = module(torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)))
    results = run(tmp_path / "out.onnx", images)
    np.testing.assert_allclose(results["logits"], expected["age"], atol=1e-5)
    np.testing.assert_allclose(results["logits.gender"], expected["gender"], atol=1e-5)
