"""``camrt live`` with several sources that share one model and run independently."""

import signal
import time
from collections import Counter
from itertools import pairwise

import cv2
import numpy as np
import pytest

from camrt.runtime.sources.network.url import redact
from support import http_camera, rtsp_camera
from support.command import camrt, refusal, started, succeeds
from support.desktop import desktop, eventually
from support.events import read_events
from support.serving import DEMO, jpegs, serving
from support.videos import read_video

pytestmark = pytest.mark.process

GONE = "http://127.0.0.1:9/nobody"


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


def test_each_source_has_its_own_files_and_all_share_one_log(mobilenet, shared_data, tmp_path):
    dog, bottles = (shared_data / "videos" / name for name in ("oc_dog.mp4", "bottle-detection.mp4"))
    sources = ["--source", dog, "--source", bottles, "--frames", "12"]
    done = camrt("live", mobilenet, *sources, "-o", "out.mp4", "-o", "pictures", "--events", "e.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for number, shape in ((1, (720, 1280, 3)), (2, (360, 640, 3))):
        frames, _ = read_video(tmp_path / f"out-{number}.mp4")
        assert (len(frames), frames[0].shape) == (12, shape)
        assert len(list((tmp_path / f"pictures-{number}").iterdir())) == 12
        assert f"wrote out-{number}.mp4" in done.stderr
    events = read_events(tmp_path / "e.jsonl")
    for source in (dog, bottles):
        assert [event["frame"] for event in events if event["source"] == str(source)] == list(range(12))


def test_files_give_the_same_results_together_and_alone(mobilenet, shared_data, tmp_path):
    """Results are the same with and without batches."""
    names = ("oc_dog.mp4", "cockatoo.mp4")
    videos = [shared_data / "videos" / name for name in names]
    flags = ["--frames", "15", "--events"]
    assert camrt("live", mobilenet, "--source", videos[0], "--source", videos[1], *flags, "both.jsonl", cwd=tmp_path)
    both = read_events(tmp_path / "both.jsonl")
    for number, video in enumerate(videos):
        assert camrt("live", mobilenet, "--source", video, *flags, f"{number}.jsonl", cwd=tmp_path).returncode == 0
        alone = read_events(tmp_path / f"{number}.jsonl")
        together = [event for event in both if event["source"] == str(video)]
        assert len(together) == len(alone) == 15
        for one, other in zip(alone, together, strict=True):
            assert one["top"][0]["label"] == other["top"][0]["label"]
            assert one["top"][0]["score"] == pytest.approx(other["top"][0]["score"], abs=1e-3)


@pytest.mark.rtsp
def test_a_camera_that_is_lost_or_never_connects_does_not_stop_the_others(mobilenet, http, tmp_path):
    """One camera never answers, one is lost and two of the same name go on. Their names in the log differ."""
    with rtsp_camera.serve() as (server, address):
        sources = [f"{address}/live", GONE, f"{http}/endless", f"{http}/endless"]
        flags = [word for source in sources for word in ("--source", source)]
        sources = [redact(source) for source in sources]
        with started("live", mobilenet, *flags, "--events", "e.jsonl", cwd=tmp_path) as process:

            def read_log():
                path = tmp_path / "e.jsonl"
                events = read_events(path) if path.exists() else []
                return Counter(event["source"] for event in events if event["top"]), events

            assert eventually(lambda: min(read_log()[0][name] for name in (sources[0], sources[2])) > 10)
            server.kill()
            assert eventually(
                lambda: any(e.get("lost") and e["source"] == sources[0] for e in read_log()[1]), within_s=20
            )
            before = read_log()[0]
            time.sleep(2)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    after, events = read_log()
    for name in (sources[2], f"{sources[2]} (2)"):
        assert after[name] > before[name] + 5
    shares = after[sources[2]], after[f"{sources[2]} (2)"]
    assert max(shares) < 1.5 * min(shares)
    assert after[sources[1]] == 0
    lost = [event for event in events if event["source"] == sources[1]]
    assert len(lost) >= 3
    assert all("trying" in event["lost"] for event in lost)


def test_a_missing_source_is_refused_before_any_output_is_written(mobilenet, dog_video, tmp_path):
    flags = ["--source", dog_video, "--source", "no-such-file.mp4", "-o", "out.mp4"]
    error = refusal("live", mobilenet, *flags, status=2, cwd=tmp_path)
    assert "there is no no-such-file.mp4" in error
    assert not any(tmp_path.iterdir())


def test_a_source_whose_output_fails_is_reported_and_the_other_goes_on(mobilenet, shared_data, tmp_path):
    (tmp_path / "out-2").mkdir()
    (tmp_path / "out-2" / "bottle-detection_000003.jpg").mkdir()
    videos = [shared_data / "videos" / name for name in ("oc_dog.mp4", "bottle-detection.mp4")]
    flags = ["--frames", "10", "-o", "out"]
    done = camrt("live", mobilenet, "--source", videos[0], "--source", videos[1], *flags, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{videos[1]} has ended: " in done.stderr
    assert "bottle-detection_000003.jpg is a folder" in done.stderr
    assert len(list((tmp_path / "out-1").iterdir())) == 10


def test_sources_of_the_same_name_are_numbered(tmp_path):
    sources = ["--source", "synthetic"] * 3
    done = camrt("live", DEMO, *sources, "--frames", "3", "--events", "e.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counts = Counter(event["source"] for event in read_events(tmp_path / "e.jsonl"))
    assert counts == {"synthetic": 3, "synthetic (2)": 3, "synthetic (3)": 3}


def test_a_log_shared_with_a_camera_pauses_on_a_full_disk(dog_video, tmp_path):
    sources = ["--source", dog_video, "--source", "synthetic"]
    done = camrt("live", DEMO, *sources, "--frames", "5", "--events", "/dev/full", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing is written to" in done.stderr


@pytest.mark.window
def test_the_window_shows_all_sources_in_a_mosaic(shared_data, tmp_path):
    with desktop(tmp_path) as screen:
        flags = ["--source", "synthetic", "--source", GONE, "--no-hud", "--window"]
        with started("live", DEMO, *flags, cwd=tmp_path, DISPLAY=screen.display) as process:
            window = screen.window("camrt")

            def screenshot_rows():
                return screen.screenshot()[150:550].astype(int)  # the window is wider than the screen

            assert eventually(lambda: screenshot_rows()[:, :600].std() > 20 and screenshot_rows()[:, 660:].max() < 10)
            screen.press(window, "s")
            (snapshot,) = eventually(lambda: list(tmp_path.glob("camrt-*.png")))
            assert eventually(lambda: cv2.imread(str(snapshot)) is not None)
            image = cv2.imread(str(snapshot))
            assert image.shape == (720, 1280, 3)
            assert image[300:420, 700:1240].max() > 200  # NO SIGNAL
            assert image[:30, 700:1240].max() > 200  # the name of the source
            screen.press(window, "space")
            time.sleep(0.5)
            still = screenshot_rows()
            time.sleep(0.5)
            assert np.array_equal(screenshot_rows(), still)
            screen.press(window, "q")
            _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_the_browser_gets_each_source_and_a_mosaic_of_all():
    with serving("--source", GONE) as served:

        def states():
            return [camera["state"] for camera in served.get("/api/state")["cameras"]]

        assert eventually(lambda: states() == ["live", "lost"])
        for camera, shape in ((0, (480, 640)), (1, (360, 640)), ("all", (480, 1280))):
            connection = served.connect()
            connection.request("GET", f"/stream?camera={camera}")
            _, jpeg = next(jpegs(connection.getresponse()))
            assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[:2] == shape
            connection.close()
        assert "trying" in served.get("/api/result?camera=1")["lost"]


def test_smoothing_and_a_running_range_reduce_the_changes_between_frames(dog_video, mobilenet, tmp_path):
    """A file is not smoothed by default, so that a map does not depend on earlier frames."""
    for name, flags in (("plain", []), ("calm", ["--smooth", "5", "--normalize", "running"])):
        out = ["-o", f"{name}.avi", "--frames", "40", "--no-hud", "--colormap", "bone", "--alpha", "1"]
        out += ["--no-alpha-by-value", "--classes", "beagle"]
        done = camrt("live", mobilenet, "--source", dog_video, *out, *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    plain, smooth = (read_video(tmp_path / f"{name}.avi")[0] for name in ("plain", "calm"))

    def mean_change(frames):
        return np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)])

    assert mean_change(smooth) < 0.5 * mean_change(plain)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--smooth", "-1"], "smooth -1 must be a half-life in seconds, 0 or more"),
        (
            ["--normalize", "sideways"],
            "write shared, minmax, relu_max, running, or two numbers, as in --normalize=-2,10",
        ),
    ],
)
def test_invalid_smoothing_and_normalization_are_wrong_use(flags, reason):
    assert reason in refusal("live", DEMO, "--source", "synthetic", "-o", "none", *flags, status=2)


def test_annotate_accepts_smoothing_and_normalization(photo, mobilenet, tmp_path):
    succeeds("annotate", mobilenet, photo, "-o", tmp_path / "x", "--normalize", "running", "--smooth", "1")
    error = refusal("annotate", mobilenet, photo, "-o", tmp_path / "y", "--normalize", "sideways", status=2)
    assert "or two numbers, as in --normalize=-2,10" in error
