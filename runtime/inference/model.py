"""Open a model file and run it on frames."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from camrt import kernels, model_file
from camrt.cores import usable_cores
from camrt.errors import MissingInput, ModelFileError, ProviderError, TimeLimitExceeded, UsageError
from camrt.frame_input import as_frames
from camrt.geometry import Placement, fit, place
from camrt.images import Image
from camrt.model_file import InputGeometry, ModelInfo
from camrt.runtime.inference.automatic import open_fastest
from camrt.runtime.inference.captured_runs import CapturedRuns
from camrt.runtime.inference.class_names import find_class
from camrt.runtime.inference.create_session import run_first
from camrt.runtime.inference.metadata import read_info
from camrt.runtime.inference.output_checks import check_outputs
from camrt.runtime.inference.plain_runs import Output, PlainRuns
from camrt.runtime.inference.precision import running_precision
from camrt.runtime.inference.providers import PROVIDERS, reason_of
from camrt.runtime.inference.session import OpenedSession, open_session
from camrt.runtime.maps.decoder import MapDecoder
from camrt.runtime.maps.result import Result
from camrt.runtime.maps.row_pool import drawing_threads

if TYPE_CHECKING:
    import PIL.Image


def load(
    path: str | Path,
    provider: str = "auto",
    threads: int | None = None,
    *,
    provider_options: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    geometry: InputGeometry | None = None,
    head: str | None = None,
) -> "Model":
    """Open a model file, run it once and compile the kernels, so that the first frame is as fast as the next.

    Args:
        path: a file made by ``camrt attach`` or ``camrt export``.
        provider: ``auto`` picks the fastest provider that gives the maps of the CPU; it measures once where several
            work. A provider you name, a key of `camrt.runtime.inference.providers.PROVIDERS` (``cpu``, ``cuda``,
            ``openvino``, ...), is used or reported as an error.
        threads: threads of ONNX Runtime on the CPU; None: one for each core this process may use.
        provider_options: options of a named provider, under ONNX Runtime's names.
        labels: names of the classes; None: those in the file.
        geometry: how frames become the network's input; None: as the file says.
        head: name of the head to compute, in a file with several (`Model.heads`); None: the first.

    Raises:
        MissingExtra: ONNX Runtime is not installed.
        ModelFileError: the file is missing, broken, or no model file of camrt.
        ProviderError: the provider cannot run here.
        UsageError: an argument is invalid.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInput(f"no model file at {path}" + (": it is a folder" if path.is_dir() else ""))
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads} must be at least 1; leave it out for one per core")
    threads = threads or usable_cores()
    if provider == "auto":
        if provider_options:
            names = ", ".join(provider_options)
            raise UsageError(f"provider options ({names}) need an explicit --provider; they cannot be used with 'auto'")
        open_named = partial(load, path, threads=threads, labels=labels, geometry=geometry, head=head)
        model, remarks = open_fastest(path, threads, head, open_named)
        model._remarks = (*remarks, *model._remarks)
        return model
    opened = open_session(path, provider, threads, provider_options, head)
    try:
        info = read_info(path, opened, labels, geometry)
    except UnicodeDecodeError as error:  # ONNX Runtime does not check names and metadata
        raise ModelFileError(
            f"{path} is damaged: its metadata is not valid UTF-8 ({error.object!r}). Create it again with camrt attach."
        ) from error
    return Model(path, opened, threads, info, provider_options or {})


class Model:
    """An opened model file; call it with a frame. Several threads may call it at once."""

    def __init__(
        self, path: Path, opened: OpenedSession, threads: int, info: ModelInfo, provider_options: Mapping[str, str]
    ) -> None:
        assert info.geometry is not None
        assert info.head is not None
        self.path = path
        self.provider = opened.provider
        """Name of the execution provider."""
        self.provider_options = dict(provider_options)
        """Options of the provider that the caller gave."""
        self._remarks = tuple(opened.remarks)
        self.precision = opened.precision
        """Precision of the file: ``fp32``, ``fp16``, ``int8`` and so on."""
        self.threads = threads
        self.info = info
        self.geometry = info.geometry
        self.head: model_file.Head = info.head
        """Kind of the head."""
        self.head_name = opened.part.name
        """Name of the head in a file with several; None: the file has one head."""
        self._file = _identity(path)
        self._names = {name: model_file.output_of(opened.part.further, name) for name in model_file.OUTPUTS[self.head]}
        self._maps = model_file.maps_output(self.head)
        first = self._run_once(opened.session) | opened.constants
        check_outputs(path, self.head, first, info.map_margin)
        self.classes = int(first[model_file.LOGITS].shape[1])
        """Number of classes K."""
        self.map_shape: tuple[int, int, int] = first[self._maps].shape[1:]
        """(C, h, w) of ``features``, or (K, h, w) of ``class_maps``."""
        self._map_type = first[self._maps].dtype
        outputs = [
            Output(name, self._names[name], first[name].shape[1:], first[name].dtype)
            for name in (model_file.SCORES, model_file.LOGITS, self._maps)
        ]
        self._runs: PlainRuns | CapturedRuns
        if opened.capture is None:
            self._runs = PlainRuns(opened.session, outputs)
        else:
            self._runs = CapturedRuns(opened.session, outputs, opened.capture)
            for _ in range(2):  # captures the graph of single frames; if that fails, opens the model again
                self._runs(self._black())
        scale, zero_point = self._quantization_params()
        self.decoder = MapDecoder(
            labels=model_file.class_labels(info.labels, self.classes),
            cam_weights=first.get(model_file.CAM_WEIGHTS),
            cam_bias=first.get(model_file.CAM_BIAS, np.zeros(self.classes, np.float32)),
            scale=scale,
            zero_point=zero_point,
            margin=info.map_margin,
            head=self.head_name,
        )
        """Labels, weights and scale, which every result carries."""
        kernels.warm_up()

    @property
    def remarks(self) -> tuple[str, ...]:
        """How ``auto`` chose the provider, what it leaves to the CPU, and how it computes the rest."""
        return (*self._remarks, *self._runs.remarks)

    @property
    def running_precision(self) -> str:
        """The precision that the provider computes in, as a phrase."""
        return running_precision(self.precision, self.provider, self.provider_options)

    @property
    def graph_sizes(self) -> tuple[int, ...]:
        """The batch sizes that have a captured CUDA graph."""
        return self._runs.sizes

    @property
    def graph_bytes_limit(self) -> int:
        """Most bytes of device memory that images and results of captured graphs take; 0 without graphs."""
        return self._runs.bytes_limit

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each class, in the order of the scores."""
        return self.decoder.labels

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of all heads of a file with several, the first first; empty: the file has one head, without a name."""
        return tuple(head.name for head in self.info.heads)

    def with_head(self, name: str) -> "Model":
        """Return a model of another head of the file; this model if it has that head.

        It has a session of its own, which computes the backbone and that head only. ONNX Runtime computes a whole
        graph whatever outputs are requested, so a session of all heads would run each head on each frame.

        Args:
            name: one of `heads`.

        Raises:
            UsageError: the file has no such head.
            ModelFileError: the file has changed since this model was opened.
            ProviderError: the provider cannot run it.
        """
        self.info.head_info(name)  # raises
        if name == self.head_name:
            return self
        if _identity(self.path) != self._file:
            raise ModelFileError(f"{self.path} has changed since it was opened; open it again")
        return load(
            self.path,
            self.provider,
            self.threads,
            provider_options=self.provider_options,
            geometry=self.geometry,
            head=name,
        )

    def with_threads(self, threads: int) -> "Model":
        """Return this model with another number of threads on the CPU, in a session of its own; see `load`."""
        if threads == self.threads:
            return self
        return load(
            self.path,
            self.provider,
            threads,
            provider_options=self.provider_options,
            labels=self.labels,
            geometry=self.geometry,
            head=self.head_name,
        )

    def labels_of(self, head: str | None) -> tuple[str, ...]:
        """Return the names of the classes of any head of the file; None: this head. Raises: UsageError."""
        if head in (None, self.head_name):
            return self.labels
        one = self.info.head_info(str(head))
        return model_file.class_labels(one.labels, one.classes)

    @property
    def spare_threads(self) -> int:
        """Threads that may draw while the model runs: see `drawing_threads`.

        It is 1 if the model runs on the CPU: the model keeps every core busy, and an image shared between threads is
        done only when its last band has got a core. MobileNetV2 at 1920x1080 on two cores reaches 0.83 of the frame
        rate without drawing; with two threads, 0.77.
        """
        on_device = self.provider_options.get("device_type", "CPU") != "CPU"  # an option of OpenVINO
        return 1 if self.provider in ("cpu", "xnnpack", "openvino") and not on_device else drawing_threads(self.threads)

    def _black(self) -> Image:
        return np.zeros((1, self.geometry.height, self.geometry.width, 3), np.uint8)

    def _run_once(self, session: Any) -> dict[str, Any]:
        """Run on a black image: reads the constant outputs and the shapes, and lets the provider prepare."""
        computed = {node.name for node in session.get_outputs()}
        names = [name for name, in_file in self._names.items() if in_file in computed]
        try:
            in_file = [self._names[name] for name in names]
            values = run_first(session, self.provider, in_file, {model_file.IMAGE: self._black()})
        except TimeLimitExceeded as error:
            raise TimeLimitExceeded(f"{self.path} cannot be run: {error}") from error
        except Exception as error:  # ONNX Runtime's errors have no other common base class
            if self.provider == "cpu":
                raise ModelFileError(f"{self.path} cannot be run: {reason_of(error)}") from error
            raise ProviderError(f"provider {self.provider!r} cannot run {self.path}: {reason_of(error)}") from error
        if PROVIDERS[self.provider] not in session.get_providers():
            raise ProviderError(
                f"provider {self.provider!r} failed on {self.path} at the first run and fell back to the CPU"
            )
        return dict(zip(names, values, strict=True))

    @overload
    def __call__(self, frames: "Image | PIL.Image.Image") -> Result: ...
    @overload
    def __call__(self, frames: "Sequence[Image | PIL.Image.Image]") -> list[Result]: ...
    def __call__(self, frames: Any) -> Result | list[Result]:
        """Classify a frame, or several in one batch.

        Args:
            frames: uint8 (H, W, 3) BGR of any size, as OpenCV reads images. Also: grey uint8 (H, W) or (H, W, 1); BGRA
                uint8 (H, W, 4), whose alpha is dropped; a PIL image, which knows its own order of colours. Or several:
                a list of them, whose sizes may differ, or an array uint8 (N, H, W, 3). Never modified.

        Returns: a result, or a list of them in the order of the frames.

        Raises:
            UsageError: a frame is none of these, such as None, floats, or a torch tensor.
        """
        images, single = as_frames(frames)
        if single:
            return self._run(images)[0]
        return self._run(images) if images else []

    def _run(self, frames: Sequence[Image]) -> list[Result]:
        start = time.perf_counter()
        batch = self.fitted(frames)
        preprocess_ms = 1e3 * (time.perf_counter() - start) / len(frames)
        placements = [place(self.geometry, frame.shape[1], frame.shape[0]) for frame in frames]
        return self.run_fitted(batch, placements, preprocess_ms)

    def fitted(self, frames: Sequence[Image]) -> Image:
        """Return what the network receives of frames: uint8 (N, height, width, 3) BGR, at the network's size."""
        batch = np.empty((len(frames), self.geometry.height, self.geometry.width, 3), np.uint8)
        for frame, target in zip(frames, batch, strict=True):
            fit(frame, self.geometry, target)
        return batch

    def run_fitted(self, batch: Image, placements: Sequence[Placement], preprocess_ms: float = 0.0) -> list[Result]:
        """Classify images at the network's size, for example changed copies of `fitted`.

        Args:
            batch: uint8 (N, height, width, 3) BGR.
            placements: of each image, how it lies on its frame.
            preprocess_ms: milliseconds that each image has taken so far.
        """
        start = time.perf_counter()
        outputs = self._runs(batch)
        inference_ms = 1e3 * (time.perf_counter() - start) / len(batch)
        stages_ms = {"preprocess": preprocess_ms, "inference": inference_ms}
        return [
            Result(
                self.decoder,
                scores=outputs[model_file.SCORES][i],
                logits=outputs[model_file.LOGITS][i],
                maps=outputs[self._maps][i],
                placement=placement,
                stages_ms=stages_ms,
            )
            for i, placement in enumerate(placements)
        ]

    def _quantization_params(self) -> tuple[float, int]:
        if self._map_type != np.uint8:
            return 1.0, 0
        try:
            grid = self.info.quantization_params
        except ModelFileError as error:
            raise ModelFileError(f"{self.path}: {error}") from error
        if grid is None:
            raise ModelFileError(
                f"{self.path}: its {self._maps} are uint8, but the metadata has no scale and zero point. Create the "
                "file again with camrt quantize."
            )
        return grid

    def class_id(self, name: str) -> int:
        """Return the number of a class given by its label (any case) or its number.

        Raises:
            UsageError: no class or several classes match.
        """
        return find_class(name, self.labels, self.path)


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return numbers that change when a file is replaced or written; None: it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
