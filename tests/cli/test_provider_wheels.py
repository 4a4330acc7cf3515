"""Providers of other wheels than the one the tests are run with, each in a virtual environment of its own."""

import json
import subprocess

import pytest

from support import REPOSITORY
from support.tiny_models import write_class_maps, write_linear
from support.wheels import environment_with, run

# One wheel with a provider that computes on any x86 processor, one with providers that cannot run without a GPU.
OPENVINO = "onnxruntime-openvino==1.24.1"
GPU = "onnxruntime-gpu==1.31.1"
PARITY = """
import json, sys
import cv2, numpy as np, camrt
from pathlib import Path
path, photos = Path(sys.argv[1]), sys.argv[2:]
options = json.loads(sys.stdin.read())
cpu, model = camrt.load(path, "cpu"), camrt.load(path, "openvino", provider_options=options)
assert model.provider == "openvino" and (model.classes, model.map_shape) == (cpu.classes, cpu.map_shape)
pictures = [cv2.imread(photo) for photo in photos] or [
    np.random.default_rng(seed).integers(0, 256, (200, 300, 3), np.uint8) for seed in range(4)
]
scores = maps = 0.0
same = 0
for ours, theirs in zip(model(pictures), cpu(pictures), strict=True):
    number = theirs.top(1)[0][0]
    same += ours.top(1)[0][0] == number
    scores = max(scores, float(np.abs(ours.scores - theirs.scores).max()))
    theirs_cam = theirs.cam(number)
    maps = max(maps, float(np.abs(ours.cam(number) - theirs_cam).max() / np.abs(theirs_cam).max()))
print(json.dumps({"same": same / len(pictures), "scores": scores, "maps": maps}))
"""
BF16 = {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'}


@pytest.fixture(scope="module")
def openvino(tmp_path_factory):
    return environment_with(tmp_path_factory.mktemp("openvino") / "venv", OPENVINO, without=("onnxruntime",))


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    return environment_with(tmp_path_factory.mktemp("gpu") / "venv", GPU, without=("onnxruntime", "nvidia"))


@pytest.fixture(scope="module")
def demo():
    return REPOSITORY / "runtime" / "assets" / "demo.onnx"


def refused(python, *arguments, status=1, **changes):
    done = run(python, *arguments, **changes)
    assert done.returncode == status, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    return line.removeprefix("camrt: ")


def compared(python, *arguments, options=None):
    done = subprocess.run(
        [python, "-c", PARITY, *map(str, arguments)],
        input=json.dumps(options or {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_openvino_gives_the_scores_and_maps_of_the_cpu(openvino, demo, tmp_path):
    for path in (demo, write_linear(tmp_path / "linear.onnx"), write_class_maps(tmp_path / "maps.onnx")):
        found = compared(openvino, path)
        assert found["same"] == 1
        assert found["scores"] < 1e-5
        assert found["maps"] < 1e-4


@pytest.mark.slow
def test_openvino_on_real_models_and_photos(openvino, shared_data, mobilenet, squeezenet):
    photos = sorted((shared_data / "images_cls").glob("*.JPEG"))[:8]
    for model in (mobilenet, squeezenet):
        found = compared(openvino, model, *photos)
        assert found["same"] == 1
        assert found["scores"] < 1e-4
        assert found["maps"] < 1e-4
        half = compared(openvino, model, *photos, options=BF16)
        assert 1e-4 < half["maps"] < 0.3  # it does compute in another precision
        assert half["scores"] < 0.2


@pytest.mark.slow
def test_openvino_proves_the_identity_with_as_many_threads_as_it_is_told(openvino, demo):
    done = run(openvino, "inspect", demo, "--verify", "--provider", "openvino", "--threads", "1", "--json")
    report = json.loads(done.stdout)
    assert (report["provider"], report["threads"], report["identity_holds"]) == ("openvino", 1, True)
    code = (
        "import os, sys, camrt\n"
        "model = camrt.load(sys.argv[1], 'openvino', threads=int(sys.argv[2]))\n"
        "print(len(os.listdir('/proc/self/task')), model.spare_threads)\n"
    )

    def threads(asked):
        told = subprocess.run([openvino, "-c", code, demo, str(asked)], capture_output=True, text=True, check=True)
        count, spare = map(int, told.stdout.split())
        assert spare == 1
        return count

    assert threads(2) == threads(1) + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("device_type=GPU", "Device GPU is not available"),
        ("device_type=NPU", "Device NPU is not available"),
        ("device_type=XPU", "of its 6 convolutions it takes none, the CPU would compute them all"),
        ("no_such_option=1", "Invalid OpenVINO EP option: no_such_option"),
        ("precision=F7", "Unsupported inference precision"),
        ('load_config={"CPU": {"FOO": "1"}}', "Unsupported property FOO"),
    ],
)
def test_openvino_that_would_not_run_is_an_error(openvino, demo, option, reason):
    said = refused(openvino, "inspect", demo, "--provider", "openvino", "--provider-option", option)
    assert said.startswith("provider 'openvino' cannot run")
    assert reason in said


@pytest.mark.slow
def test_a_session_that_gave_its_provider_up_is_an_error(openvino, tmp_path):
    # What `run` of ONNX Runtime does where it is not told otherwise: it opens the model again, on the CPU.
    code = (
        "import sys, pathlib, camrt\n"
        "from camrt.errors import ProviderError\n"
        "from camrt.runtime.model import Model\n"
        "from camrt.runtime.session import open_session\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "opened = open_session(path, 'openvino', 1)\n"
        "assert not opened.session._enable_fallback\n"
        "opened.session.set_providers(['CPUExecutionProvider'])\n"
        "try:\n"
        "    Model(path, opened, 1, camrt.load(path, 'cpu').info, {})\n"
        "except ProviderError as error:\n"
        "    print(error)\n"
    )
    path = write_class_maps(tmp_path / "maps.onnx")
    done = subprocess.run([openvino, "-c", code, path], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == f"provider 'openvino' gave up on {path} at the first run\n"


@pytest.mark.slow
def test_auto_does_not_take_openvino(openvino, demo):
    assert json.loads(run(openvino, "inspect", demo, "--json").stdout)["provider"] == "cpu"


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--provider-option", "device_id=0"]])
def test_a_gpu_wheel_without_its_libraries_names_them(gpu, demo, options):
    said = refused(gpu, "inspect", demo, "--provider", "cuda", *options)
    assert "libcublasLt.so" in said
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in said
    assert "no NVIDIA driver" in said
    said = refused(gpu, "inspect", demo, "--provider", "tensorrt", *options)
    assert "libnvinfer.so" in said
    assert "LD_LIBRARY_PATH" in said


@pytest.mark.slow
def test_auto_says_once_why_it_passes_the_gpu_over(gpu, demo, tmp_path):
    done = run(gpu, "inspect", demo, "--json")
    assert json.loads(done.stdout)["provider"] == "cpu"
    (line,) = done.stderr.splitlines()
    assert line.startswith("camrt: provider 'cuda' cannot run: libcublasLt.so")


@pytest.mark.slow
def test_a_gpu_wheel_lacks_openvino_and_says_which_extra_has_it(gpu, demo):
    said = refused(gpu, "inspect", demo, "--provider", "openvino")
    assert "pip uninstall -y onnxruntime-gpu, then pip install 'camrt[openvino]'" in said
