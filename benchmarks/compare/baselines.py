"""camrt beside what one would use instead, with the same weights, threads and frames; `report` shows it.

*Whole frame*: from a frame in memory to the picture with the map of the best class over it, MobileNetV2 at 224x224;
the runtimes are given the same ONNX file. *Overlay*: from a map of 7x7 to that picture. Before anything is timed the
rivals' maps are compared with camrt's. Needs the extras ``export``, ``cpu`` and ``bench``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import openvino
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage

import camrt
from camrt.benchmarks.compare.overlay import MAPS, ThriftyChain, heatmap_of, usual_chain
from camrt.benchmarks.compare.torch_libraries import (
    CAM,
    GradCAM,
    models,
    overlay_mask,
    settled,
    show_cam_on_image,
)
from camrt.benchmarks.interleave import compare, interleave
from camrt.errors import CamrtError
from camrt.export import from_torch
from camrt.export.graph.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from camrt.export.graph.synthetic_images import synthetic_images
from camrt.geometry import place
from camrt.images import Image
from camrt.model_file import InputGeometry
from camrt.runtime.maps.overlay import OverlayStyle, paint
from camrt.runtime.maps.row_pool import RowPool

SIDE = 224
"""Of the network's input, in pixels."""
AS_GRAD_CAM = OverlayStyle(colormap="jet", normalization="relu_max")
"""What pytorch-grad-cam draws: jet, without the negative part of the map."""
ALIKE = 0.999
"""Correlation that maps of the same method must have."""
OPENVINO_DEFAULT = "OpenVINO default"
"""In the precision that it chooses, bfloat16 where the processor has it. Its maps are compared but not held to `ALIKE`:
with random weights the best class may become another one."""

_TURN = 6
"""Calls in a row, of which the first is not counted."""

F32 = NDArray[np.float32]
Drawn = tuple[Image, F32]
"""The picture, and the map that was drawn: negative values are 0, otherwise of any scale and size."""


def export_network(name: str, file: Path) -> torch.nn.Module:
    """Write the model file of a network of torchvision, with random weights and settled statistics; returns it."""
    torch.manual_seed(0)
    network: torch.nn.Module = models.get_model(name, weights=None)
    settled(network, torch.from_numpy(Preprocessing().apply(synthetic_images(SIDE, SIDE))))
    from_torch(network, file, input_size=SIDE)
    return network


class WholeFrame:
    """One network in every library; each method takes a frame, uint8 (H, W, 3) BGR, all the way."""

    def __init__(self, network: torch.nn.Module, file: Path, threads: int) -> None:
        """Prepare every library.

        Args:
            network: torchvision's MobileNetV2.
            file: its model file.
            threads: of each library.
        """
        torch.set_num_threads(threads)
        self._model = camrt.load(file, provider="cpu", threads=threads)
        self._pool = RowPool(threads)
        self._out: Image = np.empty((0, 0, 3), np.uint8)
        self._network = network
        self._grad_cam = GradCAM(network, [network.features])
        self._torchcam = CAM(network, "features", "classifier.1")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._openvino = {
            precision: _openvino_request(file, threads, settings)
            for precision, settings in (("fp32", {"INFERENCE_PRECISION_HINT": "f32"}), ("default", {}))
        }
        self._thrifty = ThriftyChain(self._out)
        self._weights: F32 = network.classifier[1].weight.detach().numpy()  # type: ignore[index, union-attr]

    def close(self) -> None:
        """Let go of threads and hooks."""
        self._pool.close()
        self._torchcam.remove_hooks()
        self._grad_cam.activations_and_grads.release()

    def camrt(self, frame: Image) -> Drawn:
        """Draw with camrt."""
        if self._out.shape != frame.shape:
            self._out = np.empty_like(frame)
        result = self._model(frame)
        cam = result.cam()
        paint(frame, cam, result.placement, AS_GRAD_CAM, out=self._out, pool=self._pool)
        return self._out, np.maximum(cam, 0)

    def pytorch_grad_cam(self, frame: Image) -> Drawn:
        """Draw as the examples of pytorch-grad-cam do: Grad-CAM, and ``show_cam_on_image``."""
        rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        heat = self._grad_cam(_network_input(rgb), None)[0]
        image = rgb.astype(np.float32) / 255
        over = cv2.resize(heat, (frame.shape[1], frame.shape[0]))
        return show_cam_on_image(image, over, use_rgb=True), heat

    def torchcam(self, frame: Image) -> Drawn:
        """Draw as the examples of torchcam do: CAM, and ``overlay_mask``."""
        rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        with torch.inference_mode():
            scores = self._network(_network_input(rgb))
        cam = self._torchcam(int(scores.argmax()), scores, normalized=False)[0][0].numpy()
        shown = (cam - cam.min()) / (cam.max() - cam.min())
        mask = PilImage.fromarray(shown.astype(np.float32))
        return np.asarray(overlay_mask(PilImage.fromarray(rgb), mask, alpha=0.5)), np.maximum(cam, 0)

    def by_hand(self, frame: Image) -> Drawn:
        """Draw as one writes it with ONNX Runtime, NumPy and OpenCV, preprocessing in the graph."""
        logits, features = self._session.run(["logits", "features"], {"image": cv2.resize(frame, (SIDE, SIDE))[None]})
        warm = self._warm(logits, features)
        return usual_chain(frame, _stretched(warm)), warm

    def openvino(self, frame: Image, precision: str) -> Drawn:
        """Draw with OpenVINO, and OpenCV at its best."""
        found = self._openvino[precision].infer({"image": cv2.resize(frame, (SIDE, SIDE))[None]}, share_inputs=True)
        warm = self._warm(found["logits"], found["features"])
        if not self._thrifty.fits(frame):
            self._thrifty = ThriftyChain(frame)
        return self._thrifty(frame, _stretched(warm)), warm

    def _warm(self, logits: F32, features: F32) -> F32:
        cam = np.tensordot(self._weights[int(logits[0].argmax())], features[0], axes=1)
        return np.maximum(cam, np.float32(0))


def _openvino_request(file: Path, threads: int, settings: Mapping[str, str]) -> Any:
    latency = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    return openvino.Core().compile_model(file, "CPU", {**latency, **settings}).create_infer_request()


def _stretched(warm: F32) -> F32:
    return warm / np.float32(max(float(warm.max()), 1e-12))


def _network_input(rgb: Image) -> torch.Tensor:
    """Make float32 (1, 3, SIDE, SIDE) of a picture of any size."""
    values = np.asarray(cv2.resize(rgb, (SIDE, SIDE)), np.float32) / 255
    normal = (values - np.asarray(IMAGENET_MEAN, np.float32)) / np.asarray(IMAGENET_STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normal.transpose(2, 0, 1)[np.newaxis], np.float32))


def whole_frame(
    contest: WholeFrame, sizes: Sequence[tuple[int, int]], threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Compare, then time, one row a frame size: see `_row`. Raises: CamrtError: a rival draws another map."""
    rows = []
    cv2.setNumThreads(threads)
    for width, height in sizes:
        frame = _frame(width, height)
        ways: dict[str, Callable[[Image], Drawn]] = {
            "camrt": contest.camrt,
            "ONNX Runtime by hand": contest.by_hand,
            "OpenVINO fp32": partial(contest.openvino, precision="fp32"),
            OPENVINO_DEFAULT: partial(contest.openvino, precision="default"),
            "torchcam": contest.torchcam,
            "pytorch-grad-cam": contest.pytorch_grad_cam,
        }
        alike = _check_maps(frame, ways)
        calls = {name: partial(way, frame) for name, way in ways.items()}
        rows.append(_row((width, height), threads, interleave(calls, rounds, turn=_TURN)) | {"correlation": alike})
    return rows


def _check_maps(frame: Image, ways: Mapping[str, Callable[[Image], Drawn]]) -> dict[str, float]:
    """Return the correlation of each rival's map with camrt's, both at the network's size."""
    own = cv2.resize(ways["camrt"](frame)[1], (SIDE, SIDE))
    alike = {}
    for name, way in ways.items():
        theirs = cv2.resize(np.asarray(way(frame)[1], np.float32), (SIDE, SIDE))
        alike[name] = float(np.corrcoef(own.ravel(), theirs.ravel())[0, 1])
        if name != OPENVINO_DEFAULT and not alike[name] > ALIKE:
            raise CamrtError(f"{name} draws another map (correlation {alike[name]:.4f}), so times say nothing")
    return alike


def overlay_only(sizes: Sequence[tuple[int, int]], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Time the drawing alone, upsampling included; each library is given what it wants to have."""
    rows = []
    cv2.setNumThreads(threads)
    pool = RowPool(threads)
    heatmap = heatmap_of(MAPS[0])
    mask = PilImage.fromarray(heatmap)
    for width, height in sizes:
        frame, out = _frame(width, height), np.empty((height, width, 3), np.uint8)
        floats, picture = frame.astype(np.float32) / 255, PilImage.fromarray(frame)
        placement = place(InputGeometry(width=SIDE, height=SIDE), width, height)
        calls: dict[str, Callable[[], object]] = {
            "camrt": lambda: paint(frame, heatmap, placement, AS_GRAD_CAM, out=out, pool=pool),  # noqa: B023
            "torchcam": lambda: overlay_mask(picture, mask, alpha=0.5),  # noqa: B023
            "pytorch-grad-cam": lambda: show_cam_on_image(floats, cv2.resize(heatmap, (width, height))),  # noqa: B023
        }
        rows.append(_row((width, height), threads, interleave(calls, rounds, turn=_TURN)))
    pool.close()
    return rows


def _frame(width: int, height: int) -> Image:
    picture = synthetic_images(SIDE, SIDE)[-1]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _row(size: tuple[int, int], threads: int, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return ``frame``, ``threads``, and what `compare` says of the rivals' times and camrt's."""
    return {"frame": list(size), "threads": threads, **compare(seconds, to="camrt")}
