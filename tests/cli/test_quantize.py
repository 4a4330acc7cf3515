"""``camrt quantize`` on a real model, and the other commands on its result."""

import json
import re
import signal
import subprocess
import sys

import cv2
import pytest

from support.command import camrt, interrupt, refusal, started, succeeds
from support.desktop import eventually
from support.events import read_events
from support.tiny_models import model_info, write_linear

pytestmark = pytest.mark.process

KEYS = {"size_ratio", "speedup", "top1_agreement", "pearson_median", "rank_median", "box_iou_median"}
WITHIN_S = 120
LEFT_OUT = "{}: left out: classes.json (a text file)\n"


@pytest.fixture(scope="module")
def photos(shared_data):
    return shared_data / "images_cls"


@pytest.fixture(scope="module")
def quantized(squeezenet, photos, tmp_path_factory):
    """SqueezeNet in 8-bit integers, its report, and its page."""
    folder = tmp_path_factory.mktemp("quantized")
    flags = ["-o", folder / "int8.onnx", "--calibrate", photos, "--json", "--html", folder / "report.html"]
    report = json.loads(succeeds("quantize", squeezenet, *flags))
    return folder / "int8.onnx", report, (folder / "report.html").read_text(encoding="utf-8")


def test_the_json_report_has_the_documented_keys(quantized, squeezenet):
    file, report, _ = quantized
    assert set(report) >= KEYS
    assert report["size_ratio"] == squeezenet.stat().st_size / file.stat().st_size > 3
    assert report["pearson_median"] > 0.98
    assert report["rank_median"] > 0.98
    assert report["box_iou_median"] > 0.9
    assert report["top1_agreement"] >= 0.9
    assert report["speedup"] > 0
    assert (report["calibrated_on"], report["evaluated_on"], report["held_out"]) == (7, 13, True)
    assert sum(row["images"] for row in report["classes"]) == 13


def test_the_page_loads_nothing_and_shows_both_files(quantized):
    _, report, page = quantized
    assert page.startswith("<!doctype html>")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    images = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    image_count = min(24, len(report["classes"])) + 6
    assert len(images) == 2 * image_count
    assert f"{report['top1_agreement']:.1%}" in page
    for row in report["classes"]:
        assert row["worst"] in page


def test_inspect_verifies_the_identity_of_uint8_maps(quantized, photo):
    file, report, _ = quantized
    inspected = json.loads(succeeds("inspect", file, "--verify", photo, "--json"))
    assert inspected["identity_holds"]
    assert inspected["identity_error"] <= 1e-4
    assert inspected["quantization"]["pearson_median"] == report["pearson_median"]
    assert "quantized" in succeeds("inspect", file)


def test_live_annotate_and_bench_accept_a_quantized_file(quantized, photo, dog_video, tmp_path):
    file, _, _ = quantized
    succeeds("annotate", file, photo, "-o", "seen.png", cwd=tmp_path)
    assert cv2.imread(str(tmp_path / "seen.png")).shape == cv2.imread(str(photo)).shape
    succeeds("live", file, "--source", photo, "-o", "out", "--events", "events.jsonl", cwd=tmp_path)
    (event,) = read_events(tmp_path / "events.jsonl")
    assert "terrier" in json.dumps(event)
    (run,) = json.loads(succeeds("bench", file, "--size", "64x48", "--rounds", "1", "--json"))["runs"]
    assert run["fps"]["overlay"] > 0


def test_a_video_calibrates_and_the_printed_report_has_all_rows(mobilenet, dog_video, tmp_path):
    shorter = tmp_path / "dog.mp4"
    reader, frames = cv2.VideoCapture(str(dog_video)), []
    while len(frames) < 30:
        frames.append(reader.read()[1])
    writer = cv2.VideoWriter(str(shorter), cv2.VideoWriter_fourcc(*"mp4v"), 25, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    done = camrt("quantize", mobilenet, "-o", "int8.onnx", "--calibrate", shorter, "--method", "minmax", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("int8.onnx: 8-bit integers, calibrated by minmax")
    assert "calibrated on 10, evaluated on 20 (other images)" in done.stdout
    for word in ("size", "speed", "classes", "maps", "worst"):
        assert re.search(rf"^  {word} ", done.stdout, re.MULTILINE)
    assert "dog.mp4, frame " in done.stdout


def test_half_floats_are_measured_on_other_images_and_classes_need_no_names(photos, tmp_path):
    write_linear(tmp_path / "in.onnx", info=model_info(labels=None))
    printed = succeeds("quantize", "in.onnx", "-o", "half.onnx", "--calibrate", photos, "--fp16", cwd=tmp_path)
    assert printed.startswith(
        "half.onnx: 16-bit floats\n  images     calibrated on 7, evaluated on 13 (other images)\n"
    )
    assert re.search(r"worst      class \d: ", printed)


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["in.onnx", "-o", "out.onnx", "--calibrate", "nowhere"], 2, "there is no nowhere"),
        (["in.onnx", "-o", "out.onnx", "--calibrate", "empty"], 2, "no images in empty"),
        (
            ["in.onnx", "-o", "out.onnx", "--calibrate", "text.txt"],
            2,
            "text.txt is a text file, neither an image nor a video",
        ),
        (["text.txt", "-o", "out.onnx", "--calibrate", "PHOTOS"], 1, "not an ONNX model"),
        (["missing.onnx", "-o", "out.onnx", "--calibrate", "PHOTOS"], 2, "missing.onnx"),
        (["in.onnx", "-o", "in.onnx", "--calibrate", "PHOTOS"], 2, "in.onnx is the input itself"),
        (["in.onnx", "-o", "text.txt", "--calibrate", "PHOTOS"], 2, "text.txt exists"),
        (["in.onnx", "-o", "out.onnx", "--calibrate", "PHOTOS", "--html", "text.txt"], 2, "text.txt exists"),
        (["in.onnx", "-o", "out.onnx", "--calibrate", "PHOTOS", "--html", "no/page.html"], 2, "no folder no"),
        (
            ["in.onnx", "-o", "out.onnx", "--calibrate", "PHOTOS", "--fp16", "--method", "entropy"],
            2,
            "16-bit floats have none",
        ),
    ],
)
def test_an_error_is_one_line_and_leaves_no_file(flags, status, message, photos, tmp_path):
    write_linear(tmp_path / "in.onnx")
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    words = [str(photos) if word == "PHOTOS" else word for word in flags]
    assert message in refusal("quantize", *words, status=status, cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_quantized_file_is_refused(quantized, photos, tmp_path):
    file, _, _ = quantized
    error = refusal("quantize", file, "-o", tmp_path / "again.onnx", "--calibrate", photos, status=1)
    assert "is quantized already (int8)" in error
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_file(squeezenet, photos, tmp_path, how):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "here").mkdir()
    flags = ["-o", "out.onnx", "--calibrate", photos, "--method", "entropy"]
    with started("quantize", squeezenet, *flags, cwd=tmp_path / "here", TMPDIR=str(temporary)) as process:
        assert eventually(lambda: any(temporary.iterdir()), within_s=WITHIN_S)
        status, errors = interrupt(process, how)
    assert (status, errors) == (1, f"{LEFT_OUT.format(photos)}camrt: interrupted\n")
    assert not any((tmp_path / "here").iterdir())
    assert not any(temporary.glob("camrt-*"))


def test_the_html_report_needs_no_benchmarks(photos, tmp_path):
    write_linear(tmp_path / "in.onnx")
    code = "import sys; sys.modules['camrt.benchmarks'] = None; from camrt.cli import main; sys.exit(main())"
    flags = ["in.onnx", "-o", "out.onnx", "--calibrate", str(photos), "--html", "report.html"]
    done = subprocess.run(
        [sys.executable, "-c", code, "quantize", *flags], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, LEFT_OUT.format(photos))
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_help_needs_neither_onnx_nor_torch():
    code = "import sys; sys.modules['onnx'] = sys.modules['torch'] = None; from camrt.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "quantize", "--help"], capture_output=True, text=True, check=True
    )
    assert "--calibrate" in done.stdout
    for flag in ("--method", "--fp16", "--html", "--json", "--overwrite"):
        assert flag in done.stdout
