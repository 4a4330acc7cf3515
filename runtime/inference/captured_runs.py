"""Replay captured CUDA graphs: one launch for a whole network instead of one for each operator.

A graph reads and writes the device memory that it was captured with. So each batch size in use has an input and outputs
at fixed addresses, twice: while one graph runs, the threads that called copy images and results of the other one.
ONNX Runtime's limits (https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html, "Using CUDA
Graphs"): every operator runs on CUDA, no control flow, one run at a time, and the thread that captured a graph replays
it. A graph stays in memory as long as its session.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import LifoQueue
from typing import Any, Final

import numpy as np

from camrt import model_file
from camrt.images import Image
from camrt.runtime.inference.capture_gate import CaptureGate
from camrt.runtime.inference.create_session import graph_options
from camrt.runtime.inference.plain_runs import Output, PlainRuns
from camrt.runtime.inference.providers import onnxruntime, reason_of

MAX_SIZES: Final = 8
"""Most batch sizes with graphs of their own: the first ones in use. Other batches run without a graph."""
MAX_BATCH: Final = 32
"""Largest batch with a graph."""
NOT_USED: Final = "CUDA graphs are not used: "
"""Begin of the remark that gives the reason."""
PAGEABLE: Final = "page-locked memory is not used: "
"""Begin of the remark that gives the reason."""
_GRAPHS: Final = 2
"""Graphs of a batch size."""
_TIMED: Final = 10
"""Replays that are timed with each kind of host memory."""
# Replays must equal plain runs up to this share of the largest value: more than one step of uint8 maps.
_TOLERANCE: Final = 5e-3
# One thread and one gate for all models of this process: a capture fails if another thread copies meanwhile.
_thread: Final = ThreadPoolExecutor(1, "camrt-graphs")
_gate: Final = CaptureGate()

Allocator = Callable[[Sequence[int], "np.dtype[Any]"], Any]
"""Returns an ``OrtValue`` in memory of the host, of a shape and a dtype."""


@dataclass(frozen=True, slots=True)
class GraphCapture:
    """A session that captures graphs: where it runs, and its replacement."""

    device: str
    """Name of the kind of device in ONNX Runtime, such as ``cuda``."""
    number: int
    """Number of the device."""
    reopen: Callable[[], Any]
    """Returns a session of the same model that captures no graphs; a failed capture makes the first one useless."""
    host_allocator: Callable[[], Allocator] | None = None
    """Returns an allocator of memory that the device reads faster, or raises the reason why there is none."""


class CapturedRuns:
    """Runs a session by replaying graphs for each batch size in use; several threads may call it at once.

    The first batch of a size also runs without a graph. If a graph cannot be captured, gives other outputs, or fails
    later, all batches run without graphs from then on.
    """

    def __init__(self, session: Any, outputs: Sequence[Output], capture: GraphCapture) -> None:
        """Run an ``InferenceSession``, on CUDA with ``enable_cuda_graph=1``, and return its outputs."""
        self._session = session
        self._outputs = outputs
        self._capture = capture
        self._free: dict[int, LifoQueue[_Graph]] = {}
        """The graphs of each batch size that no thread uses."""
        self._image_bytes = 0
        """Bytes of the input and the outputs of one image."""
        self._allocate: Allocator | None = None
        self._uncaptured: PlainRuns | None = PlainRuns(session, outputs, graph_options(None))
        self._replacement: PlainRuns | None = None
        self.remarks: tuple[str, ...] = ()
        """The reasons why no graphs or no page-locked memory are used, if there are any; may grow at any run."""
        if capture.host_allocator is not None:
            try:
                self._allocate = capture.host_allocator()
            except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no other common base class
                self.remarks = (PAGEABLE + reason_of(error),)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that have graphs."""
        return tuple(self._free)

    @property
    def bytes_limit(self) -> int:
        """Most bytes of device memory that images and results of all graphs take; 0: no graph is used."""
        return _GRAPHS * self._image_bytes * sum(range(MAX_BATCH - MAX_SIZES + 1, MAX_BATCH + 1)) if self._free else 0

    def __call__(self, batch: Image) -> dict[str, Any]:
        """Return the outputs for a batch, uint8 (N, H, W, 3), by name, in arrays that the caller owns."""
        if self._replacement is not None:
            return self._replacement(batch)
        free = self._free.get(len(batch))
        if free is None:
            return self._in_thread(self._run, batch)
        try:
            return _replay(free, batch)
        except Exception as error:  # noqa: BLE001 - as above; the graph has worked before
            reason = reason_of(error)
        # Here, because an exception that is handled keeps the graph, and so the memory of its session.
        _thread.submit(self._give_up, reason).result()
        return self._in_thread(self._run, batch)

    def _in_thread(self, work: Callable[[Image], dict[str, Any]], batch: Image) -> dict[str, Any]:
        return _thread.submit(work, batch).result()

    def _run(self, batch: Image) -> dict[str, Any]:
        """Run without a graph, and capture graphs of this size; in the thread of the graphs."""
        if self._uncaptured is None:
            if self._replacement is None:
                self._replacement = PlainRuns(self._capture.reopen(), self._outputs)
            return self._replacement(batch)
        outputs = self._uncaptured(batch)
        size = len(batch)
        self._image_bytes = sum(array.nbytes for array in (batch, *outputs.values())) // size
        if size > MAX_BATCH or size in self._free or len(self._free) == MAX_SIZES:
            return outputs
        free: LifoQueue[_Graph] = LifoQueue()
        try:
            with _gate.capturing():
                for number in range(_GRAPHS):
                    graph = self._capture_graph(_GRAPHS * size + number, batch, outputs)
                    free.put(graph)
        except Exception as error:  # noqa: BLE001 - as above
            self._give_up(reason_of(error))
        else:
            self._free[size] = free
        return outputs

    def _capture_graph(self, number: int, batch: Image, outputs: dict[str, Any]) -> "_Graph":
        """Return a graph with the faster kind of host memory. Raises: Exception: it does not give these outputs."""
        graph = _Graph(self._session, self._outputs, self._capture, batch.shape, number)
        _check_equal(outputs, graph.replay(batch))
        if self._allocate is None:
            return graph
        seconds = _shortest_s(graph, batch)
        graph.replay(255 - batch)  # so that a copy that does nothing gives other outputs
        try:
            graph.use_host_memory(self._allocate)
            _check_equal(outputs, graph.replay(batch))
            if _shortest_s(graph, batch) >= seconds:
                graph.use_host_memory(None)
        except Exception as error:  # noqa: BLE001 - as above
            graph.use_host_memory(None)
            self._allocate = None
            self.remarks = (*self.remarks, PAGEABLE + reason_of(error))
        return graph

    def _give_up(self, reason: str) -> None:
        if self._uncaptured is None:
            return
        self.remarks = (*self.remarks, NOT_USED + reason)
        self._free = {}
        self._session = self._uncaptured = None  # frees its memory before the model is opened again


class _Graph:
    """A captured graph of one batch size, with its input and outputs on the device."""

    def __init__(
        self, session: Any, outputs: Sequence[Output], capture: GraphCapture, shape: tuple[int, ...], number: int
    ) -> None:
        runtime = onnxruntime()

        def buffer(shape: tuple[int, ...], dtype: Any) -> Any:
            return runtime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, capture.device, capture.number)

        self._session = session
        self._shapes = {output.name: ((shape[0], *output.shape), output.dtype) for output in outputs}
        self._image = buffer(shape, np.uint8)
        self._outputs = {name: buffer(*kind) for name, kind in self._shapes.items()}
        self._host: dict[str, Any] = {}
        """Image and outputs in memory of an allocator; empty: arrays of NumPy are copied."""
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(model_file.IMAGE, self._image)
        for output in outputs:
            self._binding.bind_ortvalue_output(output.in_file, self._outputs[output.name])
        self._options = graph_options(number)
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self.replay(noise)  # the first run warms up, then captures

    def use_host_memory(self, allocate: Allocator | None) -> None:
        """Copy through memory of an allocator from now on; None: through arrays of NumPy."""
        self._host = {}
        if allocate is not None:
            kinds = self._shapes | {model_file.IMAGE: (tuple(self._image.shape()), np.dtype(np.uint8))}
            self._host = {name: allocate(*kind) for name, kind in kinds.items()}

    def upload(self, batch: Image) -> None:
        """Copy a batch of the graph's size to the device."""
        if host := self._host.get(model_file.IMAGE):
            np.copyto(host.numpy(), batch)
            self._image.update_inplace(host)
        else:
            self._image.update_inplace(batch)

    def run(self) -> None:
        """Compute the outputs; in the thread that captured the graph."""
        self._session.run_with_iobinding(self._binding, self._options)

    def download(self) -> dict[str, Any]:
        """Return the outputs in arrays that the caller owns."""
        outputs = {}
        for name, value in self._outputs.items():
            if host := self._host.get(name):
                host.update_inplace(value)
                outputs[name] = host.numpy().copy()
            else:  # from a device, `numpy` returns a new array; on the CPU, one that changes with the next run
                outputs[name] = np.require(value.numpy(), requirements="O")
        return outputs

    def replay(self, batch: Image) -> dict[str, Any]:
        """Return the outputs for a batch; in the thread that captures the graph."""
        self.upload(batch)
        self.run()
        return self.download()


def _shortest_s(graph: _Graph, batch: Image) -> float:
    """Return the shortest time of a replay with its copies, in seconds; other programs only add to it."""
    times = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        graph.replay(batch)
        times.append(time.perf_counter() - start)
    return min(times)


def _replay(free: "LifoQueue[_Graph]", batch: Image) -> dict[str, Any]:
    """Return the outputs for a batch from the first graph that is free; the caller's thread copies."""
    graph = free.get()
    try:
        with _gate.copying():
            graph.upload(batch)
        _thread.submit(graph.run).result()
        with _gate.copying():
            return graph.download()
    finally:
        free.put(graph)


def _check_equal(expected: dict[str, Any], outputs: dict[str, Any]) -> None:
    """Raise a ValueError if an output differs by more than `_TOLERANCE`."""
    for name, array in expected.items():
        wanted, given = (value.astype(np.float64) for value in (array, outputs[name]))
        limit = _TOLERANCE * float(np.nanmax(np.abs(wanted), initial=0.0))
        if not np.allclose(given, wanted, rtol=0.0, atol=limit, equal_nan=True):
            raise ValueError(f"a replay gives other {name} than a run without a graph")
