"""Open a model file and run it on frames."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from camrt import kernels, model_file
from camrt.cores import usable_cores
from camrt.errors import MissingInput, ModelFileError, NoModelFile, ProviderError, UsageError
from camrt.frame_input import as_frames
from camrt.geometry import fit, place
from camrt.images import Image
from camrt.model_file import InputGeometry, ModelInfo
from camrt.runtime.inference.providers import PROVIDERS, onnxruntime, reason_of
from camrt.runtime.inference.session import OpenedSession, open_session
from camrt.runtime.maps.decoder import MapDecoder
from camrt.runtime.maps.result import Result

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
) -> "Model":
    """Open a model file, run it once and compile the kernels, so that the first frame is as fast as the next.

    Args:
        path: a file made by ``camrt attach`` or ``camrt export``.
        provider: ``auto`` picks the best provider that works here. A provider you name, a key of
            `camrt.runtime.inference.providers.PROVIDERS` (``cpu``, ``cuda``, ``openvino``, ...), is used or reported
            as an error.
        threads: threads of ONNX Runtime on the CPU; None: one for each core this process may use.
        provider_options: options of a named provider, under ONNX Runtime's names.
        labels: names of the classes; None: those in the file.
        geometry: how frames become the network's input; None: as the file says.

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
    opened = open_session(path, provider, threads, provider_options)
    try:
        info = _read_info(path, opened, labels, geometry)
    except UnicodeDecodeError as error:  # ONNX Runtime does not check names and metadata
        raise ModelFileError(
            f"{path} is damaged: its metadata is not valid UTF-8 ({error.object!r}). Create it again with camrt attach."
        ) from error
    return Model(path, opened, threads, info, provider_options or {})


def _read_info(
    path: Path, opened: OpenedSession, labels: Sequence[str] | None, geometry: InputGeometry | None
) -> ModelInfo:
    """Return the metadata of the file, with the values of the caller. Raises: ModelFileError."""
    session = opened.session
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node.shape for node in session.get_outputs()}
    outputs |= {name: list(value.shape) for name, value in opened.constants.items()}
    heads = model_file.matching_heads(outputs)
    if model_file.IMAGE not in inputs or len(inputs) != 1 or not heads:
        raise NoModelFile(
            f"{path} is an ONNX model (inputs: {', '.join(inputs)}; outputs: {', '.join(outputs)}) but not a model "
            f"file of camrt, which has an input 'image' and the convolution features as an output. Make one: "
            f"camrt attach {path} -o {path.stem}.cam.onnx"
        )
    try:
        info = ModelInfo.from_metadata(session.get_modelmeta().custom_metadata_map)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    info = replace(info, head=info.head or heads[0])
    if info.head not in heads:
        raise ModelFileError(
            f"{path} says head {info.head!r} but its outputs are {', '.join(outputs)}; create it again"
        )
    if labels is not None:
        info = replace(info, labels=tuple(labels))
    if geometry is not None:
        info = replace(info, geometry=geometry)
    classes = outputs[model_file.LOGITS][-1]
    if info.labels is not None and isinstance(classes, int) and len(info.labels) != classes:
        raise ModelFileError(f"{path} has {classes} classes but {len(info.labels)} labels; pass the right labels")
    if info.geometry is None:
        raise ModelFileError(
            f"{path} does not say how a frame becomes its input. Create it again with camrt attach; in Python, "
            "camrt.load takes a geometry"
        )
    return info


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
        self.remarks = tuple(opened.remarks)
        """Reasons why ``auto`` did not pick a better provider, and the operators that are left to the CPU."""
        self.threads = threads
        self.info = info
        self.geometry = info.geometry
        self.head: model_file.Head = info.head
        self._session = opened.session
        self._ortvalue = onnxruntime().OrtValue.ortvalue_from_numpy
        self._maps = model_file.maps_output(self.head)
        first = self._run_once() | opened.constants
        self.classes = int(first[model_file.LOGITS].shape[1])
        """Number of classes K."""
        self.map_shape: tuple[int, int, int] = first[self._maps].shape[1:]
        """(C, h, w) of ``features``, or (K, h, w) of ``class_maps``."""
        self._map_type = first[self._maps].dtype
        scale, zero_point = self._quantization_params()
        self.decoder = MapDecoder(
            labels=model_file.class_labels(info.labels, self.classes),
            cam_weights=first.get(model_file.CAM_WEIGHTS),
            cam_bias=first.get(model_file.CAM_BIAS, np.zeros(self.classes, np.float32)),
            scale=scale,
            zero_point=zero_point,
            margin=info.map_margin,
        )
        """Labels, weights and scale, which every result carries."""
        kernels.warm_up()

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each class, in the order of the scores."""
        return self.decoder.labels

    @property
    def spare_threads(self) -> int:
        """Threads that may draw while the model runs.

        It is 1 if the model runs on the CPU: the model keeps every core busy, and an image shared between threads is
        done only when its last band has got a core. MobileNetV2 at 1920x1080 on two cores reaches 0.83 of the frame
        rate without drawing; with two threads, 0.77.
        """
        on_device = self.provider_options.get("device_type", "CPU") != "CPU"  # an option of OpenVINO
        return 1 if self.provider in ("cpu", "xnnpack", "openvino") and not on_device else self.threads

    def _run_once(self) -> dict[str, Any]:
        """Run on a black image: reads the constant outputs and the shapes, and lets the provider prepare."""
        black = np.zeros((1, self.geometry.height, self.geometry.width, 3), np.uint8)
        names = [node.name for node in self._session.get_outputs() if node.name in model_file.OUTPUTS[self.head]]
        try:
            values = self._session.run(names, {model_file.IMAGE: black})
        except Exception as error:  # ONNX Runtime's errors have no other common base class
            if self.provider == "cpu":
                raise ModelFileError(f"{self.path} cannot be run: {reason_of(error)}") from error
            raise ProviderError(f"provider {self.provider!r} cannot run {self.path}: {reason_of(error)}") from error
        if PROVIDERS[self.provider] not in self._session.get_providers():
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
        batch = np.empty((len(frames), self.geometry.height, self.geometry.width, 3), np.uint8)
        for frame, target in zip(frames, batch, strict=True):
            fit(frame, self.geometry, target)
        ready = time.perf_counter()
        outputs = self._infer(batch)
        done = time.perf_counter()
        share = 1e3 / len(frames)
        stages_ms = {"preprocess": (ready - start) * share, "inference": (done - ready) * share}
        return [
            Result(
                self.decoder,
                scores=outputs[model_file.SCORES][i],
                logits=outputs[model_file.LOGITS][i],
                maps=outputs[self._maps][i],
                placement=place(self.geometry, frame.shape[1], frame.shape[0]),
                stages_ms=stages_ms,
            )
            for i, frame in enumerate(frames)
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

    def _infer(self, batch: Image) -> dict[str, Any]:
        """Run the session on a batch, uint8 (N, H, W, 3); returns arrays that the caller owns."""
        outputs = {
            model_file.SCORES: np.empty((len(batch), self.classes), np.float32),
            model_file.LOGITS: np.empty((len(batch), self.classes), np.float32),
            self._maps: np.empty((len(batch), *self.map_shape), self._map_type),
        }
        # ONNX Runtime writes bound arrays in place: one copy from the device, none on the CPU.
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(model_file.IMAGE, self._ortvalue(batch))
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, self._ortvalue(array))
        self._session.run_with_iobinding(binding)
        return outputs

    def class_id(self, name: str) -> int:
        """Return the number of a class given by its label (any case) or its number.

        Raises:
            UsageError: no class or several classes match.
        """
        wanted = name.strip().casefold()
        if not wanted:
            raise UsageError("an empty class name; give a label, a part of one, or a number")
        exact = [number for number, label in enumerate(self.labels) if label.casefold() == wanted]
        if not exact and wanted.isdecimal() and int(wanted) < self.classes:
            return int(wanted)
        matches = exact or [number for number, label in enumerate(self.labels) if wanted in label.casefold()]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise UsageError(f"{self.path.name} has no class {name!r}; camrt inspect {self.path} --labels lists them")
        some = ", ".join(f"{number} ({self.labels[number]})" for number in matches[:5])
        raise UsageError(f"{len(matches)} classes match {name!r}: {some}; use a number")
