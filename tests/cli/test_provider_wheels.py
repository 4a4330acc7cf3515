"""Providers of wheels that the test environment does not have.

The OpenVINO wheel computes on any x86 processor. The GPU wheel has providers that cannot run without a GPU.
"""

import json
from pathlib import Path

import pytest

from camrt.runtime.assets import DEMO_MODEL
from support.tiny_models import write_class_maps, write_linear
from support.tolerances import WITHIN_BATCH
from support.wheels import inspect, refusal, succeeds, wheels_beside

pytestmark = pytest.mark.process

PARITY = """
import json, sys
import cv2, numpy as np, camrt
from pathlib import Path
path, images = Path(sys.argv[1]), sys.argv[2:]
options = json.loads(sys.stdin.read())
cpu, model = camrt.load(path, "cpu"), camrt.load(path, "openvino", provider_options=options)
assert model.provider == "openvino" and (model.classes, model.map_shape) == (cpu.classes, cpu.map_shape)
frames = [cv2.imread(image) for image in images] or [
    np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8).repeat(10, 0).repeat(10, 1) for seed in range(4)
]
scores = maps = 0.0
same = 0
for ours, theirs in zip(model(frames), cpu(frames), strict=True):
    number = theirs.top(1)[0][0]
    same += ours.top(1)[0][0] == number
    scores = max(scores, float(np.abs(ours.scores - theirs.scores).max()))
    theirs_cam = theirs.cam(number)
    maps = max(maps, float(np.abs(ours.cam(number) - theirs_cam).max() / np.abs(theirs_cam).max()))
print(json.dumps({"same": same / len(frames), "scores": scores, "maps": maps}))
"""
BATCH = """
import sys
import numpy as np, camrt
model = camrt.load(sys.argv[1], "openvino")
frames = list(np.random.default_rng(0).integers(0, 256, (8, 60, 80, 3), np.uint8))
largest = 0.0
for size in (2, 3, 8):
    for frame, result in zip(frames, model(frames[:size])):
        alone = model(frame)
        for values, wanted in ((result.logits, alone.logits), (result.cam(), alone.cam())):
            largest = max(largest, float(np.abs(values - wanted).max() / np.abs(wanted).max()))
print(largest)
"""
THREADS = """
import os, sys, camrt
model = camrt.load(sys.argv[1], "openvino", threads=int(sys.argv[2]))
print(len(os.listdir("/proc/self/task")), model.spare_threads)
"""
# By default `run` of ONNX Runtime opens the model again on the CPU when a provider fails.
FALLBACK = """
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


OPENVINO = {"built in": ["onnxruntime-openvino"], "plug-in": ["onnxruntime", "onnxruntime-ep-openvino"]}
"""The wheels that have the provider."""


@pytest.fixture(scope="module", params=OPENVINO)
def openvino(request, bare_environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino") / "site"
    return bare_environment, wheels_beside(bare_environment, folder, *OPENVINO[request.param])


@pytest.fixture(scope="module")
def openvino_built_in(bare_environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino_built_in") / "site"
    return bare_environment, wheels_beside(bare_environment, folder, *OPENVINO["built in"])


@pytest.fixture(scope="module")
def gpu(bare_environment, tmp_path_factory):
    return bare_environment, wheels_beside(bare_environment, tmp_path_factory.mktemp("gpu") / "site", "onnxruntime-gpu")


@pytest.fixture(scope="module")
def demo():
    return DEMO_MODEL


def bf16():
    """Whether OpenVINO computes in bfloat16 here: natively or simulated, both with AVX-512.

    On other processors it ignores the hint and computes in float32.
    """
    return "avx512bw" in Path("/proc/cpuinfo").read_text().split()


def compare(environment, *arguments, options=None):
    return json.loads(succeeds(environment, "-c", PARITY, *arguments, text_input=json.dumps(options or {})).stdout)


@pytest.mark.slow
def test_openvino_computes_the_scores_and_maps_of_the_cpu(openvino, demo, tmp_path):
    for path in (demo, write_linear(tmp_path / "linear.onnx"), write_class_maps(tmp_path / "maps.onnx")):
        difference = compare(openvino, path)
        assert difference["same"] == 1
        assert difference["scores"] < 1e-5
        assert difference["maps"] < 1e-4


@pytest.mark.slow
def test_openvino_matches_the_cpu_on_real_models_and_images(openvino, shared_data, mobilenet, squeezenet):
    images = sorted((shared_data / "images_cls").glob("*.JPEG"))[:8]
    for model in (mobilenet, squeezenet):
        difference = compare(openvino, model, *images)
        assert difference["same"] == 1
        assert difference["scores"] < 1e-4
        assert difference["maps"] < 1e-4
        half = compare(openvino, model, *images, options=BF16)
        assert half["maps"] < 0.3
        assert half["scores"] < 0.2
        assert (half["maps"] > 1e-4) == bf16()  # a processor with bfloat16 computes in it


@pytest.mark.slow
def test_a_frame_in_a_batch_of_openvino_has_the_maps_of_the_frame_alone(openvino, demo, tmp_path):
    """The tolerance is the one that docs/providers.md states."""
    for path in (demo, write_class_maps(tmp_path / "maps.onnx")):
        assert float(succeeds(openvino, "-c", BATCH, path).stdout) <= WITHIN_BATCH["`openvino` on a processor, fp32"]


@pytest.mark.slow
def test_openvino_verifies_the_identity_with_the_requested_threads(openvino, demo):
    report, _ = inspect(openvino, demo, "--verify", "--provider", "openvino", "--threads", "1")
    assert (report["provider"], report["threads"], report["identity_holds"]) == ("openvino", 1, True)

    def threads(requested):
        count, spare = map(int, succeeds(openvino, "-c", THREADS, demo, requested).stdout.split())
        assert spare == 1
        return count

    assert threads(2) == threads(1) + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("device_type=GPU", "Device GPU is not available"),
        ("device_type=NPU", "Device NPU is not available"),
        ("device_type=XPU", "it takes none of the 7 convolutions and matrix products"),
        ("no_such_option=1", "Invalid OpenVINO EP option: no_such_option"),
        ("precision=F7", "Unsupported inference precision"),
        ('load_config={"CPU": {"FOO": "1"}}', "Unsupported property FOO"),
    ],
)
def test_openvino_that_cannot_run_is_an_error(openvino_built_in, demo, option, reason):
    error = refusal(openvino_built_in, "inspect", demo, "--provider", "openvino", "--provider-option", option)
    assert error.startswith("provider 'openvino' cannot run")
    assert reason in error


@pytest.mark.slow
def test_fallback_to_the_cpu_at_the_first_run_is_an_error(openvino, tmp_path):
    path = write_class_maps(tmp_path / "maps.onnx")
    output = succeeds(openvino, "-c", FALLBACK, path).stdout
    assert output == f"provider 'openvino' failed on {path} at the first run and fell back to the CPU\n"


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--provider-option", "device_id=0"]])
def test_error_names_missing_libraries_of_a_gpu_wheel(gpu, demo, no_nvidia, options):
    error = refusal(gpu, "inspect", demo, "--provider", "cuda", *options)
    assert "libcublasLt.so" in error
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in error
    error = refusal(gpu, "inspect", demo, "--provider", "tensorrt", *options)
    assert "libnvinfer.so" in error
    assert "LD_LIBRARY_PATH" in error


@pytest.mark.slow
def test_auto_reports_once_why_it_skips_the_gpu(gpu, demo, no_nvidia):
    report, (line,) = inspect(gpu, demo)
    assert report["provider"] == "cpu"
    assert line.startswith("camrt: provider 'cuda' cannot run: there is no NVIDIA driver (libcuda.so.1; ")


@pytest.mark.slow
def test_error_of_a_gpu_wheel_names_the_plug_in_of_openvino(gpu, demo):
    error = refusal(gpu, "inspect", demo, "--provider", "openvino")
    assert error.endswith("; pip install onnxruntime-ep-openvino")
