"""Execution providers that are wheels of their own, beside ONNX Runtime's usual wheel.

OpenVINO's computes on any x86 processor; the parity of its results is tested in test_provider_wheels.py. The others
need a GPU, and say so.
"""

import json
import secrets
from pathlib import Path

import pytest

from camrt import kernels
from camrt.runtime.assets import DEMO_MODEL
from support import command
from support.tiny_models import write_class_maps, write_linear
from support.wheels import inspect, refusal, run, succeeds, wheels_beside

pytestmark = [pytest.mark.process, pytest.mark.slow]

DIFFERENCE = """
import sys, camrt
from camrt.runtime.inference.automatic import LARGEST_DIFFERENCE, difference
from camrt.synthetic_scene import Scene
cpu, openvino = (camrt.load(sys.argv[1], provider) for provider in ("cpu", "openvino"))
print(difference(openvino, cpu, [Scene(seed=0).view(0).image]) > LARGEST_DIFFERENCE)
"""
SAME_PROCESS = """
import sys, camrt
models = [camrt.load(path, "openvino", threads=1) for path in sys.argv[1:]]
print(*(model.provider for model in models))
"""


@pytest.fixture(scope="module")
def plugin(bare_environment, tmp_path_factory):
    """Return a function that returns an environment with ONNX Runtime and a plug-in."""
    made = {}

    def environment(wheel):
        if wheel not in made:
            folder = tmp_path_factory.mktemp("plugin") / "site"
            made[wheel] = bare_environment, wheels_beside(bare_environment, folder, "onnxruntime", wheel)
        return made[wheel]

    return environment


@pytest.fixture(scope="module")
def openvino(plugin):
    return plugin("onnxruntime-ep-openvino")


def provider_findings(environment):
    python, first = environment
    findings = json.loads(run(python, "-m", "camrt.cli", "doctor", "--json", timeout=300, **first).stdout)
    return {finding["subject"]: finding for finding in findings if finding["subject"].startswith("provider")}


@pytest.mark.parametrize(
    ("option", "status", "reason"),
    [
        ("device_type=GPU", 1, "Device GPU is not available; its plug-in found only CPU"),
        ("device_type=HETERO:GPU,CPU", 1, "Device HETERO:GPU,CPU is not available; its plug-in found only CPU"),
        ('load_config={"CPU": {"FOO": "1"}}', 1, "Unsupported property FOO"),
        ("no_such_option=1", 2, "it would ignore no_such_option"),
        ("precision=FP16", 2, "it would ignore precision"),
        ("load_config=fast", 2, "option load_config, fast, cannot be read"),
        ('load_config={"CPU": 1}', 2, 'option load_config, {"CPU": 1}, cannot be read'),
        ("load_config=[1]", 2, "option load_config, [1], cannot be read"),
        ('load_config={"CPU": {"INFERENCE_NUM_THREADS": "1"}}', 2, "use --threads instead"),
        ("num_of_threads=1", 2, "use --threads instead"),
    ],
)
def test_options_that_the_plug_in_of_openvino_does_not_take_are_errors(openvino, option, status, reason):
    flags = ("--provider", "openvino", "--provider-option", option)
    assert reason in refusal(openvino, "inspect", DEMO_MODEL, *flags, status=status)


def test_several_models_of_a_process_share_a_plug_in(openvino, tmp_path):
    paths = write_linear(tmp_path / "linear.onnx"), write_class_maps(tmp_path / "maps.onnx")
    assert succeeds(openvino, "-c", SAME_PROCESS, *paths).stdout.split() == ["openvino", "openvino"]


def test_openvino_states_the_precision_that_it_computes_in(openvino):
    def precision(*options):
        report, _ = inspect(openvino, DEMO_MODEL, "--provider", "openvino", *options)
        return report["precision"], report["running_precision"]

    assert precision() == ("fp32", "fp32")
    bf16 = 'load_config={"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'
    assert precision("--provider-option", bf16) == ("fp32", "fp32 file, computed in bf16")


def test_auto_measures_once_and_remembers_until_the_file_changes(openvino, tmp_path):
    path = tmp_path / "model.onnx"
    store = Path(kernels.cache_folder()) / "camrt-auto.json"
    remarks, stored = [], []
    for _ in range(2):
        write_linear(path, seed=secrets.randbits(32))  # a file that was not measured on this machine before
        for _ in range(2):
            report, (line,) = inspect(openvino, path)
            assert line.startswith(
                f"camrt: provider 'auto' chose {report['provider']!r}: {report['provider']!r} takes "
            )
            remarks.append(line)
            stored.append(set(json.loads(store.read_text())))
    # The measured times are in the remark, so that it is the same only if it was not measured again.
    assert remarks[0] == remarks[1]
    assert remarks[2] == remarks[3]
    assert stored[2] - stored[1]


def test_auto_keeps_the_cpu_where_openvino_changes_the_maps(openvino, shared_data, tmp_path):
    """OpenVINO rounds int8 otherwise: on a processor with AVX-512 VNNI, this network's logits change by a quarter."""
    source = shared_data / "models" / "mobilenetv2_torchvision_qdq_int8.onnx"
    path = tmp_path / "int8.onnx"
    command.succeeds("attach", source, "-o", path)
    changes = succeeds(openvino, "-c", DIFFERENCE, path).stdout == "True\n"
    report, (line,) = inspect(openvino, path)
    assert report["precision"] == "int8"
    assert ("ms a frame and changes the maps or logits of this int8 file by " in line) == changes
    if changes:
        assert report["provider"] == "cpu"


def test_doctor_runs_a_plug_in_and_names_its_wheel(openvino):
    findings = provider_findings(openvino)
    assert findings["provider openvino"]["status"] == "ok"
    assert findings["provider openvino"]["text"] == "runs the demo model in fp32, from onnxruntime-ep-openvino 1.8.1"
    missing = "wheels to add: onnxruntime-ep-nv-tensorrt-rtx, onnxruntime-ep-webgpu"
    assert missing in findings["providers"]["text"]


@pytest.mark.parametrize(
    ("provider", "wheel", "reason"),
    [
        ("webgpu", "onnxruntime-ep-webgpu", "finds no device here; it needs a GPU with a Vulkan,"),
        ("tensorrt-rtx", "onnxruntime-ep-nv-tensorrt-rtx-cu13", "there is no NVIDIA driver (libcuda.so.1; "),
    ],
)
def test_a_plug_in_without_its_device_is_one_clear_line(plugin, no_gpu, provider, wheel, reason):
    environment = plugin(wheel)
    error = refusal(environment, "inspect", DEMO_MODEL, "--provider", provider)
    assert error.startswith(f"provider {provider!r} cannot run: ")
    assert reason in error
    assert inspect(environment, DEMO_MODEL)[0]["provider"] == "cpu"
    finding = provider_findings(environment)[f"provider {provider}"]
    assert finding["status"] == "warning"
    assert reason in finding["text"]
