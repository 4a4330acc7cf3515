"""Commands with a model file of several heads: attach, inspect, live, annotate and bench."""

import json
import signal
from itertools import islice

import cv2
import numpy as np
import pytest

import camrt
from camrt.runtime.maps.overlay import OverlayStyle
from support.command import interrupt, refusal, started, succeeds
from support.desktop import desktop, eventually
from support.events import read_events
from support.export_graphs import Net
from support.overlays import draw_shared
from support.serving import events, jpegs, serving
from support.tiny_models import LABELS, SIZES, write_two_heads

pytestmark = pytest.mark.process

FLAGS = ["--bgr", "--scale", "1", "--mean", "0,0,0", "--std", "1,1,1"]


@pytest.fixture
def two_heads(tmp_path):
    """A model file with the heads "kind" and "size"."""
    return write_two_heads(tmp_path / "model.onnx")


@pytest.fixture
def image(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    return image


@pytest.fixture
def classifier(tmp_path):
    """A classifier with the outputs "age" of four classes and "gender" of two."""
    net = Net()
    pooled = net.pooled()
    net.gemm(pooled, to="age")
    net.gemm(pooled, classes=2, to="gender")
    (tmp_path / "ages.txt").write_text("child\nyouth\nadult\nold\n")
    (tmp_path / "genders.txt").write_text("f\nm\n")
    return net.save(tmp_path / "in.onnx", "age", "gender", gender=["N", 2])


def attach(classifier, *flags):
    return succeeds("attach", classifier, "-o", "m.onnx", *FLAGS, *flags, cwd=classifier.parent)


def test_attach_takes_outputs_labels_and_activations_of_several_heads(classifier):
    outputs = ("--output", "age", "--output", "gender")
    labels = ("--labels", "age=ages.txt", "--labels", "gender=genders.txt", "--activation", "gender=sigmoid")
    text = attach(classifier, *outputs, *labels)
    assert text.startswith("m.onnx: 2 heads, input 8x8\n  output     age: 4 classes\n")
    assert "  output     gender: 2 classes\n" in text
    assert text.count("Frames are stretched") == 1
    model = camrt.load(classifier.parent / "m.onnx", provider="cpu", head="gender")
    assert (model.labels, model.info.activation) == (("f", "m"), "sigmoid")
    report = json.loads(attach(classifier, *outputs, *labels, "--overwrite", "--json"))
    assert [(head["output"], head["classes"]) for head in report["heads"]] == [("age", 4), ("gender", 2)]
    assert report["labels"] == ["child", "youth", "adult", "old"]


def test_a_label_file_may_have_an_equals_sign_in_its_name(classifier):
    (classifier.parent / "a=b.txt").write_text("child\nyouth\nadult\nold\n")
    for labels in ("a=b.txt", "age=a=b.txt"):
        text = attach(classifier, "--output", "age", "--labels", labels, "--overwrite")
        assert "4 labels" in text


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--output", "age", "--output", "gender", "--labels", "ages.txt"], "2 heads, and labels of one"),
        (["--output", "age", "--labels", "ages.txt", "--labels", "genders.txt"], "--labels is given 2 times"),
        (["--output", "age", "--output", "gender", "--labels", "age=a", "--labels", "age=b"], "twice for one head"),
        (["--output", "age", "--output", "age"], "output 'age' is named twice"),
        (["--output", "age", "--output", "gender", "--labels", "wage=ages.txt"], "the heads are age, gender"),
        (["--output", "age", "--output", "gender", "--activation", "age=relu"], "activation is 'relu'"),
    ],
)
def test_wrong_flags_of_several_heads_are_refused(classifier, flags, reason):
    assert reason in refusal("attach", classifier, "-o", "m.onnx", *FLAGS, *flags, cwd=classifier.parent, status=2)
    assert not (classifier.parent / "m.onnx").exists()


def test_inspect_lists_and_verifies_each_head(two_heads):
    text = succeeds("inspect", two_heads, "--verify", "--labels")
    names = [line.split()[1] for line in text.splitlines() if line.startswith("name ")]
    assert names == ["kind", "size"]
    assert text.count("identity      holds; on noise") == 2
    assert "     2  large" in text
    report = json.loads(succeeds("inspect", two_heads, "--verify", "--json"))
    assert (report["head"], report["classes"], report["features"]) == ("linear", 4, [8, 8, 8])
    assert [head["name"] for head in report["heads"]] == ["kind", "size"]
    assert [head["classes"] for head in report["heads"]] == [4, 3]
    assert all(head["identity_holds"] for head in report["heads"])
    report = json.loads(succeeds("inspect", two_heads, "--head", "size", "--json"))
    assert (report["name"], report["head"], report["classes"]) == ("size", "pooled_class_maps", 3)
    assert "no head 'age'; the model has kind, size" in refusal("inspect", two_heads, "--head", "age", status=2)


def test_annotate_draws_the_head_that_is_named(two_heads, image, tmp_path):
    model = camrt.load(two_heads, provider="cpu")
    for head, label in (("kind", "boat"), ("size", "large")):
        name = f"{head}.png"
        flags = ("--no-hud", "--head", head, "--classes", label, "--normalize", "minmax")
        succeeds("annotate", two_heads, "image.png", "-o", name, *flags, cwd=tmp_path)
        one = model.with_head(head)
        expected = one(image).draw(image, one.class_id(label))
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / name)), expected)
    refused = refusal("annotate", two_heads, "image.png", "-o", "x.png", "--head", "age", cwd=tmp_path, status=2)
    assert "no head 'age'; the model has kind, size" in refused
    refused = refusal("annotate", two_heads, "image.png", "-o", "x.png", "--classes", "large", cwd=tmp_path, status=2)
    assert "has no class 'large'" in refused


def test_bench_measures_the_head_that_is_named(two_heads):
    flags = ("--rounds", "1", "--json", "--size", "64x48")
    report = json.loads(succeeds("bench", two_heads, "--head", "size", *flags))
    assert [run["head"] for run in report["runs"]] == ["size"]


def test_the_server_changes_the_head_while_frames_flow(two_heads):
    with serving(model=two_heads) as served:
        assert eventually(lambda: served.get("/api/state")["cameras"][0]["frames"])
        state = served.get("/api/state")
        assert (state["heads"], state["classes"], state["settings"]["head"]) == (["kind", "size"], 4, "kind")
        control = next(control for control in state["controls"] if control["name"] == "head")
        assert (control["kind"], control["choices"]) == ("head", ["kind", "size"])
        assert served.change(classes=[3])[1]["classes"] == [3]
        images, results = served.connect(), served.connect()
        images.request("GET", "/stream")
        results.request("GET", "/events")
        frames, seen = jpegs(images.getresponse()), events(results.getresponse())
        next(frames)
        assert {result["head"] for event in islice(seen, 3) for result in event["seen"]} == {"kind"}
        status, settings = served.change(head="size")
        assert (status, settings["head"], settings["classes"]) == (200, "size", [])
        assert served.get("/api/labels") == list(SIZES)
        assert served.get("/api/labels?head=kind") == list(LABELS)
        assert served.get("/api/state")["classes"] == 3
        result = next(result for event in seen for result in event["seen"] if result["head"] == "size")
        assert {row["label"] for row in result["top"]} == set(SIZES)
        assert next(frames)
        assert eventually(lambda: served.get("/api/result")["head"] == "size")
        for wrong, reason in (({"head": "age"}, "no head 'age'"), ({"classes": [3]}, "no class 3"), ({"head": 3}, "")):
            status, detail = served.change(**wrong)
            assert status == 422
            assert reason in str(detail)
        assert served.get("/api/settings")["head"] == "size"
        images.close()
        results.close()
        assert eventually(lambda: 'head="size"' in served.request("/metrics")[1].decode())


def test_the_map_over_http_is_that_of_the_shown_head(two_heads, image, tmp_path):
    """A standing image has no next frame, and is classified again."""
    model = camrt.load(two_heads, provider="cpu")
    with serving(model=two_heads, source=("--source", "image.png"), cwd=tmp_path) as served:
        assert eventually(lambda: served.request("/api/result")[0].status == 200)
        for head in ("size", "kind", "size"):
            assert served.change(head=head)[0] == 200
            result = model.with_head(head)(image)
            assert served.get("/api/result")["top"][0]["label"] == result.label(result.class_id)
            raw = served.request("/api/map.npy")[1]
            (tmp_path / "map.npy").write_bytes(raw)
            np.testing.assert_allclose(np.load(tmp_path / "map.npy"), result.cam(), rtol=1e-5, atol=1e-6)
            snapshot = cv2.imdecode(np.frombuffer(served.request("/api/snapshot.jpg")[1], np.uint8), cv2.IMREAD_COLOR)
            assert np.abs(snapshot.astype(int) - draw_shared(result, image, result.class_id)).mean() < 3


def test_the_settings_file_chooses_the_head_and_a_reload_changes_it(two_heads, tmp_path):
    settings = tmp_path / "camrt.toml"
    common = f'model = "{two_heads}"\nsource = "synthetic"\nevents = "seen.jsonl"\n'
    settings.write_text(common + 'head = "size"\nclasses = "large"\n')

    def newest():
        path = tmp_path / "seen.jsonl"
        *lines, _ = (path.read_text() if path.exists() else "").split("\n")  # the last one may be incomplete
        return json.loads(lines[-1]) if lines else {"head": None}

    with started("live", "--config", settings, cwd=tmp_path) as process:
        assert eventually(lambda: newest()["head"] == "size")
        assert newest()["explained"][0]["label"] == "large"
        settings.write_text(common + 'head = "kind"\nclasses = "cup"\n')
        process.send_signal(signal.SIGHUP)
        assert eventually(lambda: newest()["head"] == "kind" and newest()["explained"][0]["label"] == "cup")
        settings.write_text(common + 'head = "age"\n')
        process.send_signal(signal.SIGHUP)
        line = next(line for line in process.stderr if "no setting was changed" in line)
        assert "no head 'age'; the model has kind, size" in line
        assert interrupt(process, signal.SIGTERM)[0] == 0


def test_two_sources_change_the_head_together(two_heads, tmp_path):
    sources = ("--source", "synthetic", "--source", "synthetic")
    with serving("--events", "e.jsonl", model=two_heads, source=sources, cwd=tmp_path) as served:

        def sources_with(head):  # in the events: the page shows a head on the last frame before the next is classified
            path = tmp_path / "e.jsonl"
            return {line["source"] for line in read_events(path) if line["head"] == head} if path.exists() else set()

        assert eventually(lambda: len(sources_with("kind")) == 2)
        served.change(head="size")
        assert eventually(lambda: {served.get(f"/api/result?camera={n}")["head"] for n in (0, 1)} == {"size"})
        assert eventually(lambda: len(sources_with("size")) == 2)
        assert interrupt(served.process, signal.SIGTERM)[0] == 0
    lines = read_events(tmp_path / "e.jsonl")
    sources = {line["source"] for line in lines}
    assert len(sources) == 2
    for source in sources:
        heads = [line["head"] for line in lines if line["source"] == source]
        assert heads == sorted(heads)
        assert set(heads) == {"kind", "size"}


@pytest.mark.window
def test_the_key_h_shows_the_next_head(two_heads, image, tmp_path, tmp_path_factory):
    model = camrt.load(two_heads, provider="cpu")
    flags = ("--no-hud", "--normalize", "minmax", "--window")
    with (
        desktop(tmp_path_factory.mktemp("display")) as screen,
        started("live", two_heads, "--source", "image.png", *flags, cwd=tmp_path, DISPLAY=screen.display) as process,
    ):
        for head in ("kind", "size", "kind"):
            expected = model.with_head(head)(image).draw(image, style=OverlayStyle())
            assert eventually(lambda expected=expected: np.array_equal(screen.screenshot()[:240, :320], expected))
            screen.press(screen.window("camrt"), "h")
        screen.press(screen.window("camrt"), "q")
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
