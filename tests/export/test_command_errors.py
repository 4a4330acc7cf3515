"""Errors of `camrt attach` and `camrt export`: one line, exit status 1 or 2, and no file left behind."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from camrt.cli import main
from support.export_graphs import CHANNELS, CLASSES, Net
from support.limits import largest_file
from support.needs import environment

PATIENCE_S = 120


def error_of(capsys, *arguments):
    """Run a command that must fail; return its exit status and its error line."""
    status = main([str(argument) for argument in arguments])
    out, error = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"camrt: [^\n]+\n", error)
    return status, error


def file_names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_truncated_model_is_refused(kept, shared_data, tmp_path, capsys):
    data = (shared_data / "models" / "resnet8_large_cifar10.onnx").read_bytes()
    (tmp_path / "in.onnx").write_bytes(data[: int(len(data) * kept)])
    status, error = error_of(capsys, "attach", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx")
    assert status == 1
    assert "in.onnx" in error
    assert file_names(tmp_path) == ["in.onnx"]


@pytest.mark.parametrize("name", ["labels/imagenet1000.txt", "cam_reference/img1.jpg", "models"])
def test_file_that_is_no_model_is_refused(name, shared_data, tmp_path, capsys):
    (tmp_path / "in.onnx").symlink_to(shared_data / name)
    status, error = error_of(capsys, "attach", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx")
    assert status == 1
    assert "in.onnx" in error
    assert file_names(tmp_path) == ["in.onnx"]


def test_wrong_number_of_labels_is_refused(classifier, shared_data, tmp_path, capsys):
    labels = shared_data / "labels" / "imagenet1000.txt"
    status, error = error_of(capsys, "attach", classifier, "-o", tmp_path / "out.onnx", "--labels", labels)
    assert (status, "1000 labels" in error, "4 classes" in error) == (2, True, True)
    assert file_names(tmp_path) == ["in.onnx"]


def test_nan_weights_are_refused(tmp_path, capsys):
    net = Net()
    weights = net.const(np.full((CLASSES, CHANNELS), np.nan, np.float32), "fc")
    source = net.save(tmp_path / "in.onnx", net.op("Gemm", net.pooled(), weights, transB=1))
    status, error = error_of(capsys, "attach", source, "-o", tmp_path / "out.onnx")
    assert (status, "'fc' hold 20 NaN" in error) == (1, True)
    assert file_names(tmp_path) == ["in.onnx"]


def test_full_disk_leaves_no_file(classifier, tmp_path, capsys):
    with largest_file(1000):
        status, error = error_of(capsys, "attach", classifier, "-o", tmp_path / "out.onnx")
    assert (status, "out.onnx cannot be written" in error) == (1, True)
    assert file_names(tmp_path) == ["in.onnx"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that not even root may write to")
def test_folder_that_cannot_be_written_is_named(classifier, capsys):
    status, error = error_of(capsys, "attach", classifier, "-o", "/proc/out.onnx")
    assert (status, "/proc/out.onnx cannot be written" in error) == (1, True)


def test_missing_folder_and_existing_file_are_refused(classifier, tmp_path, capsys):
    assert error_of(capsys, "attach", classifier, "-o", tmp_path / "nowhere" / "out.onnx")[0] == 2
    (tmp_path / "out.onnx").write_text("mine")
    status, error = error_of(capsys, "attach", classifier, "-o", tmp_path / "out.onnx")
    assert (status, "--overwrite" in error) == (2, True)
    assert (tmp_path / "out.onnx").read_text() == "mine"


def test_missing_factory_or_checkpoint_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_of_this_test.py").write_text("import torch\n\ndef make():\n    return torch.nn.Linear(2, 2)\n")
    rest = ("--size", "8", "-o", tmp_path / "out.onnx")
    assert error_of(capsys, "export", "no_such_package:make", *rest)[0] == 2
    assert error_of(capsys, "export", "nets_of_this_test:no_such_factory", *rest)[0] == 2
    status, error = error_of(capsys, "export", "nets_of_this_test:make", "--checkpoint", "none.pt", *rest)
    assert (status, "none.pt" in error) == (2, True)
    assert "out.onnx" not in file_names(tmp_path)


def interrupt_when(folder, reached, *arguments):
    """Start a command, send Ctrl-C once ``reached(process)``; return its exit status and its standard error."""
    command = [sys.executable, "-m", "camrt.cli", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + PATIENCE_S
    while not reached(process):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=PATIENCE_S)
    assert out == ""
    return process.returncode, error


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="reads the command's progress from /proc")
@pytest.mark.parametrize("stage", ["onnx/onnx_cpp2py_export", "onnxruntime_pybind11_state"])
def test_ctrl_c_in_attach_leaves_the_old_file(stage, tmp_path):
    """A large input takes seconds, both to make the images and to verify the file on them."""
    net = Net()
    net.save(tmp_path / "in.onnx", net.gemm(net.pooled()), size="any")
    (tmp_path / "out.onnx").write_text("the old one")
    status, error = interrupt_when(
        tmp_path,
        lambda process: stage in Path(f"/proc/{process.pid}/maps").read_text(),
        *("attach", "in.onnx", "--size", "1024", "-o", "out.onnx", "--overwrite"),
    )
    assert (status, error) == (1, "camrt: interrupted\n")
    assert file_names(tmp_path) == ["in.onnx", "out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "the old one"


SLOW_NETWORK = """
import time
from pathlib import Path

import torch


class Slow(torch.nn.Module):
    calls = 0

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        self.fc = torch.nn.Linear(5, 4)

    def forward(self, images):
        Slow.calls += 1
        if Slow.calls == {call}:
            Path("reached").touch()
            time.sleep(60)
        return self.fc(self.backbone(images))
"""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 2, 3])
def test_ctrl_c_in_export_leaves_no_file(call, tmp_path):
    """During the first run of the network, during torch's trace, and during the verification."""
    (tmp_path / "slow.py").write_text(SLOW_NETWORK.format(call=call))
    reached = tmp_path / "reached"
    status, error = interrupt_when(
        tmp_path, lambda _: reached.exists(), "export", "slow:Slow", "--size", "16", "-o", "out.onnx"
    )
    assert (status, error) == (1, "camrt: interrupted\n")
    assert not [name for name in file_names(tmp_path) if "out.onnx" in name]
