"""``camrt train``: one command from a folder to a model file, killed and continued, and its errors."""

import json
import signal
import time

import pytest
import torch

import camrt
from support import small_disk
from support.command import camrt as run_camrt
from support.command import command, refusal, started, succeeds
from support.training_data import write_class, write_parts

pytestmark = pytest.mark.process

KEYS = {"classes", "train_images", "val_images", "top1", "per_class", "model", "seconds", "map_overhead"}
FLAGS = ("--backbone", "gap-xs", "--batch", "8", "--seed", "5")
WITHIN_S = 300


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("data"), train=12, val=6)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The JSON report, the lines of the epochs, and the folder."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = run_camrt("train", data, "-o", folder, *FLAGS, "--epochs", "3", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), [line for line in done.stderr.splitlines() if line.startswith("epoch")], folder


def weights(folder):
    return torch.load(folder / "best.pt", weights_only=True)["network"]


def assert_same_weights(folder, other):
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(folder).items())


def test_the_json_report_has_the_documented_keys(trained):
    report, lines, folder = trained
    assert set(report) >= KEYS
    assert (report["train_images"], report["val_images"], report["classes"]) == (24, 12, ["ant", "bee"])
    assert camrt.load(report["model"], provider="cpu").labels == ("ant", "bee")
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert report["epochs"] == 3
    names = {"args.toml", "best.pt", "last.pt", "model.onnx", "results.csv", "per_class.csv", "curves.png"}
    names |= {"confusion.png", "timelapse.mp4", "maps", "report.json", "report.html", "audit.json"}
    assert {path.name for path in folder.iterdir()} >= names
    audit = json.loads((folder / "audit.json").read_text())
    assert (audit["images"], [one["class"] for one in audit["classes"]]) == (12, ["ant", "bee"])
    assert "ant" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_killed_repetition_goes_on_with_the_same_result(data, trained, tmp_path):
    """SIGKILL, at a moment that the machine chooses, after the first epoch; the settings come from args.toml."""
    _, _, folder = trained
    run, settings = tmp_path / "killed", ("--config", folder / "args.toml")
    with started("train", *settings, "-o", run) as process:
        until = time.monotonic() + WITHIN_S
        while not (run / "best.pt").is_file() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(WITHIN_S)
    assert (run / "best.pt").is_file()
    assert not (run / "model.onnx").is_file()
    assert "go on with it with --resume" in refusal("train", data, "-o", run, *FLAGS, status=2)
    assert "epoch 3/3" in succeeds("train", *settings, "-o", run, "--resume")
    assert_same_weights(folder, run)
    assert (run / "args.toml").read_text() == (folder / "args.toml").read_text()


def test_a_full_disk_is_one_line_and_keeps_what_is_there(data, tmp_path):
    flags = ["--backbone", "gap-l", "--batch", "8", "--epochs", "2"]
    done = small_disk.run(command("train", data, "-o", "disk/run", *flags), tmp_path, size="3m")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("one",), 2, "has one class, 'ant'"),
        (("two", "--epochs", "0"), 2, "--epochs 0 must be at least 1"),
        (("two", "--weights", "none.pt"), 2, "none.pt cannot be read"),
        (("two", "--backbone", "no_such_module:make"), 2, "No module named 'no_such_module'"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, arguments, status, message):
    for folder, labels in (("one", ["ant"]), ("two", ["ant", "bee"])):
        for label in labels:
            write_class(tmp_path / folder, label, 3)
    name, *flags = arguments
    assert message in refusal("train", name, "-o", "run", *flags, status=status, cwd=tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_time_that_is_none_is_refused(tmp_path):
    done = run_camrt("train", tmp_path, "-o", tmp_path / "run", "--time", "soon")
    assert done.returncode == 2
    assert "'soon' is no time above 0 like 90s, 10m or 2h" in done.stderr
