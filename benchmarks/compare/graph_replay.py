"""Time the inference stage of one frame against a captured graph that is replayed by hand.

By hand means the shortest program that does the same: ONNX Runtime, buffers on the device, a captured CUDA graph, and
copies of the image in and of the outputs back. On the CPU the same program runs without a graph.
"""

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from camrt import model_file
from camrt.images import Image
from camrt.interleaved_timing import interleave
from camrt.runtime.inference.create_session import create_session, graph_options
from camrt.runtime.inference.model import Model
from camrt.runtime.inference.providers import onnxruntime

_TURN = 6
"""Calls in a row; the first is not counted."""
_FEWEST = 3
"""Fewest rounds."""
_COMPUTED = (model_file.SCORES, model_file.LOGITS, model_file.FEATURES, model_file.CLASS_MAPS)


class GraphByHand:
    """The outputs of a model file for one image, without anything that camrt adds."""

    def __init__(self, path: Path, provider: str, threads: int) -> None:
        """Open a file with ``cpu`` or ``cuda``; on CUDA the graph is captured at once."""
        runtime = onnxruntime()
        options = {"enable_cuda_graph": "1"} if provider == "cuda" else {}
        self._session = create_session(runtime, str(path), provider=provider, threads=threads, options=options)
        name = self._session.get_inputs()[0].name
        shape = [1, *self._session.get_inputs()[0].shape[1:]]
        wanted = [node.name for node in self._session.get_outputs() if node.name in _COMPUTED]
        black = np.zeros(shape, np.uint8)
        values = dict(zip(wanted, self._session.run(wanted, {name: black}, graph_options(None)), strict=True))

        def buffer(shape: tuple[int, ...], dtype: Any) -> Any:
            return runtime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, provider, 0)

        self._image = buffer(black.shape, np.uint8)
        self._outputs = {name: buffer(value.shape, value.dtype) for name, value in values.items()}
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(name, self._image)
        for output, value in self._outputs.items():
            self._binding.bind_ortvalue_output(output, value)
        self._options = graph_options(1)
        self(black)

    def __call__(self, batch: Image) -> dict[str, Any]:
        """Return the outputs for uint8 (1, H, W, 3), by name."""
        self._image.update_inplace(batch)
        self._session.run_with_iobinding(self._binding, self._options)
        return {name: value.numpy() for name, value in self._outputs.items()}


def measure(model: Model, seconds: float) -> dict[str, Any]:
    """Compare the inference stage of a model with the same file by hand, for about so many seconds.

    Returns: ``ms``, the median times of ``camrt`` and ``by hand``; ``ratio``, the first divided by the second;
    ``difference``, the largest one of the logits as a share of the largest; ``remarks`` of the model.
    """
    by_hand = GraphByHand(model.path, model.provider, model.threads)
    shape = (model.geometry.height, model.geometry.width, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    stage_ms: list[float] = []

    def camrt() -> None:
        stage_ms.append(model(image).stages_ms["inference"])

    calls = {"camrt": camrt, "by hand": lambda: by_hand(image[np.newaxis])}
    once_s = sum(times[0] for times in interleave(calls, 1).values())
    rounds = max(_FEWEST, round(seconds / (_TURN * once_s)))
    stage_ms.clear()
    by_hand_s = interleave(calls, rounds, turn=_TURN)["by hand"]
    ms = {"camrt": statistics.median(stage_ms), "by hand": 1e3 * statistics.median(by_hand_s)}
    logits, expected = model(image).logits, by_hand(image[np.newaxis])[model_file.LOGITS][0]
    return {
        "ms": ms,
        "ratio": ms["camrt"] / ms["by hand"],
        "difference": float(np.abs(logits - expected).max() / np.abs(expected).max()),
        "remarks": list(model.remarks),
    }
