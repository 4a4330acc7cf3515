"""``camrt annotate``: resuming, every n-th frame, changed and enlarged frames."""

import cv2
import numpy as np
import pytest
from PIL import Image

import camrt
from support.command import camrt as run
from support.command import succeeds
from support.overlays import gradient_image
from support.videos import read_video

pytestmark = pytest.mark.process


def told(*arguments, cwd):
    """Run ``camrt``, which must succeed, and return what it wrote to standard error."""
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def small_inputs(tmp_path):
    """Return a folder with two images, a scan of two pages and a video of nine frames."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        assert cv2.imwrite(str(folder / name), gradient_image(48, 64))
    pages = [Image.fromarray(gradient_image(48, 64, shade=shade)) for shade in (0, 200)]
    pages[0].save(folder / "scan.tif", save_all=True, append_images=pages[1:])
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (64, 48))
    for number in range(9):
        writer.write(gradient_image(48, 64, shade=25 * number))
    writer.release()
    return folder


@pytest.mark.input_kind("image", "TIFF of several pages, annotated", "Pillow", "one overlay a page")
def test_resume_makes_again_what_is_missing_or_cut_off(mobilenet, small_inputs, tmp_path):
    first = told("annotate", mobilenet, small_inputs, "-o", "out", cwd=tmp_path)
    assert first == "wrote 4 of 4 files (13 frames) to out\n"
    out = tmp_path / "out"
    names = ["a.png", "b.jpg", "clip.avi", "scan.page1.tif", "scan.page2.tif"]
    assert sorted(path.name for path in out.iterdir()) == names
    whole = {path.name: path.read_bytes() for path in out.iterdir()}

    again = told("annotate", mobilenet, small_inputs, "-o", "out", "--resume", cwd=tmp_path)
    assert again == "wrote 0 of 4 files to out, 4 were whole already\n"

    (out / "a.png").write_bytes(whole["a.png"][: len(whole["a.png"]) // 2])
    (out / "scan.page2.tif").unlink()
    (out / "clip.avi").write_bytes(whole["clip.avi"][:-6000])
    again = told("annotate", mobilenet, small_inputs, "-o", "out", "--resume", cwd=tmp_path)
    assert again == "wrote 3 of 4 files (12 frames) to out, 1 were whole already\n"
    assert {path.name: len(path.read_bytes()) for path in out.iterdir()} == {
        name: len(data) for name, data in whole.items()
    }
    assert len(read_video(out / "clip.avi")[0]) == 9


def test_every_nth_frame_of_a_video_keeps_its_speed(mobilenet, small_inputs, tmp_path):
    succeeds("annotate", mobilenet, "in/clip.avi", "-o", "out.avi", "--every", "4", "--no-hud", cwd=tmp_path)
    overlays, fps = read_video(tmp_path / "out.avi")
    assert (len(overlays), fps) == (3, pytest.approx(7.5))
    resumed = told("annotate", mobilenet, "in/clip.avi", "-o", "out.avi", "--every", "4", "--resume", cwd=tmp_path)
    assert resumed == "wrote 0 of 1 files to out.avi, 1 were whole already\n"


def test_overlays_lie_on_changed_and_enlarged_frames(mobilenet, small_inputs, tmp_path):
    flags = ["--crop", "4,8,40,30", "--rotate-image", "90", "--flip", "horizontal", "--scale-output", "3", "--no-hud"]
    succeeds("annotate", mobilenet, "in/a.png", "-o", "out.png", *flags, cwd=tmp_path)
    frame = np.ascontiguousarray(np.rot90(gradient_image(48, 64)[8:38, 4:44], -1)[:, ::-1])
    expected = camrt.load(mobilenet, "cpu")(frame).enlarged(3).draw(frame.repeat(3, 0).repeat(3, 1))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out.png")), expected)


def test_a_small_image_is_enlarged_until_it_can_be_seen(mobilenet, tmp_path):
    assert cv2.imwrite(str(tmp_path / "digit.png"), gradient_image(28, 28))
    succeeds("annotate", mobilenet, "digit.png", "-o", "out.png", "--scale-output", "auto", cwd=tmp_path)
    assert cv2.imread(str(tmp_path / "out.png")).shape == (336, 336, 3)


def test_live_takes_the_changes_of_frames_from_a_file_of_settings(mobilenet, small_inputs, tmp_path):
    (tmp_path / "camrt.toml").write_text('crop = "0,0,20,10"\nrotate-image = 90\nflip = "both"\nscale-output = "2"\n')
    flags = ["--config", "camrt.toml", "--source", "in/clip.avi", "-o", "out", "--events", "e.jsonl"]
    succeeds("live", mobilenet, *flags, cwd=tmp_path)
    assert {cv2.imread(str(path)).shape for path in (tmp_path / "out").iterdir()} == {(40, 20, 3)}
    assert len((tmp_path / "e.jsonl").read_text().splitlines()) == 9
