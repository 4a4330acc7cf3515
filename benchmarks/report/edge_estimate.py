"""What to expect of small devices: estimates from the work that was measured on one core.

An estimate assumes that a device reaches the same share of its peak as the core that was measured. For inference the
peak is that of fused multiply-adds in fp32 on all cores; for preprocessing and drawing it is the width of the vector
units on one core or the memory's bandwidth, whichever is slower. Devices that throttle when warm will be slower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Device:
    """A processor as its makers describe it."""

    name: str
    cores: int
    ghz: float
    fma_lanes: int
    """fp32 multiply-adds a cycle and core: pipes times lanes."""
    vector_bytes: int
    """Bytes of integers that a vector instruction works on."""
    memory_gb_s: float

    @property
    def gflops(self) -> float:
        """Peak of one core, fp32."""
        return 2 * self.fma_lanes * self.ghz


MEASURED: Final = Device("Xeon (Sapphire Rapids class)", 1, 3.5, 32, 32, 30.0)
"""One core of what ``docs/performance.json`` was measured on. It says 2.6 GHz and boosts, for at those ResNet-50 would
run at 115 % of the peak. The bandwidth is that of copying a frame."""
DEVICES: Final = (
    # Cortex-A76: two pipes of 128 bits (Arm's optimization guide); LPDDR4X-4267 on 32 bits.
    Device("Raspberry Pi 5", 4, 2.4, 8, 16, 17.0),
    # Cortex-A78AE, likewise; LPDDR5 on 128 and 256 bits (NVIDIA's data sheets). The GPU is not estimated.
    Device("Jetson Orin Nano, CPU", 6, 1.5, 8, 16, 68.0),
    Device("Jetson AGX Orin, CPU", 12, 2.2, 8, 16, 204.0),
)
GFLOP: Final = {"mobilenet_v2.onnx": 0.6, "resnet50.onnx": 8.2}
"""Work of one inference at 224x224: twice the multiply-adds that the networks' authors state."""
_CORES_USED: Final = 0.8
"""Share of the cores' sum that several reach together; measured here for two: 0.8 to 0.9."""


def estimate(run: Mapping[str, Any], device: Device) -> dict[str, float]:
    """Return ``inference_ms``, ``other_ms`` (preprocessing, map and overlay) and ``fps`` of a device.

    Args:
        run: of `bench.measure`, on one core of `MEASURED`.
        device: inference on all its cores but one, which draws; frames are as fast as the slower of the two.
    """
    stages = {name: times["p50_ms"] for name, times in run["stages"].items()}
    width, height = run["frame"]
    gflops = device.gflops * (device.cores - 1) * _CORES_USED
    inference = stages["inference"] * MEASURED.gflops / gflops
    vectors = (MEASURED.vector_bytes * MEASURED.ghz) / (device.vector_bytes * device.ghz)
    moved_ms = 2 * 3 * width * height / (0.5 * device.memory_gb_s * 1e6)  # half the peak is what copies reach
    other = max(vectors * (sum(stages.values()) - stages["inference"]), moved_ms)
    return {"inference_ms": inference, "other_ms": other, "fps": 1e3 / max(inference, other)}


def attained(run: Mapping[str, Any]) -> float:
    """Return the share of the measured core's peak that inference reached."""
    seconds = 1e-3 * float(run["stages"]["inference"]["p50_ms"])
    return GFLOP[run["model"]] / seconds / MEASURED.gflops


def estimates(runs: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Device, dict[str, float]]]:
    """Return (run, device, estimate) for every device and run."""
    return [(run, device, estimate(run, device)) for device in DEVICES for run in runs]
