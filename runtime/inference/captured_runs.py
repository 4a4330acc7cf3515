"""Replay captured CUDA graphs: one launch for a whole network instead of one for each operator.

A graph reads and writes the device memory that it was captured with. So each batch size in use has an input and outputs
at fixed addresses. ONNX Runtime's limits (https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html,
"Using CUDA Graphs"): every operator runs on CUDA, no control flow, one run at a time, and the thread that captured a
graph replays it. A graph stays in memory as long as its session.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from camrt import model_file
from camrt.images import Image
from camrt.runtime.inference.create_session import graph_options
from camrt.runtime.inference.plain_runs import Output, PlainRuns
from camrt.runtime.inference.providers import onnxruntime, reason_of

MAX_SIZES: Final = 8
"""Most batch sizes with a graph of their own: the first ones in use. Other batches run without a graph."""
MAX_BATCH: Final = 32
"""Largest batch with a graph."""
NOT_USED: Final = "CUDA graphs are not used: "
"""Begin of the remark that gives the reason."""
# Replays must equal plain runs up to this share of the largest value: more than one step of uint8 maps.
_TOLERANCE: Final = 5e-3
# One thread for all models of this process: a capture fails if another thread copies or allocates meanwhile.
_thread: Final = ThreadPoolExecutor(1, "camrt-graphs")


@dataclass(frozen=True, slots=True)
class GraphCapture:
    """A session that captures graphs: where it runs, and its replacement."""

    device: str
    """Name of the kind of device in ONNX Runtime, such as ``cuda``."""
    number: int
    """Number of the device."""
    reopen: Callable[[], Any]
    """Returns a session of the same model that captures no graphs; a failed capture makes the first one useless."""


class CapturedRuns:
    """Runs a session by replaying a graph for each batch size in use; several threads may call it at once.

    The first batch of a size also runs without a graph. If the graph cannot be captured, or gives other outputs, all
    batches run without graphs from then on.
    """

    def __init__(self, session: Any, outputs: Sequence[Output], capture: GraphCapture) -> None:
        """Run an ``InferenceSession``, on CUDA with ``enable_cuda_graph=1``, and return its outputs."""
        self._session = session
        self._outputs = outputs
        self._capture = capture
        self._graphs: dict[int, _Graph] = {}
        self._uncaptured: PlainRuns | None = PlainRuns(session, outputs, graph_options(None))
        self._replacement: PlainRuns | None = None
        self.remarks: tuple[str, ...] = ()
        """The reason why no graphs are used, if there is one."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that have a graph."""
        return tuple(self._graphs)

    def __call__(self, batch: Image) -> dict[str, Any]:
        """Return the outputs for a batch, uint8 (N, H, W, 3), by name, in arrays that the caller owns."""
        if self._replacement is not None:
            return self._replacement(batch)
        return _thread.submit(self._run, batch).result()

    def _run(self, batch: Image) -> dict[str, Any]:
        if self._uncaptured is None:
            if self._replacement is None:
                self._replacement = PlainRuns(self._capture.reopen(), self._outputs)
            return self._replacement(batch)
        size = len(batch)
        if graph := self._graphs.get(size):
            return graph.replay(batch)
        outputs = self._uncaptured(batch)
        if size > MAX_BATCH or len(self._graphs) == MAX_SIZES:
            return outputs
        try:
            graph = _Graph(self._session, self._outputs, self._capture, batch.shape)
            replayed = graph.replay(batch)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no other common base class
            self._give_up(reason_of(error))
        else:
            if differing := _differing(outputs, replayed):
                self._give_up(f"a replay gives other {differing} than a run without a graph")
            else:
                self._graphs[size] = graph
        return outputs

    def _give_up(self, reason: str) -> None:
        self.remarks = (NOT_USED + reason,)
        self._graphs.clear()
        self._session = self._uncaptured = None  # frees its memory before the model is opened again


class _Graph:
    """A captured graph of one batch size, with its input and outputs on the device."""

    def __init__(self, session: Any, outputs: Sequence[Output], capture: GraphCapture, shape: tuple[int, ...]) -> None:
        runtime = onnxruntime()

        def buffer(shape: tuple[int, ...], dtype: Any) -> Any:
            return runtime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, capture.device, capture.number)

        self._session = session
        self._image = buffer(shape, np.uint8)
        self._outputs = {output.name: buffer((shape[0], *output.shape), output.dtype) for output in outputs}
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(model_file.IMAGE, self._image)
        for output in outputs:
            self._binding.bind_ortvalue_output(output.in_file, self._outputs[output.name])
        self._options = graph_options(shape[0])
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self.replay(noise)  # the first run warms up, then captures

    def replay(self, batch: Image) -> dict[str, Any]:
        """Return the outputs for a batch of the graph's size, in arrays that the caller owns."""
        self._image.update_inplace(batch)
        self._session.run_with_iobinding(self._binding, self._options)
        # From a device, `numpy` returns a new array; on the CPU, one that changes with the next run.
        return {name: np.require(value.numpy(), requirements="O") for name, value in self._outputs.items()}


def _differing(expected: dict[str, Any], outputs: dict[str, Any]) -> str | None:
    """Return the name of the first output that differs; None: all are equal within `_TOLERANCE`."""
    for name, array in expected.items():
        wanted, given = (value.astype(np.float64) for value in (array, outputs[name]))
        limit = _TOLERANCE * float(np.nanmax(np.abs(wanted), initial=0.0))
        if not np.allclose(given, wanted, rtol=0.0, atol=limit, equal_nan=True):
            return name
    return None
