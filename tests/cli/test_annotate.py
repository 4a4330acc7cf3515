"""``camrt annotate`` draws every frame of real photos and videos once and in order."""

import json
import os
import pty
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image

import camrt
from support.command import camrt as run
from support.command import command, refusal, succeeds
from support.needs import environment
from support.overlays import gradient_image
from support.video_files import beep_starts, beeps, encode_with_sound, frame_times, scene
from support.videos import read_video

pytestmark = pytest.mark.process


@pytest.fixture
def image_kinds(photo, tmp_path):
    """Return a folder with one photo as every kind of image, and the frame that a classifier gets from each."""
    folder = tmp_path / "kinds"
    (folder / "deeper" / "still").mkdir(parents=True)
    colour = cv2.imread(str(photo))
    grey = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    images = {
        "colour.png": colour,
        "grey.png": grey,
        "grey16.tif": grey.astype(np.uint16) * 257,
        "deep16.png": colour.astype(np.uint16) * 257,
        "alpha.png": np.dstack([colour, np.full_like(grey, 9)]),
        "dot.png": colour[:1, :1],
        "strip.png": cv2.resize(colour, (5000, 3)),
        "tall.bmp": cv2.resize(colour, (3, 5000)),
        "deeper/img10.png": colour,
        "deeper/img2.png": colour,
        "deeper/still/portable.ppm": colour,
    }
    for name, image in images.items():
        assert cv2.imwrite(str(folder / name), image)
    frames = {name: cv2.imread(str(folder / name), cv2.IMREAD_COLOR) for name in images}
    np.testing.assert_array_equal(frames["deep16.png"], colour)
    _, jpeg = cv2.imencode(".jpg", colour)
    # An Exif segment with orientation 6: rotate by 90 degrees.
    orientation = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(orientation) + 2).to_bytes(2, "big") + orientation
    (folder / "turned.jpg").write_bytes(jpeg[:2].tobytes() + segment + jpeg[2:].tobytes())
    frames["turned.jpg"] = cv2.rotate(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.ROTATE_90_CLOCKWISE)
    return folder, frames


def test_every_kind_of_image_is_drawn_in_its_own_size_and_folder(squeezenet, image_kinds, tmp_path):
    folder, frames = image_kinds
    done = run("annotate", squeezenet, folder, "-o", tmp_path / "out", "--no-hud")
    assert (done.returncode, done.stderr) == (0, f"wrote 12 of 12 files to {tmp_path / 'out'}\n")
    model = camrt.load(squeezenet, "cpu")
    for name, frame in frames.items():
        output = tmp_path / "out" / name.replace(".ppm", ".png")
        expected = model(frame).draw(frame)
        overlay = cv2.imread(str(output))
        assert overlay.shape == expected.shape
        assert np.abs(overlay.astype(int) - expected).mean() < (3 if name.endswith(".jpg") else 1e-9), name
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == len(frames)


@pytest.mark.parametrize("folder", ["images_boxes", "images_cls"])
def test_every_photo_of_a_folder_is_drawn(squeezenet, shared_data, tmp_path, folder):
    photos = [path for path in (shared_data / folder).iterdir() if path.suffix != ".json"]
    done = run("annotate", squeezenet, shared_data / folder, "-o", "out", cwd=tmp_path)
    first, second = done.stderr.splitlines()
    assert (done.returncode, first) == (0, f"wrote {len(photos)} of {len(photos)} files to out, 1 left out")
    assert second.endswith("json (a text file)")
    for photo in photos:
        assert cv2.imread(str(tmp_path / "out" / photo.name)).shape == cv2.imread(str(photo)).shape


def test_the_heat_lies_on_the_objects_of_real_photos(squeezenet, shared_data, tmp_path):
    """Pointing game on the written files: the hottest pixel is inside a box of the object."""
    boxes = json.loads((shared_data / "images_boxes" / "boxes.json").read_text())
    model = camrt.load(squeezenet, "cpu")
    hits = []
    for row in boxes:
        photo = shared_data / "images_boxes" / row["file"]
        frame = cv2.imread(str(photo))
        if model(frame).class_id != row["imagenet_index"]:
            continue
        # An opaque overlay from black to white shows the heat alone.
        flags = ["--no-hud", "--alpha", "1", "--colormap", "bone", "-o", tmp_path / f"{photo.stem}.png"]
        if len(hits) < 8:  # each hit needs a process
            succeeds("annotate", squeezenet, photo, *flags)
            heat = cv2.imread(str(tmp_path / f"{photo.stem}.png"), cv2.IMREAD_GRAYSCALE)
            y, x = np.unravel_index(heat.argmax(), heat.shape)
            hits.append(any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in row["boxes"]))
    assert len(hits) == 8
    assert sum(hits) >= 7


def test_a_video_keeps_its_frames_rate_and_size(mobilenet, shared_data, tmp_path):
    video, short = shared_data / "videos" / "bottle-detection.mp4", tmp_path / "short.avi"
    succeeds("live", mobilenet, "--source", video, "-o", short, "--frames", "30", "--alpha", "0", "--no-hud")
    done = run("annotate", mobilenet, "short.avi", "-o", "out.mp4", "--no-hud", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "wrote 1 of 1 files (30 frames) to out.mp4\n")
    source, source_fps = read_video(short)
    overlays, fps = read_video(tmp_path / "out.mp4")
    assert (len(overlays), overlays[0].shape, fps) == (30, source[0].shape, pytest.approx(source_fps, abs=0.01))
    model = camrt.load(mobilenet, "cpu")
    for frame, overlay in zip(source, overlays, strict=True):
        assert np.abs(overlay.astype(int) - model(frame).draw(frame)).mean() < 5  # the loss of MPEG-4


def test_a_video_keeps_its_sound_and_the_times_of_its_frames(mobilenet, tmp_path):
    times_ms = [0, 40, 80, 1000, 1040, 2000, 2500]
    original = encode_with_sound(tmp_path / "a.mkv", [scene(n) for n in range(7)], beeps(3.0), times_ms=times_ms)
    done = run("annotate", mobilenet, original, "-o", "out.mp4", "--no-hud", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "wrote 1 of 1 files (7 frames) to out.mp4\n")
    assert frame_times(tmp_path / "out.mp4") == pytest.approx([time / 1000 for time in times_ms], abs=0.001)
    assert beep_starts(tmp_path / "out.mp4")[1:] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5], abs=0.012)
    done = run("annotate", mobilenet, original, "-o", "out.avi", "--no-hud", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[1:] == [
        f"camrt: out.avi: the sound of {original} is left out",
        f"camrt: {tmp_path / 'out.avi'}: its frames are spread evenly, not at their times",
    ]


def test_photos_folders_and_videos_are_drawn_in_one_run(mobilenet, image_kinds, photo, shared_data, tmp_path):
    folder, _ = image_kinds
    clip = tmp_path / "clip.avi"
    video = shared_data / "videos" / "bottle-detection.mp4"
    succeeds("live", mobilenet, "--source", video, "-o", clip, "--frames", "4", "--no-hud")
    inputs = [clip, folder / "deeper", photo, folder / "deeper" / "img2.png"]  # the last is named twice
    done = run("annotate", mobilenet, *inputs, "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "wrote 5 of 5 files (8 frames) to out\n")
    outputs = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert outputs == {"clip.avi", "img2.png", "img10.png", "still/portable.png", photo.name}


def test_images_are_drawn_in_natural_order(mobilenet, image_kinds, tmp_path):
    succeeds("annotate", mobilenet, image_kinds[0] / "deeper", "-o", tmp_path / "out")
    outputs = sorted((tmp_path / "out").rglob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name for path in outputs] == ["img2.png", "img10.png", "portable.png"]


def test_unreadable_files_are_reported_and_the_others_are_drawn(mobilenet, dog_video, photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a broken.jpg").write_bytes(photo.read_bytes()[:5000])
    (folder / "b empty.png").touch()
    (folder / "c good.jpg").symlink_to(photo)
    (folder / "d cut.mp4").write_bytes(dog_video.read_bytes()[:300_000])
    (folder / "e zero.mp4").touch()
    (folder / "notes.txt").write_text("no picture")
    done = run("annotate", mobilenet, "in", "-o", "out", cwd=tmp_path)
    assert done.returncode == 1
    first, *problems = done.stderr.splitlines()
    assert first == "wrote 2 of 5 files (18 frames) to out, 1 left out"
    assert problems[0] == "camrt: in: left out: notes.txt (a text file)"
    named = [line.removeprefix("camrt: in/")[:6] for line in problems[1:]]
    assert sorted(set(named)) == ["a brok", "b empt", "d cut.", "e zero"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["c good.jpg", "d cut.mp4"]
    assert len(read_video(tmp_path / "out" / "d cut.mp4")[0]) == 17


def test_a_run_without_readable_files_fails_and_leaves_no_folder(mobilenet, photo, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(photo.read_bytes()[:5000])
    done = run("annotate", mobilenet, "broken.jpg", "-o", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "camrt: broken.jpg cannot be decoded" in done.stderr
    assert not (tmp_path / "out").exists()


def test_existing_files_are_replaced_only_with_overwrite(mobilenet, photo, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / photo.name).write_text("a drawing of ours")
    error = refusal("annotate", mobilenet, photo, "-o", "out", status=2, cwd=tmp_path)
    assert error.startswith(f"out/{photo.name} exist")
    assert (tmp_path / "out" / photo.name).read_text() == "a drawing of ours"
    succeeds("annotate", mobilenet, photo, "-o", "out", "--overwrite", cwd=tmp_path)
    assert cv2.imread(str(tmp_path / "out" / photo.name)) is not None


@pytest.mark.parametrize("output", ["in", "in/photo.jpg", "link"])
def test_an_input_is_never_replaced(mobilenet, photo, tmp_path, output):
    (tmp_path / "in").mkdir()
    shutil.copyfile(photo, tmp_path / "in" / "photo.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    error = refusal("annotate", mobilenet, "in/photo.jpg", "-o", output, "--overwrite", status=2, cwd=tmp_path)
    assert "in/photo.jpg would replace itself" in error
    assert (tmp_path / "in" / "photo.jpg").read_bytes() == photo.read_bytes()


def test_outputs_of_an_earlier_run_inside_the_folder_are_not_inputs(mobilenet, photo, tmp_path):
    shutil.copyfile(photo, tmp_path / "photo.jpg")
    for _ in range(2):
        done = run("annotate", mobilenet, ".", "-o", "out", "--overwrite", cwd=tmp_path)
        assert done.stderr == "wrote 1 of 1 files to out\n"


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        (["a.jpg"], "out.gif", "out.gif: a single image becomes a file that ends in .jpg"),
        (["a.jpg"], "out.mp4", "out.mp4: a single image becomes"),
        (["a.jpg", "sub"], "out.png", "out.png: a single image becomes"),
        (["notes.txt"], "out", "notes.txt is a text file, neither an image nor a video"),
        (["a.jpg", "--every", "0"], "out", "--every 0: at least 1"),
        (["a.jpg", "--resume", "--overwrite"], "out", "--resume keeps files that --overwrite replaces"),
        (["a.jpg", "--crop", "0,0,0,9"], "out", "the crop 0,0,0,9 must be X,Y,W,H"),
    ],
)
def test_inputs_and_outputs_that_do_not_fit_are_wrong_use(mobilenet, photo, tmp_path, inputs, output, reason):
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "sub/a.jpg", "sub/b.jpg"):
        (tmp_path / name).symlink_to(photo)
    (tmp_path / "notes.txt").write_text("no picture")
    assert refusal("annotate", mobilenet, *inputs, "-o", output, status=2, cwd=tmp_path).startswith(reason)
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize(
    ("source", "reason", "status"), [("none", "there is no none", 2), ("empty", "folder empty has no image", 1)]
)
def test_a_missing_input_is_refused(mobilenet, tmp_path, source, reason, status):
    (tmp_path / "empty").mkdir()
    assert refusal("annotate", mobilenet, source, "-o", "out", status=status, cwd=tmp_path).startswith(reason)


def test_deep_images_are_drawn_with_a_remark(mobilenet, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray((gradient_image()[..., 0] * np.uint16(16)).astype(np.uint16)).save(tmp_path / "in" / name)
    done = run("annotate", mobilenet, "in", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == "wrote 2 of 2 files to out\ncamrt: in/a.png and 1 more: read as 12 bits in 16\n"


def test_an_output_that_cannot_be_written_is_refused(mobilenet, photo, tmp_path):
    (tmp_path / "file").touch()
    error = refusal("annotate", mobilenet, photo, "-o", "file/out", status=1, cwd=tmp_path)
    assert error == "folder file/out cannot be created: Not a directory"


def test_a_terminal_shows_a_progress_bar(mobilenet, shared_data, tmp_path):
    terminal, other_end = pty.openpty()
    with subprocess.Popen(
        command("annotate", mobilenet, shared_data / "images_cls", "-o", tmp_path / "out"),
        env=environment(),
        stderr=other_end,
    ) as process:
        os.close(other_end)
        text = b""
        try:
            while part := os.read(terminal, 1024):
                text += part
        except OSError:  # a terminal raises it at the end of its output
            pass
        os.close(terminal)
        assert process.wait(60) == 0
    assert "[##############################] 20/20 images" in text.decode()
