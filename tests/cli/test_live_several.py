"""``camrt live`` with several sources: one model, and each goes its own way."""

import signal
import time
from collections import Counter
from itertools import pairwise

import cv2
import numpy as np
import pytest

from support import http_camera, rtsp_camera
from support.command import camrt, refusal, started
from support.desktop import desktop, eventually
from support.events import read_events
from support.serving import DEMO, jpegs, serving
from support.videos import read_video

GONE = "http://127.0.0.1:9/nobody"


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


def test_each_source_has_its_own_files_and_all_have_one_log(mobilenet, shared_data, tmp_path):
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


def test_files_are_drawn_as_they_are_alone(mobilenet, shared_data, tmp_path):
    """In a batch or not, the answers are the same."""
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


def test_a_dead_camera_and_one_that_dies_stop_no_other(mobilenet, http, tmp_path):
    """One never answers, one falls silent, one goes on; two cameras of the same name are told apart."""
    with rtsp_camera.serve() as (server, address):
        sources = [f"{address}/live", GONE, f"{http}/endless", f"{http}/endless"]
        flags = [word for source in sources for word in ("--source", source)]
        with started("live", mobilenet, *flags, "--events", "e.jsonl", cwd=tmp_path) as process:

            def seen():
                path = tmp_path / "e.jsonl"
                events = read_events(path) if path.exists() else []
                return Counter(event["source"] for event in events if "top" in event), events

            assert eventually(lambda: min(seen()[0][name] for name in (sources[0], sources[2])) > 10, within_s=40)
            server.kill()
            assert eventually(lambda: any(e.get("lost") and e["source"] == sources[0] for e in seen()[1]), within_s=20)
            before = seen()[0]
            time.sleep(2)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    after, events = seen()
    for name in (sources[2], f"{sources[2]} (2)"):
        assert after[name] > before[name] + 5
    shares = after[sources[2]], after[f"{sources[2]} (2)"]
    assert max(shares) < 1.5 * min(shares)
    assert after[GONE] == 0
    lost = [event for event in events if event["source"] == GONE]
    assert len(lost) >= 3
    assert all("trying" in event["lost"] for event in lost)


def test_a_source_that_makes_no_sense_ends_it_before_anything_is_written(mobilenet, dog_video, tmp_path):
    flags = ["--source", dog_video, "--source", "no-such-file.mp4", "-o", "out.mp4"]
    said = refusal("live", mobilenet, *flags, status=1, cwd=tmp_path)
    assert "there is no no-such-file.mp4" in said
    assert not any(tmp_path.iterdir())


def test_one_whose_output_fails_is_told_and_the_other_goes_on(mobilenet, shared_data, tmp_path):
    (tmp_path / "out-2").mkdir()
    (tmp_path / "out-2" / "bottle-detection_000003.jpg").mkdir()
    videos = [shared_data / "videos" / name for name in ("oc_dog.mp4", "bottle-detection.mp4")]
    flags = ["--frames", "10", "-o", "out"]
    done = camrt("live", mobilenet, "--source", videos[0], "--source", videos[1], *flags, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{videos[1]} has ended: " in done.stderr
    assert "bottle-detection_000003.jpg is a folder" in done.stderr
    assert len(list((tmp_path / "out-1").iterdir())) == 10


def test_sources_of_one_name_are_told_apart(tmp_path):
    sources = ["--source", "synthetic"] * 3
    done = camrt("live", DEMO, *sources, "--frames", "3", "--events", "e.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen = Counter(event["source"] for event in read_events(tmp_path / "e.jsonl"))
    assert seen == {"synthetic": 3, "synthetic (2)": 3, "synthetic (3)": 3}


def test_the_log_of_a_file_and_a_camera_is_a_cameras(dog_video, tmp_path):
    log = tmp_path / "e.jsonl"
    log.symlink_to("/dev/full")
    sources = ["--source", dog_video, "--source", "synthetic"]
    done = camrt("live", DEMO, *sources, "--frames", "5", "--events", log, "--overwrite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing is written to" in done.stderr


def test_a_window_shows_all_of_them(shared_data, tmp_path):
    with desktop(tmp_path) as screen:
        flags = ["--source", "synthetic", "--source", GONE, "--no-hud", "--window"]
        with started("live", DEMO, *flags, cwd=tmp_path, DISPLAY=screen.display) as process:
            window = screen.window("camrt")

            def shown():
                return screen.screenshot()[150:550].astype(int)  # of a window that is wider than this screen

            assert eventually(lambda: shown()[:, :600].std() > 20 and shown()[:, 660:].max() < 10)
            screen.press(window, "s")
            (snapshot,) = eventually(lambda: list(tmp_path.glob("camrt-*.png")))
            assert eventually(lambda: cv2.imread(str(snapshot)) is not None)
            saved = cv2.imread(str(snapshot))
            assert saved.shape == (720, 1280, 3)
            assert saved[300:420, 700:1240].max() > 200  # NO SIGNAL
            assert saved[:30, 700:1240].max() > 200  # and whose
            screen.press(window, "space")
            time.sleep(0.5)
            still = shown()
            time.sleep(0.5)
            assert np.array_equal(shown(), still)
            screen.press(window, "q")
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_the_browser_gets_each_and_all_in_one_picture():
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


def test_a_live_stream_is_calm_by_default_and_a_file_is_drawn_as_it_is(dog_video, mobilenet, tmp_path):
    """The same frames, once as a file and once smoothed: only then does a map depend on those before it."""
    for name, flags in (("plain", []), ("calm", ["--smooth", "5", "--normalize", "running"])):
        out = ["-o", f"{name}.avi", "--frames", "40", "--no-hud", "--colormap", "bone", "--alpha", "1"]
        out += ["--classes", "beagle"]
        done = camrt("live", mobilenet, "--source", dog_video, *out, *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    plain, calm = (read_video(tmp_path / f"{name}.avi")[0] for name in ("plain", "calm"))

    def restlessness(frames):
        return np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)])

    assert restlessness(calm) < 0.5 * restlessness(plain)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--smooth", "-1"], "--smooth -1: a half-life in seconds, 0 or more"),
        (
            ["--normalize", "sideways"],
            "write minmax, relu_max, or two numbers, as in --normalize=-2,10, for what is live",
        ),
    ],
)
def test_what_makes_no_sense_over_time_is_wrong_use(flags, reason):
    assert reason in refusal("live", DEMO, "--source", "synthetic", "-o", "none", *flags, status=2)


def test_stills_have_no_running_range(photo, mobilenet, tmp_path):
    said = refusal("annotate", mobilenet, photo, "-o", tmp_path / "x", "--normalize", "running", status=2)
    assert "write minmax, relu_max, or two numbers, as in --normalize=-2,10" in said
