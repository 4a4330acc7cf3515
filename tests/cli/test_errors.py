"""Bad input ends in one line that says what to do, with the right exit status, and leaves no files."""

import subprocess
from pathlib import Path

import pytest

from support.command import camrt, command, refusal
from support.needs import environment
from support.videos import read_video

pytestmark = pytest.mark.process


@pytest.mark.parametrize("name", ["truncated.onnx", "empty.onnx", "text.onnx"])
@pytest.mark.parametrize(
    "task", [["inspect"], ["live", "--source", "p.jpg", "-o", "o"], ["annotate", "p.jpg", "-o", "o"]]
)
def test_a_file_that_is_no_model_is_refused(squeezenet, photo, tmp_path, name, task):
    (tmp_path / "truncated.onnx").write_bytes(squeezenet.read_bytes()[:100_000])
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("hello, I am no model\n")
    (tmp_path / "p.jpg").symlink_to(photo)
    error = refusal(task[0], name, *task[1:], status=1, cwd=tmp_path)
    assert error.startswith(f"{name} (")
    assert "bytes) is not a model" in error
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("task", [["bench"], ["live", "--source", "0"]])
def test_an_onnx_classifier_is_refused_with_the_command_that_converts_it(shared_data, task):
    path = shared_data / "models" / "squeezenet11_caffe.onnx"
    error = refusal(task[0], path, *task[1:], status=1)
    assert f"camrt attach {path} -o squeezenet11_caffe.cam.onnx" in error


def test_a_missing_model_is_refused(tmp_path):
    assert refusal("inspect", "none.onnx", status=2, cwd=tmp_path) == "no model file at none.onnx"
    assert refusal("bench", tmp_path, status=2) == f"no model file at {tmp_path}: it is a folder"


@pytest.mark.parametrize(
    ("source", "reason", "status"),
    [
        ("zero.mp4", "zero.mp4 is empty (0 bytes)", 1),
        ("headless.mp4", "headless.mp4 cannot be opened as a video (300000 bytes): it is truncated", 1),
        ("none.mp4", "there is no none.mp4", 2),
        ("97", "no camera 97 (/dev/video97)", 1),
        ("broken.jpg", "broken.jpg cannot be decoded (5000 bytes): the JPEG file is truncated or damaged", 1),
        ("no*.jpg", "no*.jpg matches no files", 2),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(mobilenet, shared_data, photo, tmp_path, source, reason, status):
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "headless.mp4").write_bytes((shared_data / "videos" / "cockatoo.mp4").read_bytes()[:300_000])
    (tmp_path / "broken.jpg").write_bytes(photo.read_bytes()[:5000])
    before = set(tmp_path.iterdir())
    outputs = ["-o", "out.mp4", "-o", "pictures", "--events", "e.jsonl"]
    error = refusal("live", mobilenet, "--source", source, *outputs, status=status, cwd=tmp_path)
    assert error.startswith(reason)
    assert set(tmp_path.iterdir()) == before


def test_a_truncated_video_gives_its_readable_frames(mobilenet, dog_video, tmp_path):
    (tmp_path / "cut.mp4").write_bytes(dog_video.read_bytes()[:300_000])
    done = camrt("live", mobilenet, "--source", "cut.mp4", "-o", "out.mp4", cwd=tmp_path)
    assert done.returncode == 1
    assert "camrt: cut.mp4 stops after frame 17 of 336: truncated or damaged?" in done.stderr.splitlines()
    assert len(read_video(tmp_path / "out.mp4")[0]) == 17


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--classes", "unicorn"], "has no class 'unicorn'; camrt inspect"),
        (["--classes", "1001"], "has no class '1001'"),
        (["--classes", "dog"], "classes match 'dog': 154 (Maltese dog"),
        (["--classes", ""], "an empty class name"),
        (["--classes", "tench,"], "an empty class name"),
        (["--colormap", "rainbow"], "no colour map 'rainbow'; known: turbo, jet"),
        (["--normalize", "range"], "normalize 'range': write shared, minmax, relu_max, running, or two numbers"),
        (["--normalize", "1,2,3"], "normalize '1,2,3': write"),
        (["--normalize", "3,1"], "normalize '3,1' must be two numbers from -1e+30 to 1e+30, the first less"),
        (["--normalize", "0,inf"], "must be two numbers from"),
        (["--normalize=-1e308,1e308"], "must be two numbers from"),
        (["--alpha", "1.5"], "alpha 1.5 must be within [0, 1]"),
        (["--alpha", "nan"], "alpha nan must be within [0, 1]"),
        (["--frames", "0"], "--frames 0: at least one"),
        (["--threads", "0"], "threads 0 must be at least 1"),
        (["--provider", "gpu"], "no provider 'gpu'; known: auto, tensorrt, cuda"),
        (["-o", "out.txt"], "out.txt: a video ends in .mp4"),
        (["-o", "./out.mp4"], "out.mp4 is named twice"),
        (["--events", "out.mp4"], "out.mp4 is named twice"),
        (["--events", "."], ". is a folder; name a file in it"),
        (["--source", "rtsq://host/a"], "rtsq:// addresses cannot be read"),
    ],
)
def test_an_invalid_option_is_wrong_use(mobilenet, photo, tmp_path, flags, reason):
    error = refusal("live", mobilenet, "--source", photo, "-o", "out.mp4", *flags, status=2, cwd=tmp_path)
    assert reason in error
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["live"], ["annotate", "m.onnx", "p.jpg"], ["live", "m.onnx", "--alpha", "much"], ["inspect"]],
)
def test_a_command_that_cannot_be_parsed_is_wrong_use(arguments):
    done = camrt(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_provider_that_cannot_run_is_refused(mobilenet, photo, tmp_path):
    error = refusal("live", mobilenet, "--source", photo, "-o", tmp_path / "o", "--provider", "qnn", status=1)
    assert error.startswith("provider 'qnn' cannot run")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["-o", "file/out.mp4"], "file/out.mp4 cannot be written: Not a directory"),
        (["-o", "file/pictures"], "folder file/pictures cannot be created: Not a directory"),
        (["-o", "file"], "file is a file; images need a folder"),
        (["-o", "none/out.mp4"], "none/out.mp4 cannot be written: No such file or directory"),
        (["-o", "/proc/out.mp4"], "/proc/out.part.mp4 cannot be written"),
        (["--events", "file/e.jsonl"], "file/e.jsonl cannot be written: Not a directory"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(mobilenet, photo, tmp_path, flags, reason):
    (tmp_path / "file").write_text("here before")
    error = refusal("live", mobilenet, "--source", photo, *flags, status=1, cwd=tmp_path)
    assert error.startswith(reason)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_events_on_a_full_disk_end_the_run(mobilenet, dog_video):
    error = refusal("live", mobilenet, "--source", dog_video, "--events", "/dev/full", status=1)
    assert error == "/dev/full cannot be written: No space left on device"


def limited(kibibytes, *arguments, cwd):
    """Run ``camrt`` with a limit on the size of each file, as on a disk that fills up."""
    shell = ["bash", "-c", f'ulimit -f {kibibytes} && exec "$@"', "bash"]
    return subprocess.run(
        [*shell, *command(*arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("outputs", "leftovers"),
    [(["-o", "out.mp4"], []), (["--events", "e.jsonl"], ["e.jsonl"]), (["-o", "pictures"], [])],
)
def test_a_full_disk_leaves_no_incomplete_file(mobilenet, dog_video, tmp_path, outputs, leftovers):
    done = limited(20, "live", mobilenet, "--source", dog_video, "--frames", "60", *outputs, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "camrt: " in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == leftovers
    for path in tmp_path.iterdir():  # an event log has complete lines only
        assert path.read_bytes().endswith(b"}\n")


def test_annotate_on_a_full_disk_keeps_complete_files(mobilenet, shared_data, tmp_path):
    done = limited(40, "annotate", mobilenet, shared_data / "images_cls", "-o", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_live_without_a_display_suggests_output_files(mobilenet, photo):
    error = refusal("live", mobilenet, "--source", photo, status=1)
    advice = "Use a browser or files instead: --serve, --output, --events"
    assert error == f"no window can be opened: no display (DISPLAY is not set). {advice}"


def test_a_closed_pipe_ends_the_command_silently(mobilenet, squeezenet):
    for arguments in (["inspect", squeezenet, "--labels"], ["inspect", mobilenet, "--json"], ["inspect", mobilenet]):
        with subprocess.Popen(
            command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(60) == 1


def test_a_closed_pipe_of_events_ends_the_run(mobilenet, dog_video):
    pipe = subprocess.run(
        ["bash", "-c", '"$@" | head -n 1', "bash", *command("live", mobilenet, "--source", dog_video, "--events", "-")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert pipe.stdout.startswith('{"frame": 0, ')
    assert pipe.stdout.count("\n") == 1
    assert pipe.stderr.splitlines()[-1] == "camrt: the events cannot be written to the standard output: Broken pipe"


def test_a_full_standard_output_is_an_error(mobilenet):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("inspect", mobilenet),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "camrt: [Errno 28] No space left on device\n")


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (["inspect", "none.onnx"], 2, "camrt.errors.MissingInput: no model file at none.onnx"),
        (["annotate", "none.onnx", "a.jpg", "-o", "out"], 2, "camrt.errors.MissingInput: there is no a.jpg"),
        (["inspect", "text.onnx"], 1, "camrt.errors.ModelFileError: text.onnx "),
    ],
)
def test_debug_shows_the_traceback_and_keeps_the_exit_status(arguments, status, error, tmp_path):
    (tmp_path / "text.onnx").write_text("hello\n" * 100)
    for words in ([*arguments, "--debug"], [arguments[0], "--debug", *arguments[1:]]):
        done = camrt(*words, cwd=tmp_path)
        assert done.returncode == status
        assert done.stderr.count("Traceback (most recent call last)") == 1
        assert done.stderr.splitlines()[-1].startswith(error)
