"""``camrt live`` in a window on a virtual desktop: its pixels and its keys."""

import signal
import time

import cv2
import numpy as np
import pytest

import camrt
from support import http_camera
from support.command import started
from support.desktop import desktop, eventually
from support.events import read_events
from support.overlays import draw_shared

pytestmark = pytest.mark.window

FLAGS = ["--no-hud", "--events", "e.jsonl", "--window"]


@pytest.fixture
def screen(tmp_path_factory):
    with desktop(tmp_path_factory.mktemp("display")) as screen:
        yield screen


@pytest.fixture
def small(photo, tmp_path):
    """Return the photo at a size that the window shows pixel by pixel."""
    image = cv2.resize(cv2.imread(str(photo)), (320, 240), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "photo.png"), image)
    return image


def shows(screen, image):
    """Wait until the upper left of the screen is ``image``."""
    height, width = image.shape[:2]
    return eventually(lambda: np.array_equal(screen.screenshot()[:height, :width], image))


def test_an_image_stays_until_q_and_keys_change_class_and_colours(mobilenet, screen, small, tmp_path):
    model = camrt.load(mobilenet, "cpu")
    result = model(small)
    (first, _, _), (second, _, _) = result.top(2)
    with started("live", mobilenet, "--source", "photo.png", *FLAGS, cwd=tmp_path, DISPLAY=screen.display) as process:
        assert shows(screen, result.draw(small, first))
        window = screen.window("camrt")
        screen.press(window, "c")
        assert shows(screen, draw_shared(result, small, second))
        screen.press(window, "m")
        assert shows(screen, draw_shared(result, small, second, colormap="jet"))
        screen.press(window, "s")
        (snapshot,) = eventually(lambda: list(tmp_path.glob("camrt-*.png")))
        assert eventually(lambda: cv2.imread(str(snapshot)) is not None)
        assert np.array_equal(cv2.imread(str(snapshot)), draw_shared(result, small, second, colormap="jet"))
        screen.press(window, "q")
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert f"wrote {snapshot.name}" in errors
    assert len((tmp_path / "e.jsonl").read_text().splitlines()) == 1


def test_question_mark_shows_and_hides_the_list_of_keys(mobilenet, screen, small, tmp_path):
    flags = ["--source", "photo.png"]
    with started("live", mobilenet, *flags, cwd=tmp_path, DISPLAY=screen.display) as process:
        window = screen.window("camrt")
        assert eventually(lambda: screen.screenshot()[:240, :320].std() > 20)
        before = screen.screenshot()[70:170, 100:220]
        screen.press(window, "question")
        assert eventually(lambda: screen.screenshot()[70:170, 100:220].mean() < 0.8 * before.mean())
        screen.press(window, "question")
        assert eventually(lambda: np.abs(screen.screenshot()[70:170, 100:220].astype(int) - before).mean() < 2)
        screen.press(window, "q")
        process.communicate(timeout=120)
    assert process.returncode == 0


@pytest.mark.alone
def test_keys_work_while_the_camera_is_silent(mobilenet, screen, shared_data, tmp_path):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        flags = ["--source", f"{address}/stalls"]
        with started("live", mobilenet, *flags, *FLAGS, cwd=tmp_path, DISPLAY=screen.display) as process:
            window = screen.window("camrt")
            assert eventually(lambda: len(read_events(tmp_path / "e.jsonl")) > 5)
            time.sleep(1.0)  # the camera sends nothing now, and counts as lost four seconds later
            screen.press(window, "q")
            _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert not any(event["lost"] for event in read_events(tmp_path / "e.jsonl"))


def test_the_space_bar_pauses_and_continues_a_video(mobilenet, screen, dog_video, tmp_path):
    events = tmp_path / "e.jsonl"

    def frames():
        return len(events.read_text().splitlines()) if events.exists() else 0

    with started("live", mobilenet, "--source", dog_video, *FLAGS, cwd=tmp_path, DISPLAY=screen.display) as process:
        window = screen.window("camrt")
        screen.press(window, "space")
        # At thirty frames a second, a second without a frame means that the video is paused.
        counts = [frames()]

        def paused():
            time.sleep(1)
            counts.append(frames())
            return counts[-1] == counts[-2] > 0

        assert eventually(paused)
        at = counts[-1]
        screen.press(window, "space")
        assert eventually(lambda: frames() > at + 3)
        screen.press(window, "Escape")
        process.communicate(timeout=120)
    assert process.returncode == 0
    rows = read_events(events)
    assert [row["frame"] for row in rows] == list(range(len(rows)))


def test_ctrl_c_ends_a_pause(mobilenet, screen, dog_video, tmp_path):
    with started("live", mobilenet, "--source", dog_video, "-o", "out.mp4", "--window", cwd=tmp_path,
                 DISPLAY=screen.display) as process:  # fmt: skip
        screen.press(screen.window("camrt"), "space")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert (tmp_path / "out.mp4").is_file()
