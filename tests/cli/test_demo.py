"""``camrt demo``: the bundled model, in files and in a window."""

import json
from itertools import pairwise

import cv2
import numpy as np
import pytest

from camrt.runtime.assets import DEMO_MODEL
from camrt.synthetic_scene import CLASSES
from support.command import camrt, interrupt, refusal, started, succeeds
from support.desktop import desktop, eventually

pytestmark = pytest.mark.process


def test_the_bundled_model_passes_the_identity_check():
    report = json.loads(succeeds("inspect", DEMO_MODEL, "--verify", "--json"))
    assert report["labels"] == list(CLASSES)
    assert report["identity_error"] < 1e-4


def test_demo_writes_a_video_and_a_contact_sheet_and_evaluates_the_model(tmp_path):
    for _ in range(2):  # the second run replaces the files of the first
        done = camrt("demo", "--frames", "40", "-o", "out", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["output"] == "out"
    assert report["frames"] == 540
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["demo.mp4", "demo.png"]
    video = cv2.VideoCapture(str(tmp_path / "out" / "demo.mp4"))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == 40
    sheet = cv2.imread(str(tmp_path / "out" / "demo.png"))
    assert sheet.shape == (720, 1280, 3)
    tiles = [sheet[y : y + 240, x : x + 320] for y in range(0, 720, 240) for x in range(0, 1280, 320)]
    assert all(tile.std() > 10 for tile in tiles)
    assert all(not np.array_equal(a, b) for a, b in pairwise(tiles))


def test_without_a_display_demo_gives_the_reason_and_writes_to_the_current_folder(tmp_path):
    done = camrt("demo", "--frames", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no window: no display" in done.stderr
    assert "wrote camrt-demo/demo.mp4" in done.stderr
    assert "pointing game" in done.stdout
    assert (tmp_path / "camrt-demo" / "demo.mp4").is_file()


@pytest.mark.window
def test_with_a_display_demo_opens_a_window_until_q(tmp_path):
    with desktop(tmp_path) as screen:
        with started("demo", "--json", cwd=tmp_path, DISPLAY=screen.display) as process:
            window = screen.window("camrt")
            assert eventually(lambda: screen.screenshot().std() > 20)
            screen.press(window, "q")
            report = json.loads(process.communicate(timeout=120)[0])
        assert report["output"] is None
        assert process.returncode == 0
    assert not (tmp_path / "camrt-demo").exists()


def test_ctrl_c_ends_demo_with_a_complete_video(tmp_path):
    with started("demo", "-o", "out", "--frames", "100000", cwd=tmp_path) as process:
        part = tmp_path / "out" / "demo.part.mp4"
        assert eventually(lambda: part.exists() and part.stat().st_size > 50_000)
        status, errors = interrupt(process)
    assert status == 1
    assert "stopped before the model was evaluated" in errors
    video = cv2.VideoCapture(str(tmp_path / "out" / "demo.mp4"))
    assert video.read()[0]


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--frames", "0"], 2, "at least one"),
        (["-o", "taken"], 1, "taken cannot be created as a folder"),
        (["--classes", "zebra"], 2, "zebra"),
    ],
)
def test_wrong_use_is_an_error_in_one_line(tmp_path, flags, status, message):
    (tmp_path / "taken").write_text("")
    assert message in refusal("demo", *flags, status=status, cwd=tmp_path)
