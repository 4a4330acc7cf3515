"""Compare camrt with other libraries, with the same weights, threads and frames; `report` prints the tables.

*Whole frame*: from a frame in memory to the overlay of the best class, with a network at 224x224. ONNX Runtime and
OpenVINO run the same ONNX file. *Overlay*: from a 7x7 map to the overlay. Before anything is timed, the maps of all
libraries are compared with those of camrt. Needs the extras ``export``, ``cpu`` and ``bench``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage

import camrt
from camrt.benchmarks.compare.openvino_overlay import PRECISIONS, OpenVinoOverlay
from camrt.benchmarks.compare.overlay import MAPS, synthetic_heatmap, usual_chain
from camrt.benchmarks.compare.torch_libraries import (
    CAM,
    GradCAM,
    models,
    overlay_mask,
    set_batch_statistics,
    show_cam_on_image,
)
from camrt.errors import CamrtError
from camrt.export import from_torch
from camrt.export.graph.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from camrt.export.graph.synthetic_images import synthetic_images
from camrt.geometry import place
from camrt.images import Image
from camrt.interleaved_timing import compare, interleave
from camrt.model_file import InputGeometry
from camrt.runtime.inference.model import Model
from camrt.runtime.inference.providers import PROVIDERS
from camrt.runtime.maps.overlay import OverlayStyle, paint
from camrt.runtime.maps.row_pool import RowPool, drawing_threads

SIDE = 224
"""Width and height of the network's input, in pixels."""
GRAD_CAM_STYLE = OverlayStyle(colormap="jet", alpha=0.5, alpha_by_value=False, normalization="relu_max")
"""The style of pytorch-grad-cam: jet, without the negative part of the map."""
MIN_CORRELATION = 0.999
"""Least correlation of a library's map with that of camrt."""
OPENVINO_DEFAULT = "OpenVINO default"
"""OpenVINO with the precision that it chooses: bfloat16 on processors that have it.

Its maps are compared, but may differ: with random weights another class may become the best.
"""

_TURN = 6
"""Calls in a row; the first is not counted."""

_LAYERS = {"MobileNetV2": ("features", "classifier.1"), "ResNet": ("layer4", "fc")}
"""By class of torchvision: the layer whose maps are pooled, and the linear layer."""

Device = Literal["cpu", "cuda"]
"""A device of torch that is a provider of camrt, too."""
F32 = NDArray[np.float32]
OverlayAndMap = tuple[Image, F32]
"""The overlay, uint8 (H, W, 3), and its map, float32 (h, w): at least 0, of any scale and size."""


def random_network(name: str) -> torch.nn.Module:
    """Return a torchvision network with the same random weights in each process, and real batch statistics."""
    torch.manual_seed(0)
    network: torch.nn.Module = models.get_model(name, weights=None)
    return set_batch_statistics(network, torch.from_numpy(Preprocessing().apply(synthetic_images(SIDE, SIDE))))


def export_network(name: str, file: Path) -> torch.nn.Module:
    """Write the model file of `random_network`; returns the network."""
    network = random_network(name)
    from_torch(network, file, input_size=SIDE)
    return network


class Libraries:
    """One network in every library. Each method draws the overlay of a frame, uint8 (H, W, 3) BGR."""

    def __init__(self, network: torch.nn.Module, file: Path, threads: int, device: Device = "cpu") -> None:
        """Load the network in every library.

        Args:
            network: torchvision's MobileNetV2 or ResNet-50.
            file: its model file.
            threads: threads of each library.
            device: where torch and ONNX Runtime compute. OpenVINO has the CPU only, so it is not loaded for ``cuda``.

        Raises:
            ProviderError: ONNX Runtime cannot use the device.
        """
        torch.set_num_threads(threads)
        self._model = camrt.load(file, provider=device, threads=threads)
        linear = replace(self._model.geometry, interpolation="linear")
        self._linear_model = camrt.load(file, provider=device, threads=threads, geometry=linear)
        self._pool = RowPool(drawing_threads(threads))
        self._out: Image = np.empty((0, 0, 3), np.uint8)
        self._device = device
        self._network = network.to(device)
        layers, linear_layer = _LAYERS[type(network).__name__]
        self._grad_cam = GradCAM(network, [network.get_submodule(layers)])
        self._torchcam = CAM(network, layers, linear_layer)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        providers = [PROVIDERS[name] for name in dict.fromkeys((device, "cpu"))]
        self._session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        self._weights: F32 = network.get_parameter(f"{linear_layer}.weight").detach().cpu().numpy()
        precisions = PRECISIONS if device == "cpu" else ()
        self._openvino = {name: OpenVinoOverlay(file, self._weights, threads, name) for name in precisions}

    def methods(self) -> dict[str, Callable[[Image], OverlayAndMap]]:
        """Return the libraries that run on the device, by name."""
        return {
            "camrt": self.camrt,
            "ONNX Runtime by hand": self.onnx_runtime,
            **{f"OpenVINO {precision}": draw for precision, draw in self._openvino.items()},
            "torchcam": self.torchcam,
            "pytorch-grad-cam": self.pytorch_grad_cam,
        }

    def close(self) -> None:
        """Stop threads and remove hooks."""
        self._pool.close()
        self._torchcam.remove_hooks()
        self._grad_cam.activations_and_grads.release()

    def camrt(self, frame: Image) -> OverlayAndMap:
        """Draw with camrt, which resizes with antialiasing; the others do not."""
        return self._camrt(self._model, frame)

    def camrt_linear(self, frame: Image) -> OverlayAndMap:
        """Draw with camrt, resized as the others do: the same network input, so the same map."""
        return self._camrt(self._linear_model, frame)

    def _camrt(self, model: Model, frame: Image) -> OverlayAndMap:
        if self._out.shape != frame.shape:
            self._out = np.empty_like(frame)
        result = model(frame)
        cam = result.cam()
        paint(frame, cam, result.placement, GRAD_CAM_STYLE, out=self._out, pool=self._pool)
        return self._out, np.maximum(cam, 0)

    def pytorch_grad_cam(self, frame: Image) -> OverlayAndMap:
        """Draw as in the examples of pytorch-grad-cam: Grad-CAM and ``show_cam_on_image``."""
        rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        cam = self._grad_cam(_network_input(rgb).to(self._device), None)[0]
        image = rgb.astype(np.float32) / 255
        resized = cv2.resize(cam, (frame.shape[1], frame.shape[0]))
        return show_cam_on_image(image, resized, use_rgb=True), cam

    def torchcam(self, frame: Image) -> OverlayAndMap:
        """Draw as in the examples of torchcam: CAM and ``overlay_mask``."""
        rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        with torch.inference_mode():
            scores = self._network(_network_input(rgb).to(self._device))
        cam = self._torchcam(int(scores.argmax()), scores, normalized=False)[0][0].cpu().numpy()
        heatmap = (cam - cam.min()) / (cam.max() - cam.min())
        mask = PilImage.fromarray(heatmap.astype(np.float32))
        return np.asarray(overlay_mask(PilImage.fromarray(rgb), mask, alpha=0.5)), np.maximum(cam, 0)

    def onnx_runtime(self, frame: Image) -> OverlayAndMap:
        """Draw as most scripts do, with ONNX Runtime, NumPy and OpenCV; preprocessing is in the graph."""
        logits, features = self._session.run(["logits", "features"], {"image": cv2.resize(frame, (SIDE, SIDE))[None]})
        cam = self._positive_cam(logits, features)
        return usual_chain(frame, _scale_to_one(cam)), cam

    def _positive_cam(self, logits: F32, features: F32) -> F32:
        cam = np.tensordot(self._weights[int(logits[0].argmax())], features[0], axes=1)
        return np.maximum(cam, np.float32(0))


def _scale_to_one(cam: F32) -> F32:
    return cam / np.float32(max(float(cam.max()), 1e-12))


def _network_input(rgb: Image) -> torch.Tensor:
    """Return float32 (1, 3, SIDE, SIDE) of an image of any size."""
    values = np.asarray(cv2.resize(rgb, (SIDE, SIDE)), np.float32) / 255
    normalized = (values - np.asarray(IMAGENET_MEAN, np.float32)) / np.asarray(IMAGENET_STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normalized.transpose(2, 0, 1)[np.newaxis], np.float32))


def measure_whole_frame(
    libraries: Libraries, sizes: Sequence[tuple[int, int]], threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Compare the maps of all libraries, then time them from a frame to its overlay.

    Returns: one row of `_row` per frame size, with ``correlation``, see `_check_maps`.

    Raises:
        CamrtError: a library draws another map than camrt.
    """
    rows = []
    cv2.setNumThreads(threads)
    for width, height in sizes:
        frame = _frame(width, height)
        methods = libraries.methods()
        correlations = _check_maps(frame, methods | {"camrt": libraries.camrt_linear})
        calls = {name: partial(method, frame) for name, method in methods.items()}
        row = _row((width, height), threads, interleave(calls, rounds, turn=_TURN))
        rows.append(row | {"correlation": correlations})
    return rows


def _check_maps(frame: Image, methods: Mapping[str, Callable[[Image], OverlayAndMap]]) -> dict[str, float]:
    """Return the correlation of each library's map with that of camrt, both resized to the network's input."""
    reference = cv2.resize(methods["camrt"](frame)[1], (SIDE, SIDE))
    correlations = {}
    for name, method in methods.items():
        cam = cv2.resize(np.asarray(method(frame)[1], np.float32), (SIDE, SIDE))
        correlations[name] = float(np.corrcoef(reference.ravel(), cam.ravel())[0, 1])
        if name != OPENVINO_DEFAULT and not correlations[name] > MIN_CORRELATION:
            raise CamrtError(
                f"{name} draws another map than camrt (correlation {correlations[name]:.4f}), so their times cannot be "
                "compared"
            )
    return correlations


def measure_overlay(sizes: Sequence[tuple[int, int]], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Time only the drawing, upsampling included. Each library gets the input type that it needs.

    Returns: one row of `_row` per frame size.
    """
    rows = []
    cv2.setNumThreads(threads)
    pool = RowPool(drawing_threads(threads))
    heatmap = synthetic_heatmap(MAPS[0])
    mask = PilImage.fromarray(heatmap)
    for width, height in sizes:
        frame, out = _frame(width, height), np.empty((height, width, 3), np.uint8)
        float_frame, pil_frame = frame.astype(np.float32) / 255, PilImage.fromarray(frame)
        placement = place(InputGeometry(width=SIDE, height=SIDE), width, height)
        calls: dict[str, Callable[[], object]] = {
            "camrt": lambda: paint(frame, heatmap, placement, GRAD_CAM_STYLE, out=out, pool=pool),  # noqa: B023
            "torchcam": lambda: overlay_mask(pil_frame, mask, alpha=0.5),  # noqa: B023
            "pytorch-grad-cam": lambda: show_cam_on_image(float_frame, cv2.resize(heatmap, (width, height))),  # noqa: B023
        }
        rows.append(_row((width, height), threads, interleave(calls, rounds, turn=_TURN)))
    pool.close()
    return rows


def _frame(width: int, height: int) -> Image:
    image = synthetic_images(SIDE, SIDE)[-1]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _row(size: tuple[int, int], threads: int, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return ``frame``, ``threads``, and the times ``ms`` and ratios ``speedup`` to camrt's time of `compare`."""
    return {"frame": list(size), "threads": threads, **compare(seconds, to="camrt")}
