"""What goes wrong at the command line: one line that says what, exit status 1 or 2, and nothing left behind."""

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


@pytest.fixture
def classifier(tmp_path):
    net = Net()
    return net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))


def refused(capsys, *arguments):
    """Run a command that must fail; return its status and its one line."""
    status = main([str(argument) for argument in arguments])
    out, error = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"camrt: [^\n]+\n", error)
    return status, error


def files(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_real_model(kept, shared_data, tmp_path, capsys):
    data = (shared_data / "models" / "resnet8_large_cifar10.onnx").read_bytes()
    (tmp_path / "in.onnx").write_bytes(data[: int(len(data) * kept)])
    status, error = refused(capsys, "attach", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx")
    assert status == 1
    assert "in.onnx" in error
    assert files(tmp_path) == ["in.onnx"]


@pytest.mark.parametrize("name", ["labels/imagenet1000.txt", "cam_reference/img1.jpg", "models"])
def test_something_real_that_is_no_model(name, shared_data, tmp_path, capsys):
    (tmp_path / "in.onnx").symlink_to(shared_data / name)
    status, error = refused(capsys, "attach", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx")
    assert status == 1
    assert "in.onnx" in error
    assert files(tmp_path) == ["in.onnx"]


def test_labels_of_another_number(classifier, shared_data, tmp_path, capsys):
    labels = shared_data / "labels" / "imagenet1000.txt"
    status, error = refused(capsys, "attach", classifier, "-o", tmp_path / "out.onnx", "--labels", labels)
    assert (status, "1000 labels" in error, "4 classes" in error) == (2, True, True)
    assert files(tmp_path) == ["in.onnx"]


def test_weights_that_are_no_numbers(tmp_path, capsys):
    net = Net()
    weights = net.const(np.full((CLASSES, CHANNELS), np.nan, np.float32), "fc")
    source = net.save(tmp_path / "in.onnx", net.op("Gemm", net.pooled(), weights, transB=1))
    status, error = refused(capsys, "attach", source, "-o", tmp_path / "out.onnx")
    assert (status, "'fc' hold 20 NaN" in error) == (1, True)
    assert files(tmp_path) == ["in.onnx"]


def test_a_full_disk(classifier, tmp_path, capsys):
    with largest_file(1000):
        status, error = refused(capsys, "attach", classifier, "-o", tmp_path / "out.onnx")
    assert (status, "out.onnx cannot be written" in error) == (1, True)
    assert files(tmp_path) == ["in.onnx"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that nobody, not even root, may write to")
def test_a_folder_that_takes_no_files(classifier, capsys):
    status, error = refused(capsys, "attach", classifier, "-o", "/proc/out.onnx")
    assert (status, "/proc/out.onnx cannot be written" in error) == (1, True)


def test_a_missing_folder_and_an_existing_file(classifier, tmp_path, capsys):
    assert refused(capsys, "attach", classifier, "-o", tmp_path / "nowhere" / "out.onnx")[0] == 2
    (tmp_path / "out.onnx").write_text("mine")
    status, error = refused(capsys, "attach", classifier, "-o", tmp_path / "out.onnx")
    assert (status, "--overwrite" in error) == (2, True)
    assert (tmp_path / "out.onnx").read_text() == "mine"


def test_a_factory_or_a_checkpoint_that_does_not_exist(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_of_this_test.py").write_text("import torch\n\ndef make():\n    return torch.nn.Linear(2, 2)\n")
    rest = ("--size", "8", "-o", tmp_path / "out.onnx")
    assert refused(capsys, "export", "no_such_package:make", *rest)[0] == 2
    assert refused(capsys, "export", "nets_of_this_test:no_such_factory", *rest)[0] == 2
    status, error = refused(capsys, "export", "nets_of_this_test:make", "--checkpoint", "none.pt", *rest)
    assert (status, "none.pt" in error) == (1, True)
    assert "out.onnx" not in files(tmp_path)


def interrupted(folder, reached, *arguments):
    """Start a command, press Ctrl-C once ``reached(process)``; return its status and what it said."""
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
@pytest.mark.skipif(sys.platform != "linux", reason="reads from /proc how far the command is")
@pytest.mark.parametrize("stage", ["onnx/onnx_cpp2py_export", "onnxruntime_pybind11_state"])
def test_ctrl_c_in_attach(stage, tmp_path):
    """A large input, so that there is work for seconds: to make pictures, and to verify the file on them."""
    net = Net()
    net.save(tmp_path / "in.onnx", net.gemm(net.pooled()), size="any")
    (tmp_path / "out.onnx").write_text("the old one")
    status, error = interrupted(
        tmp_path,
        lambda process: stage in Path(f"/proc/{process.pid}/maps").read_text(),
        *("attach", "in.onnx", "--size", "1024", "-o", "out.onnx", "--overwrite"),
    )
    assert (status, error) == (1, "camrt: interrupted\n")
    assert files(tmp_path) == ["in.onnx", "out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "the old one"


SLOW_NETWORK = """
import time
from pathlib import Path

import torch


class Slow(torch.nn.Module):
    calls = 0

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        self.fc = torch.nn.Linear(5, 4)

    def forward(self, pictures):
        Slow.calls += 1
        if Slow.calls == {call}:
            Path("reached").touch()
            time.sleep(60)
        return self.fc(self.body(pictures))
"""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 2, 3])
def test_ctrl_c_in_export(call, tmp_path):
    """While the network runs for the first time, while torch traces it, and while the file is verified."""
    (tmp_path / "slow.py").write_text(SLOW_NETWORK.format(call=call))
    reached = tmp_path / "reached"
    status, error = interrupted(
        tmp_path, lambda _: reached.exists(), "export", "slow:Slow", "--size", "16", "-o", "out.onnx"
    )
    assert (status, error) == (1, "camrt: interrupted\n")
    assert not [name for name in files(tmp_path) if "out.onnx" in name]
