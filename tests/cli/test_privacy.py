"""No hidden network access: commands run in a network of their own, in which every name leads to the test."""

import importlib.metadata
import json
import shutil
import subprocess
import sys

import onnxruntime
import pytest

from support import REPOSITORY
from support.command import command
from support.needs import environment, skip_or_fail
from support.serving import DEMO
from support.tiny_models import write_linear

pytestmark = [pytest.mark.process, pytest.mark.slow]

_TRAP = REPOSITORY / "tests" / "support" / "lonely_network.py"


def in_lonely_network(*words, seconds, cwd, **changes):
    """Run a command for so many seconds at most, and return the report of `lonely_network`."""
    if shutil.which("unshare") is None:
        skip_or_fail("unshare is not installed")
    prefix = ["unshare", "--net", "--mount", "--map-root-user", sys.executable, str(_TRAP), str(seconds)]
    settings = environment(**changes)
    settings.pop("DISPLAY", None)
    settings.pop("CI", None)  # with it, ONNX Runtime sends nothing in any case
    done = subprocess.run([*prefix, *words], cwd=cwd, env=settings, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr:
        skip_or_fail(f"no network of its own: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_half_a_minute_of_live_asks_for_nothing(tmp_path):
    words = ("live", DEMO, "--source", "synthetic", "--output", "none", "--serve", 0)
    report = in_lonely_network(*command(*words), seconds=45, cwd=tmp_path)
    assert "frames in" in report["errors"]
    assert (report["names"], report["ports"]) == ([], [])


def test_the_trap_catches_the_usage_data_of_onnx_runtime(tmp_path):
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) != (1, 32):
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} may send no usage data")
    words = command("live", DEMO, "--source", "synthetic", "--output", "none")
    report = in_lonely_network(*words, seconds=60, cwd=tmp_path, ORT_DISABLE_TELEMETRY="0")
    assert report["names"] != []


def test_the_trap_catches_a_request(tmp_path):
    code = "import socket; socket.create_connection(('usage.example.com', 443))"
    report = in_lonely_network(sys.executable, "-c", code, seconds=60, cwd=tmp_path)
    assert report["status"] == 0, report["errors"]
    assert (report["names"], report["ports"]) == (["usage.example.com"], [443])


@pytest.mark.parametrize(
    "words",
    [
        ("attach", "squeezenet.onnx", "-o", "out.onnx"),
        ("quantize", "in.onnx", "-o", "out.onnx", "--calibrate", "photos"),
        ("inspect", DEMO, "--verify"),
        ("annotate", DEMO, "photos", "-o", "annotated"),
        ("collect", DEMO, "photos", "-o", "maps.parquet"),
        ("bench", DEMO, "--rounds", 1),
        ("export", "nets:net", "--size", "32", "-o", "out.onnx"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_asks_for_nothing(tmp_path, shared_data, words):
    write_linear(tmp_path / "in.onnx")
    shutil.copy(shared_data / "models" / "squeezenet11_caffe.onnx", tmp_path / "squeezenet.onnx")
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))\n"
    )
    shutil.copytree(shared_data / "images_cls", tmp_path / "photos", ignore=shutil.ignore_patterns("*.json"))
    report = in_lonely_network(*command(*words), seconds=300, cwd=tmp_path)
    assert report["status"] == 0, report["errors"]
    assert (report["names"], report["ports"]) == ([], [])


LIBRARIES = """
import os, time

os.environ["KERAS_BACKEND"] = "torch"
import camrt.benchmarks.compare.baselines  # imports torch, torchvision, torchcam, grad-cam, openvino, onnxruntime, cv2
import av, fastapi, keras, matplotlib.pyplot, numba, onnxscript, pillow_heif, safetensors, timm, transformers, uvicorn

timm.create_model("resnet18")
transformers.ResNetForImageClassification(transformers.ResNetConfig())
time.sleep(20)
"""


def test_the_libraries_ask_for_nothing(tmp_path):
    report = in_lonely_network(sys.executable, "-c", LIBRARIES, seconds=300, cwd=tmp_path)
    assert report["status"] == 0, report["errors"]
    assert (report["names"], report["ports"]) == ([], [])


def test_the_trap_catches_the_usage_data_of_openvino(tmp_path):
    if not list(importlib.metadata.distributions(name="openvino-telemetry")):
        pytest.skip("this OpenVINO brings no package for usage data")
    report = in_lonely_network(sys.executable, "-c", "import openvino", seconds=60, cwd=tmp_path)
    assert report["names"] != []


def test_a_value_that_the_user_has_set_stays():
    code = "import os, camrt; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for changes, expected in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        settings = environment(**changes)
        done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
