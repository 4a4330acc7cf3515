"""Providers of other wheels than the one the tests are run with.

One wheel has a provider that computes on any x86 processor, one has providers that cannot run without a GPU.
"""

import json
from pathlib import Path

import pytest

from camrt.runtime.assets import DEMO_MODEL
from support.tiny_models import write_class_maps, write_linear
from support.wheels import camrt, run, wheels_beside

pytestmark = pytest.mark.process

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
THREADS = """
import os, sys, camrt
model = camrt.load(sys.argv[1], "openvino", threads=int(sys.argv[2]))
print(len(os.listdir("/proc/self/task")), model.spare_threads)
"""
# What `run` of ONNX Runtime does where it is not told otherwise: it opens the model again, on the CPU.
GIVEN_UP = """
import sys, pathlib, camrt
from camrt.errors import ProviderError
from camrt.runtime.inference.model import Model
from camrt.runtime.inference.session import open_session
path = pathlib.Path(sys.argv[1])
opened = open_session(path, "openvino", 1)
assert not opened.session._enable_fallback
opened.session.set_providers(["CPUExecutionProvider"])
try:
    Model(path, opened, 1, camrt.load(path, "cpu").info, {})
except ProviderError as error:
    print(error)
"""
BF16 = {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'}


@pytest.fixture(scope="module")
def openvino(bare_environment, tmp_path_factory):
    return bare_environment, wheels_beside(
        bare_environment, tmp_path_factory.mktemp("openvino") / "site", "onnxruntime-openvino"
    )


@pytest.fixture(scope="module")
def gpu(bare_environment, tmp_path_factory):
    return bare_environment, wheels_beside(bare_environment, tmp_path_factory.mktemp("gpu") / "site", "onnxruntime-gpu")


@pytest.fixture(scope="module")
def demo():
    return DEMO_MODEL


def bf16():
    """Whether this processor computes in bfloat16; where it does not, OpenVINO takes the hint for float32."""
    return bool({"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()))


def succeeds(environment, *arguments, **changes):
    python, first = environment
    done = run(python, *arguments, **first, **changes)
    assert done.returncode == 0, done.stderr
    return done


def refused(environment, *arguments):
    python, first = environment
    done = camrt(python, *arguments, **first)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line.removeprefix("camrt: ")


def inspected(environment, *arguments):
    """Return the report of ``camrt inspect``, and what it says besides."""
    done = succeeds(environment, "-m", "camrt.cli", "inspect", *arguments, "--json")
    return json.loads(done.stdout), done.stderr.splitlines()


def compared(environment, *arguments, options=None):
    return json.loads(succeeds(environment, "-c", PARITY, *arguments, told=json.dumps(options or {})).stdout)


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
        assert half["maps"] < 0.3
        assert half["scores"] < 0.2
        assert (half["maps"] > 1e-4) == bf16()  # where it can, it does compute in another precision


@pytest.mark.slow
def test_openvino_proves_the_identity_with_as_many_threads_as_it_is_told(openvino, demo):
    report, _ = inspected(openvino, demo, "--verify", "--provider", "openvino", "--threads", "1")
    assert (report["provider"], report["threads"], report["identity_holds"]) == ("openvino", 1, True)

    def threads(asked):
        count, spare = map(int, succeeds(openvino, "-c", THREADS, demo, asked).stdout.split())
        assert spare == 1
        return count

    assert threads(2) == threads(1) + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("device_type=GPU", "Device GPU is not available"),
        ("device_type=NPU", "Device NPU is not available"),
        ("device_type=XPU", "of its 7 convolutions and matrix products it takes none"),
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
    path = write_class_maps(tmp_path / "maps.onnx")
    said = succeeds(openvino, "-c", GIVEN_UP, path).stdout
    assert said == f"provider 'openvino' gave up on {path} at the first run\n"


@pytest.mark.slow
def test_auto_does_not_take_openvino(openvino, demo):
    report, said = inspected(openvino, demo)
    assert (report["provider"], said) == ("cpu", [])


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--provider-option", "device_id=0"]])
def test_a_gpu_wheel_without_its_libraries_names_them(gpu, demo, no_nvidia, options):
    said = refused(gpu, "inspect", demo, "--provider", "cuda", *options)
    assert "libcublasLt.so" in said
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in said
    said = refused(gpu, "inspect", demo, "--provider", "tensorrt", *options)
    assert "libnvinfer.so" in said
    assert "LD_LIBRARY_PATH" in said


@pytest.mark.slow
def test_auto_says_once_why_it_passes_the_gpu_over(gpu, demo, no_nvidia):
    report, (line,) = inspected(gpu, demo)
    assert report["provider"] == "cpu"
    assert line.startswith("camrt: provider 'cuda' cannot run: there is no NVIDIA driver (libcuda.so.1; ")


@pytest.mark.slow
def test_a_gpu_wheel_lacks_openvino_and_says_which_extra_has_it(gpu, demo):
    said = refused(gpu, "inspect", demo, "--provider", "openvino")
    assert "pip uninstall -y onnxruntime-gpu, then pip install 'camrt[openvino]'" in said
