"""Draw class activation maps with OpenVINO and the fastest chain of OpenCV functions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
from numpy.typing import NDArray

from camrt.benchmarks.compare.overlay import ThriftyChain
from camrt.images import Image

F32 = NDArray[np.float32]
PRECISIONS: Mapping[str, Mapping[str, str]] = {"fp32": {"INFERENCE_PRECISION_HINT": "f32"}, "default": {}}
"""Settings of OpenVINO by precision. Its default is bfloat16 on processors that have it."""


class OpenVinoOverlay:
    """A model file with a linear head in OpenVINO, on the CPU."""

    def __init__(self, file: Path, weights: F32, threads: int, precision: str) -> None:
        """Compile the network.

        Args:
            file: model file with maps in float32.
            weights: float32 (K, C), rows of the linear layer.
            threads: threads of OpenVINO.
            precision: one of `PRECISIONS`.
        """
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.Core().compile_model(file, "CPU", settings | dict(PRECISIONS[precision]))
        _, self._height, self._width, _ = compiled.input("image").partial_shape.get_max_shape()
        self._request = compiled.create_infer_request()
        self._weights = weights
        self._chain: ThriftyChain | None = None

    def __call__(self, frame: Image) -> tuple[Image, F32]:
        """Draw the map of the best class.

        Args:
            frame: uint8 (H, W, 3) BGR.

        Returns: the overlay, uint8 (H, W, 3), valid until the next call; and the positive part of the map, float32
        (h, w).
        """
        image = cv2.resize(frame, (self._width, self._height))
        outputs = self._request.infer({"image": image[None]}, share_inputs=True)
        cam = np.tensordot(self._weights[int(outputs["logits"][0].argmax())], outputs["features"][0], axes=1)
        cam = np.maximum(cam, np.float32(0))
        heatmap = np.asarray(cam / max(float(cam.max()), 1e-12), np.float32)
        if self._chain is None or not self._chain.fits(frame):
            self._chain = ThriftyChain(frame)
        return self._chain(frame, heatmap), cam
