"""``camrt live`` on real videos with real models: every frame is drawn, and the heat covers the object."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

import camrt
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.maps.overlay import OverlayStyle
from support.command import camrt as run
from support.command import refusal, succeeds
from support.events import read_events
from support.videos import read_video

pytestmark = pytest.mark.process

DOGS = ("redbone", "Rhodesian ridgeback", "Irish setter", "Sussex spaniel", "beagle", "basset")


def brightness(frames):
    """Return the mean over the frames, pixel by pixel: float32 (H, W)."""
    return np.mean([cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32) for frame in frames], axis=0)


@pytest.mark.slow
def test_a_dog_is_recognised_and_has_the_heat_in_a_real_video(squeezenet, dog_video, tmp_path):
    # The overlay goes from black to white, so bright pixels are hot.
    style = ["--no-hud", "--colormap", "bone", "--alpha", "0.5", "--no-alpha-by-value"]
    outputs = ["-o", "out.mp4", "--events", "out.jsonl"]
    succeeds("live", squeezenet, "--source", dog_video, *outputs, *style, cwd=tmp_path)
    source, source_fps = read_video(dog_video)
    overlays, fps = read_video(tmp_path / "out.mp4")
    assert (len(overlays), overlays[0].shape, fps) == (336, (720, 1280, 3), pytest.approx(source_fps, abs=0.01))

    events = read_events(tmp_path / "out.jsonl")
    assert [event["frame"] for event in events] == [event["result_frame"] for event in events] == list(range(336))
    assert [event["time"] for event in events] == pytest.approx([n / source_fps for n in range(336)], abs=0.01)
    for event in events:
        assert set(event) == {
            *("frame", "result_frame", "time", "source", "lost", "width", "height"),
            *("top", "explained", "boxes", "box_ids", "objects", "stages_ms"),
        }
        assert (event["box_ids"], event["objects"]) == ([], 0)  # without --boxes
        assert set(event["stages_ms"]) == {"preprocess", "inference", "cam", "overlay"}
        scores = [row["score"] for row in event["top"]]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
        assert all(set(row) == {"label", "class_id", "score"} for row in event["top"])
        for x0, y0, x1, y1, peak in event["boxes"]:
            assert 0 <= x0 < x1 <= 1280
            assert 0 <= y0 < y1 <= 720
            assert 0 < peak <= 1
    tops = Counter(event["top"][0]["label"] for event in events)
    assert sum(tops[dog] for dog in DOGS) > 0.9 * len(events)

    # By eye: for 280 frames the puppy sits at x 480 to 940, y 70 to 640, and its face above y 330.
    heat = brightness(overlays[:280:10]) - 0.5 * brightness(source[:280:10])  # half of each pixel comes from the frame
    on_dog, on_face = heat[70:640, 480:940].mean(), heat[80:330, 580:920].mean()
    elsewhere = (heat.sum() - heat[70:640, 480:940].sum()) / (heat.size - heat[70:640, 480:940].size)
    assert on_face > on_dog > elsewhere + 20
    hottest = np.unravel_index(heat.argmax(), heat.shape)
    assert 80 <= hottest[0] <= 330
    assert 580 <= hottest[1] <= 920
    for event in events[:280]:
        x0, y0, x1, y1, _ = event["boxes"][0]
        assert 480 <= (x0 + x1) / 2 <= 940
        assert 70 <= (y0 + y1) / 2 <= 640


@pytest.mark.slow
def test_a_cockatoo_is_the_most_frequent_class_in_a_video_of_one(squeezenet, shared_data, tmp_path):
    video = shared_data / "videos" / "cockatoo.mp4"
    printed = succeeds("live", squeezenet, "--source", video, "--events", "-")
    events = [json.loads(line) for line in printed.splitlines()]
    assert len(events) == 280
    assert Counter(event["top"][0]["label"] for event in events).most_common(1)[0][0] == "sulphur-crested cockatoo"


def test_the_video_shows_the_result_drawn_over_each_frame(mobilenet, dog_video, tmp_path):
    style = ["--no-hud", "--colormap", "inferno", "--alpha", "0.8", "--alpha-by-value", "--normalize=-5,20"]
    style += ["--threshold", "0.4"]
    succeeds("live", mobilenet, "--source", dog_video, "-o", tmp_path / "out.avi", "--frames", "5", *style)
    overlays, _ = read_video(tmp_path / "out.avi")
    assert len(overlays) == 5
    model = camrt.load(mobilenet, "cpu")
    expected_style = OverlayStyle(
        colormap="inferno",
        alpha=0.8,
        alpha_by_value=True,
        threshold=0.4,
        normalization="range",
        value_range=(-5, 20),
    )
    for frame, overlay in zip(read_video(dog_video)[0], overlays, strict=False):
        expected = model(frame).draw(frame, style=expected_style)
        assert np.abs(overlay.astype(int) - expected).mean() < 3  # the loss of JPEG


@pytest.mark.parametrize("normalization", ["minmax", "relu_max", "-5,20"])
def test_each_normalization_gives_another_overlay(mobilenet, photo, tmp_path, normalization):
    succeeds("live", mobilenet, "--source", photo, "-o", tmp_path / "out", "--no-hud", f"--normalize={normalization}")
    overlay = cv2.imread(str(tmp_path / "out" / photo.name))
    frame = cv2.imread(str(photo))
    model = camrt.load(mobilenet, "cpu")
    styles = {
        "minmax": OverlayStyle(),
        "relu_max": OverlayStyle(normalization="relu_max"),
        "-5,20": OverlayStyle(normalization="range", value_range=(-5, 20)),
    }
    distances = {
        name: np.abs(overlay - model(frame).draw(frame, style=style).astype(int)).mean()
        for name, style in styles.items()
    }
    assert min(distances, key=distances.get) == normalization


def test_selected_classes_are_drawn_side_by_side_in_the_order_of_the_flag(squeezenet, shared_data, tmp_path):
    video = shared_data / "videos" / "bottle-detection.mp4"
    classes = "vase,water bottle,440"  # a label, a label with a space, a number (beer bottle)
    flags = ["--classes", classes, "--frames", "40", "--no-hud", "--normalize", "minmax"]
    succeeds("live", squeezenet, "--source", video, "-o", "out.avi", "--events", "e.jsonl", *flags, cwd=tmp_path)
    overlays, fps = read_video(tmp_path / "out.avi")
    assert (len(overlays), overlays[0].shape, fps) == (40, (360, 3 * 640, 3), pytest.approx(29.83, abs=0.01))
    model = camrt.load(squeezenet, "cpu")
    frame = read_video(video)[0][0]
    expected = np.hstack([model(frame).draw(frame, model.class_id(name)) for name in classes.split(",")])
    assert np.abs(overlays[0].astype(int) - expected).mean() < 3
    first = read_events(tmp_path / "e.jsonl")[0]
    assert [row["label"] for row in first["top"]] == [label for _, label, _ in model(frame).top(5)]


def test_several_outputs_are_written_at_once(mobilenet, dog_video, tmp_path):
    outputs = ["-o", "a.mp4", "-o", "b.mkv", "-o", "pictures", "--events", "e.jsonl"]
    done = run("live", mobilenet, "--source", dog_video, "--frames", "3", *outputs, cwd=tmp_path)
    assert done.returncode == 0
    for name in ("a.mp4", "b.mkv"):
        assert len(read_video(tmp_path / name)[0]) == 3
    assert [path.name for path in sorted((tmp_path / "pictures").iterdir())] == [
        f"oc_dog_{n:06d}.jpg" for n in range(3)
    ]
    assert len(read_events(tmp_path / "e.jsonl")) == 3
    assert done.stderr.splitlines()[-4:] == [f"wrote {name}" for name in ("a.mp4", "b.mkv", "pictures", "e.jsonl")]
    assert done.stdout == ""


def test_boxes_are_drawn_with_the_flag(mobilenet, photo, tmp_path):
    for flags in ([], ["--boxes"]):
        succeeds("live", mobilenet, "--source", photo, "-o", tmp_path / f"out{len(flags)}", "--no-hud", *flags)
    plain, boxed = (cv2.imread(str(tmp_path / name / photo.name)).astype(int) for name in ("out0", "out1"))
    x0, y0, x1, _, _ = camrt.load(mobilenet, "cpu")(cv2.imread(str(photo))).boxes()[0]
    assert np.abs(plain - boxed)[y0 : y0 + 3, x0:x1].mean() > 20


def test_without_a_recorder_or_viewer_nothing_is_drawn(mobilenet, dog_video, tmp_path):
    succeeds("live", mobilenet, "--source", dog_video, "--frames", "3", "--events", "e.jsonl", cwd=tmp_path)
    for event in read_events(tmp_path / "e.jsonl"):
        assert set(event["stages_ms"]) == {"preprocess", "inference"}
        assert event["boxes"]
        assert event["top"]


def test_output_none_writes_no_file(mobilenet, dog_video, tmp_path):
    done = run("live", mobilenet, "--source", dog_video, "--frames", "3", "-o", "none", cwd=tmp_path)
    assert done.returncode == 0
    assert "3 frames in" in done.stderr
    assert not any(tmp_path.iterdir())


def test_no_hud_leaves_out_the_text(mobilenet, photo, tmp_path):
    for flags in ([], ["--no-hud"]):
        succeeds("live", mobilenet, "--source", photo, "-o", tmp_path / f"out{len(flags)}", *flags)
    with_text, without_text = (cv2.imread(str(tmp_path / name / photo.name)) for name in ("out0", "out1"))
    assert with_text[:30, :100].mean() < without_text[:30, :100].mean() - 20  # the panel behind the names is dark
    assert np.abs(with_text[120:-60].astype(int) - without_text[120:-60]).mean() < 1


def test_an_existing_output_is_replaced_only_with_overwrite(mobilenet, photo, tmp_path):
    (tmp_path / "out.mp4").write_text("a film of ours")
    done = run("live", mobilenet, "--source", photo, "-o", "out.mp4", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "out.mp4").read_text()) == (2, "a film of ours")
    assert "out.mp4 exists" in done.stderr
    succeeds("live", mobilenet, "--source", photo, "-o", "out.mp4", "--overwrite", cwd=tmp_path)
    assert len(read_video(tmp_path / "out.mp4")[0]) == 1


def test_an_input_is_never_replaced(mobilenet, photo, tmp_path):
    for original, name in ((photo, "photo.jpg"), (mobilenet, "model.onnx")):
        (tmp_path / name).write_bytes(original.read_bytes())
    (tmp_path / "link.avi").symlink_to(tmp_path / "photo.jpg")
    for flags in (["--events", "photo.jpg"], ["--events", "model.onnx"], ["-o", "link.avi"]):
        done = run("live", "model.onnx", "--source", "photo.jpg", "--overwrite", *flags, cwd=tmp_path)
        assert done.returncode == 2
        assert "is an input and cannot be written" in done.stderr
    assert (tmp_path / "photo.jpg").read_bytes() == photo.read_bytes()
    assert (tmp_path / "model.onnx").read_bytes() == mobilenet.read_bytes()


def write_reference(path, *, labels, cells, level):
    """Write a report whose reference has medians of ``level`` and ranges of ``level`` plus or minus 0.01."""
    ranges = {"p1": level - 0.01, "p50": level, "p99": level + 0.01}
    mean_map = np.linspace(0, 1, int(np.prod(cells))).reshape(cells).tolist()
    statistics = dict.fromkeys(("centre", "entropy", "distance"), ranges)
    entries = [{"class_id": n, "class": label, "mean_map": mean_map, **statistics} for n, label in enumerate(labels)]
    path.write_text(json.dumps({"reference": entries}))
    return path


def test_attention_outside_a_reference_is_a_line_and_an_event(tmp_path):
    model = camrt.load(DEMO_MODEL, provider="cpu")
    write_reference(tmp_path / "report.json", labels=model.labels, cells=model.map_shape[1:], level=-1.0)
    flags = ["--events", "out.jsonl", "--reference", "report.json", "--sync", "--frames", "90"]
    done = run("live", DEMO_MODEL, "--source", "synthetic", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "camrt: synthetic: the model's attention has left the audit's range (" in done.stderr
    events = [event["attention"] for event in read_events(tmp_path / "out.jsonl")]
    assert [one["event"] for one in events if one["event"]] == ["left"]
    assert not events[0]["outside"]
    assert events[-1]["outside"]


def test_a_reference_of_another_model_is_refused(tmp_path):
    model = camrt.load(DEMO_MODEL, provider="cpu")
    write_reference(tmp_path / "report.json", labels=model.labels, cells=(7, 7), level=0.5)
    for path, message in {
        "missing.json": "there is no report at missing.json",
        "report.json": "report.json is of a model with maps of 7 x 7 cells",
    }.items():
        command = ("live", DEMO_MODEL, "--source", "synthetic", "--frames", "1", "--reference", path)
        assert message in refusal(*command, status=2, cwd=tmp_path)
