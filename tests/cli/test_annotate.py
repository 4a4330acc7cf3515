"""``camrt annotate`` over real photos and videos: every frame once, in order, and nothing is lost on the way."""

import json
import os
import pty
import shutil
import subprocess

import cv2
import numpy as np
import pytest

import camrt
from support.command import camrt as run
from support.command import command, refusal, succeeds
from support.needs import environment
from support.videos import read_video


@pytest.fixture
def kinds(photo, tmp_path):
    """A folder with one photo as every kind of picture, and what a classifier is to see of each."""
    folder = tmp_path / "kinds"
    (folder / "deeper" / "still").mkdir(parents=True)
    colour = cv2.imread(str(photo))
    grey = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    pictures = {
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
    for name, image in pictures.items():
        assert cv2.imwrite(str(folder / name), image)
    seen = {name: cv2.imread(str(folder / name), cv2.IMREAD_COLOR) for name in pictures}
    np.testing.assert_array_equal(seen["deep16.png"], colour)
    _, jpeg = cv2.imencode(".jpg", colour)
    # An Exif segment that says: turn me by 90 degrees (orientation 6).
    orientation = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(orientation) + 2).to_bytes(2, "big") + orientation
    (folder / "turned.jpg").write_bytes(jpeg[:2].tobytes() + segment + jpeg[2:].tobytes())
    seen["turned.jpg"] = cv2.rotate(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.ROTATE_90_CLOCKWISE)
    return folder, seen


def test_every_kind_of_picture_is_drawn_as_it_is_seen_in_its_own_size_and_place(squeezenet, kinds, tmp_path):
    folder, seen = kinds
    done = run("annotate", squeezenet, folder, "-o", tmp_path / "out", "--no-hud")
    assert (done.returncode, done.stderr) == (0, f"wrote 12 of 12 files to {tmp_path / 'out'}\n")
    model = camrt.load(squeezenet)
    for name, frame in seen.items():
        written = tmp_path / "out" / name.replace(".ppm", ".png")
        expected = model(frame).draw(frame)
        drawn = cv2.imread(str(written))
        assert drawn.shape == expected.shape
        assert np.abs(drawn.astype(int) - expected).mean() < (3 if name.endswith(".jpg") else 1e-9), name
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == len(seen)


@pytest.mark.parametrize("folder", ["images_boxes", "images_cls"])
def test_a_folder_of_real_photos_is_drawn_whole(squeezenet, shared_data, tmp_path, folder):
    photos = [path for path in (shared_data / folder).iterdir() if path.suffix != ".json"]
    done = run("annotate", squeezenet, shared_data / folder, "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, f"wrote {len(photos)} of {len(photos)} files to out\n")
    for photo in photos:
        assert cv2.imread(str(tmp_path / "out" / photo.name)).shape == cv2.imread(str(photo)).shape


def test_the_heat_lies_on_the_objects_of_real_photos(squeezenet, shared_data, tmp_path):
    """The hottest pixel of the drawn pictures falls into the object's box: the pointing game, on finished files."""
    boxes = json.loads((shared_data / "images_boxes" / "boxes.json").read_text())
    model = camrt.load(squeezenet)
    hits = []
    for row in boxes:
        photo = shared_data / "images_boxes" / row["file"]
        frame = cv2.imread(str(photo))
        if model(frame).class_id != row["imagenet_index"]:
            continue
        # Opaque and from black to white: what is written is the heat itself.
        flags = ["--no-hud", "--alpha", "1", "--colormap", "bone", "-o", tmp_path / f"{photo.stem}.png"]
        if len(hits) < 8:  # a process each
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
    drawn, fps = read_video(tmp_path / "out.mp4")
    assert (len(drawn), drawn[0].shape, fps) == (30, source[0].shape, pytest.approx(source_fps, abs=0.01))
    model = camrt.load(mobilenet)
    for frame, overlay in zip(source, drawn, strict=True):
        assert np.abs(overlay.astype(int) - model(frame).draw(frame)).mean() < 5  # what MPEG-4 takes away


def test_photos_folders_and_videos_go_in_together(mobilenet, kinds, photo, shared_data, tmp_path):
    folder, _ = kinds
    clip = tmp_path / "clip.avi"
    video = shared_data / "videos" / "bottle-detection.mp4"
    succeeds("live", mobilenet, "--source", video, "-o", clip, "--frames", "4", "--no-hud")
    inputs = [clip, folder / "deeper", photo, folder / "deeper" / "img2.png"]  # the last is named twice
    done = run("annotate", mobilenet, *inputs, "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "wrote 5 of 5 files (8 frames) to out\n")
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == {"clip.avi", "img2.png", "img10.png", "still/portable.png", photo.name}


def test_the_order_is_that_of_the_numbers_in_the_names(mobilenet, kinds, tmp_path):
    succeeds("annotate", mobilenet, kinds[0] / "deeper", "-o", tmp_path / "out")
    written = sorted((tmp_path / "out").rglob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name for path in written] == ["img2.png", "img10.png", "portable.png"]


def test_what_cannot_be_read_is_named_and_the_rest_is_done(mobilenet, dog_video, photo, tmp_path):
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
    assert first == "wrote 2 of 5 files (18 frames) to out"
    named = [line.removeprefix("camrt: in/")[:6] for line in problems]
    assert list(dict.fromkeys(named)) == ["a brok", "b empt", "d cut.", "e zero"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["c good.jpg", "d cut.mp4"]
    assert len(read_video(tmp_path / "out" / "d cut.mp4")[0]) == 17


def test_nothing_readable_is_a_failure_that_leaves_no_folder(mobilenet, photo, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(photo.read_bytes()[:5000])
    done = run("annotate", mobilenet, "broken.jpg", "-o", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "camrt: broken.jpg cannot be decoded" in done.stderr
    assert not (tmp_path / "out").exists()


def test_old_files_are_replaced_only_when_allowed(mobilenet, photo, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / photo.name).write_text("a drawing of ours")
    said = refusal("annotate", mobilenet, photo, "-o", "out", status=2, cwd=tmp_path)
    assert said.startswith(f"out/{photo.name} exist")
    assert (tmp_path / "out" / photo.name).read_text() == "a drawing of ours"
    succeeds("annotate", mobilenet, photo, "-o", "out", "--overwrite", cwd=tmp_path)
    assert cv2.imread(str(tmp_path / "out" / photo.name)) is not None


@pytest.mark.parametrize("output", ["in", "in/photo.jpg", "link"])
def test_an_input_is_never_replaced(mobilenet, photo, tmp_path, output):
    (tmp_path / "in").mkdir()
    shutil.copyfile(photo, tmp_path / "in" / "photo.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    said = refusal("annotate", mobilenet, "in/photo.jpg", "-o", output, "--overwrite", status=2, cwd=tmp_path)
    assert "in/photo.jpg would replace itself" in said
    assert (tmp_path / "in" / "photo.jpg").read_bytes() == photo.read_bytes()


def test_what_an_earlier_run_wrote_inside_the_folder_is_not_read_again(mobilenet, photo, tmp_path):
    shutil.copyfile(photo, tmp_path / "photo.jpg")
    for _ in range(2):
        done = run("annotate", mobilenet, ".", "-o", "out", "--overwrite", cwd=tmp_path)
        assert done.stderr == "wrote 1 of 1 files to out\n"


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        (["a.jpg", "sub/a.jpg"], "out", "a.jpg and sub/a.jpg would both become out/a.jpg"),
        (["a.jpg"], "out.gif", "out.gif: a single image becomes a file that ends in .jpg"),
        (["a.jpg"], "out.mp4", "out.mp4: one picture becomes"),
        (["a.jpg", "sub"], "out.png", "out.png: one picture becomes"),
        (["notes.txt"], "out", "notes.txt: its suffix is neither of an image nor of a video"),
    ],
)
def test_what_makes_no_sense_is_wrong_use(mobilenet, photo, tmp_path, inputs, output, reason):
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "sub/a.jpg", "sub/b.jpg", "notes.txt"):
        (tmp_path / name).symlink_to(photo)
    assert refusal("annotate", mobilenet, *inputs, "-o", output, status=2, cwd=tmp_path).startswith(reason)
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize(("given", "reason"), [("none", "there is no none"), ("empty", "folder empty has no picture")])
def test_an_input_that_is_not_there_is_named(mobilenet, tmp_path, given, reason):
    (tmp_path / "empty").mkdir()
    assert refusal("annotate", mobilenet, given, "-o", "out", status=1, cwd=tmp_path).startswith(reason)


def test_an_output_that_cannot_be_written_is_named(mobilenet, photo, tmp_path):
    (tmp_path / "file").touch()
    said = refusal("annotate", mobilenet, photo, "-o", "file/out", status=1, cwd=tmp_path)
    assert said == "folder file/out cannot be created: Not a directory"


def test_on_a_terminal_a_bar_shows_how_far_it_is(mobilenet, shared_data, tmp_path):
    terminal, other_end = pty.openpty()
    with subprocess.Popen(
        command("annotate", mobilenet, shared_data / "images_cls", "-o", tmp_path / "out"),
        env=environment(),
        stderr=other_end,
    ) as process:
        os.close(other_end)
        shown = b""
        try:
            while part := os.read(terminal, 1024):
                shown += part
        except OSError:  # what a terminal says where others say end of file
            pass
        os.close(terminal)
        assert process.wait(60) == 0
    assert "[##############################] 20/20 pictures" in shown.decode()
