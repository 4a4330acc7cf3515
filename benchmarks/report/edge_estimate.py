"""Estimate frame rates on small devices from a measurement on one core.

An estimate assumes that the device reaches the same share of its peak as the measured core. The peak for inference is
that of fp32 fused multiply-adds on all cores. The peak for preprocessing and drawing is the width of the vector units
of one core, or the memory bandwidth, whichever is slower. Devices that throttle when warm are slower than estimated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Device:
    """A processor with the figures of its manufacturer."""

    name: str
    cores: int
    ghz: float
    fma_lanes: int
    """fp32 multiply-adds per cycle and core: pipes times lanes."""
    vector_bytes: int
    """Width of an integer vector instruction in bytes."""
    memory_gb_s: float
    """Peak memory bandwidth in gigabytes per second."""

    @property
    def gflops(self) -> float:
        """fp32 peak of one core in GFLOP/s."""
        return 2 * self.fma_lanes * self.ghz


MEASURED: Final = Device("Xeon (Sapphire Rapids class)", 1, 3.5, 32, 32, 30.0)
"""One core of the machine of ``docs/performance.json``.

Its nominal clock is 2.6 GHz. It must boost, because ResNet-50 would reach 115 % of the peak at 2.6 GHz. The bandwidth
is that of copying a frame.
"""
DEVICES: Final = (
    # Cortex-A76: two pipes of 128 bits (Arm's optimization guide); LPDDR4X-4267 on 32 bits.
    Device("Raspberry Pi 5", 4, 2.4, 8, 16, 17.0),
    # Cortex-A78AE, likewise; LPDDR5 on 128 and 256 bits (NVIDIA's data sheets). The GPU is not estimated.
    Device("Jetson Orin Nano, CPU", 6, 1.5, 8, 16, 68.0),
    Device("Jetson AGX Orin, CPU", 12, 2.2, 8, 16, 204.0),
)
GFLOP: Final = {"mobilenet_v2.onnx": 0.6, "resnet50.onnx": 8.2}
"""Work of one inference at 224x224: twice the multiply-adds in the papers of the networks."""
_CORES_USED: Final = 0.8
"""Speed of several cores divided by the sum of their single speeds; 0.8 to 0.9 was measured for two cores."""


def estimate(run: Mapping[str, Any], device: Device) -> dict[str, float]:
    """Return ``inference_ms``, ``other_ms`` (preprocessing, map and overlay) and ``fps`` of a device.

    Args:
        run: a result of `bench.measure` on one core of `MEASURED`.
        device: one of its cores draws and the others run inference; the slower of the two limits the frame rate.
    """
    stages = {name: times["p50_ms"] for name, times in run["stages"].items()}
    width, height = run["frame"]
    gflops = device.gflops * (device.cores - 1) * _CORES_USED
    inference = stages["inference"] * MEASURED.gflops / gflops
    vectors = (MEASURED.vector_bytes * MEASURED.ghz) / (device.vector_bytes * device.ghz)
    copy_ms = 2 * 3 * width * height / (0.5 * device.memory_gb_s * 1e6)  # copies reach half of the peak
    other = max(vectors * (sum(stages.values()) - stages["inference"]), copy_ms)
    return {"inference_ms": inference, "other_ms": other, "fps": 1e3 / max(inference, other)}


def share_of_peak(run: Mapping[str, Any]) -> float:
    """Return the speed of inference divided by the peak of `MEASURED`, 0 to 1."""
    seconds = 1e-3 * float(run["stages"]["inference"]["p50_ms"])
    return GFLOP[run["model"]] / seconds / MEASURED.gflops


def estimates(runs: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Device, dict[str, float]]]:
    """Return (run, device, estimate) for every device and run; see `estimate`."""
    return [(run, device, estimate(run, device)) for device in DEVICES for run in runs]
