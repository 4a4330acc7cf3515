"""Model file in, the same in fewer bits out, with a report of what that did to its answers and maps."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import onnx
from onnx import ModelProto, TensorProto

import camrt
from camrt.errors import ExportError, ModelFileError, UsageError
from camrt.export.graph.read import read_onnx
from camrt.export.graph.synthetic_images import Pictures
from camrt.export.graph.write import write_model
from camrt.export.quantize.backbone import take_apart
from camrt.export.quantize.calibration import CalibrationPictures, read_calibration
from camrt.export.quantize.fidelity import Fidelity, PictureFidelity, by_class, compare, maps_of, observe, summarize
from camrt.export.quantize.fp16 import to_half
from camrt.export.quantize.int8 import METHODS, Method, Quantizer, overflows_here
from camrt.export.verify.quantized import verify_quantized
from camrt.files import check_target
from camrt.model_file import ASKED_MAP, EXACT, OUTPUTS, ModelInfo

TOP1: Final = 0.98
"""Share of images with the same predicted class below which another configuration is tried."""
PEARSON: Final = 0.98
"""Median correlation of the maps below which another configuration is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One configuration and its fidelity."""

    configuration: str
    """In words."""
    fidelity: Fidelity

    @property
    def passed(self) -> bool:
        """True if no other configuration needs to be tried."""
        return self.fidelity.top1_agreement >= TOP1 and self.fidelity.pearson_median >= PEARSON


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport:
    """What was written, how, and how alike it is to what it was made from."""

    path: str
    source: str
    kind: str
    """``int8`` or ``fp16``."""
    selected: str
    """The configuration of the new file, in words."""
    attempts: tuple[Attempt, ...]
    """Every configuration that was tried, in order."""
    passed: bool
    """The predicted classes and the maps are similar enough."""
    calibrated_on: int
    """Number of images; 0 if nothing was calibrated."""
    held_out: bool
    """The images of the evaluation are others than those of the calibration."""
    size: int
    """Of the new file, in bytes."""
    source_size: int
    fidelity: Fidelity
    rows: tuple[PictureFidelity, ...]
    """One a picture, in the order of `pictures`."""
    pictures: Pictures
    """uint8 (N, H, W, 3), BGR: the network's inputs that it was judged by."""
    notes: tuple[str, ...]
    """One sentence for each thing that one should know."""

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold, all but the pictures."""
        fidelity = asdict(self.fidelity)
        classes = [
            {
                "class_id": class_id,
                "label": rows[0].label,
                **asdict(summarize(rows)),
                "worst": rows[0].name,
            }
            for class_id, rows in by_class(self.rows).items()
        ]
        return {
            "path": self.path,
            "source": self.source,
            "kind": self.kind,
            "selected": self.selected,
            "passed": self.passed,
            "attempts": [
                {"configuration": attempt.configuration, **asdict(attempt.fidelity)} for attempt in self.attempts
            ],
            "calibrated_on": self.calibrated_on,
            "evaluated_on": fidelity.pop("pictures"),
            "held_out": self.held_out,
            "size_bytes": self.size,
            "source_size_bytes": self.source_size,
            "size_ratio": self.source_size / self.size,
            **fidelity,
            "classes": classes,
            "pictures": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


def quantize(
    source: str | Path,
    target: str | Path,
    *,
    calibration: str | Path | Sequence[str | Path],
    method: Method | None = None,
    fp16: bool = False,
    overwrite: bool = False,
) -> QuantizationReport:
    """Make a model file that computes in 8-bit integers (or 16-bit floats) of one that computes in 32-bit floats.

    One picture in three calibrates, the others judge. Where they find the answers or the maps too unlike, the last
    blocks are left in float32, then ranges are calibrated by percentile, then both; the first way that is good enough
    is taken, or else the best.

    Args:
        source: a file made by ``camrt attach`` or ``camrt export``.
        target: the model file to write.
        calibration: folders of pictures, pictures, or videos of what the network will see.
        method: how the ranges of activations are found, ``minmax``, ``percentile`` or ``entropy``; None: ``minmax``,
            and ``percentile`` where that is not good enough.
        fp16: 16-bit floats in place of 8-bit integers.
        overwrite: replace an existing target.

    Raises:
        ExportError: the source is no model file or not in float32, cannot be quantized, or the new file fails its
            verification; nothing is written.
        UsageError: an option has a wrong value, there are no images, or the target exists.
        SourceError: an image cannot be read.
        SinkError: the file cannot be written.
        MissingExtra: ONNX Runtime is not installed.
    """
    source, target = Path(source), Path(target)
    if method is not None and method not in METHODS:
        raise UsageError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    if fp16 and method is not None:
        raise UsageError("16-bit floats need no calibration: leave --method (method=...) out")
    check_target(target, source, overwrite=overwrite)
    model, info = read_model_file(source)
    assert info.geometry is not None  # read_model_file refuses a file without
    pictures = read_calibration(calibration, info.geometry, divide=not fp16)
    best = _best(_candidates(model, info, pictures, method, fp16=fp16), model, info, pictures)
    verification = verify_quantized(best.model, best.info, pictures.judging)
    info = replace(best.info, verification=verification)
    onnx.helper.set_model_props(best.model, _foreign(model) | info.to_metadata())
    write_model(best.model, target)
    return QuantizationReport(
        path=str(target),
        source=str(source),
        kind=info.quantization["kind"],
        selected=best.attempt.configuration,
        attempts=tuple(best.attempts),
        passed=best.attempt.passed,
        calibrated_on=0 if fp16 else len(pictures.calibrating),
        held_out=pictures.held_out or fp16,
        size=target.stat().st_size,
        source_size=source.stat().st_size,
        fidelity=best.attempt.fidelity,
        rows=tuple(best.rows),
        pictures=pictures.judging,
        notes=tuple(_notes(best, pictures, fp16=fp16)),
    )


def read_model_file(path: Path) -> tuple[ModelProto, ModelInfo]:
    """Read a model file that computes in float32.

    Raises:
        ExportError: it is no model file, says too little of itself, or was quantized before.
    """
    model = read_onnx(path)
    try:
        info = ModelInfo.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    except ModelFileError as error:
        raise ExportError(f"{path}: {error}") from error
    outputs = {output.name for output in model.graph.output}
    heads = [head for head, names in OUTPUTS.items() if set(names) <= outputs]
    if not heads or info.head not in (None, *heads):
        raise ExportError(
            f"{path} is no model file of camrt; make one first: camrt attach {path} -o {path.stem}.cam.onnx"
        )
    if info.geometry is None:
        raise ExportError(f"{path} does not say how a frame becomes its input, so no picture can calibrate it")
    quantized = [node.op_type for node in model.graph.node if _computes_in_integers(node.op_type)]
    if info.quantization or quantized:
        how = info.quantization.get("kind") or f"it has {len(quantized)} nodes like {quantized[0]}"
        raise ExportError(
            f"{path} is quantized already ({how}); use it as it is, or quantize the file that it was made from"
        )
    if any(tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for tensor in model.graph.initializer):
        raise ExportError(f"{path} computes in 16-bit floats already; quantize a model file of the float32 classifier")
    return model, replace(info, head=info.head or heads[0])


def _computes_in_integers(op_type: str) -> bool:
    return op_type in ("QuantizeLinear", "DequantizeLinear") or op_type.startswith("QLinear") or "Integer" in op_type


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    configuration: str
    model: ModelProto
    info: ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    model: ModelProto
    info: ModelInfo
    attempt: Attempt
    rows: list[PictureFidelity]
    attempts: list[Attempt]


def _candidates(
    model: ModelProto, info: ModelInfo, pictures: CalibrationPictures, method: Method | None, *, fp16: bool
) -> Iterator[_Candidate]:
    """Make one file after the other, as long as somebody asks for the next."""
    if info.head == "saliency_map":
        raise ExportError(
            "its maps are an output of the classifier's own beside the scores, so there is no place to part it at; "
            "quantize the classifier, and attach that"
        )
    parts = take_apart(model, maps_of(info) if info.head in EXACT else ASKED_MAP)
    common = {"by": f"camrt {camrt.__version__}"}
    facts: dict[str, Any] = {"kind": "fp16", **common}
    if fp16:
        yield _Candidate(configuration="16-bit floats", model=to_half(parts), info=replace(info, quantization=facts))
        return
    narrow = overflows_here()
    quantizer = Quantizer(parts, pictures.calibrating, reduce_range=narrow)
    methods: list[Method] = [method] if method else ["minmax", "percentile"]
    for each in methods:
        for last_in_float in (False, True):
            made = quantizer.quantize(each, last_in_float=last_in_float)
            facts = {
                "kind": "int8",
                "method": each,
                "calibration": f"{len(pictures.calibrating)} pictures",
                "weights": f"{7 if narrow else 8} bits, a scale for each channel",
                "float_nodes": made.float_nodes,
                **common,
            }
            if made.grid is not None:
                facts["features"] = dict(zip(("scale", "zero_point"), made.grid, strict=True))
            configuration = f"8-bit integers, calibrated by {each}"
            if last_in_float:
                configuration += f", the last {made.float_nodes} nodes in float32"
            yield _Candidate(configuration=configuration, model=made.model, info=replace(info, quantization=facts))


def _best(candidates: Iterator[_Candidate], model: ModelProto, info: ModelInfo, pictures: CalibrationPictures) -> _Best:
    """Judge one after the other until one is good; return that, or the best of all."""
    reference = observe(model, info, pictures.judging)
    classes = len(info.labels) if info.labels else int(max(reference.answers)) + 1
    labels = info.labels or tuple(f"class {number}" for number in range(classes))
    best: _Best | None = None
    attempts: list[Attempt] = []
    for candidate in candidates:
        found = observe(candidate.model, candidate.info, pictures.judging, reference.answers)
        if info.labels is None and max(found.answers) >= len(labels):
            labels = tuple(f"class {number}" for number in range(int(max(found.answers)) + 1))
        rows = compare(reference, found, pictures.names, labels)
        attempt = Attempt(configuration=candidate.configuration, fidelity=summarize(rows))
        attempts.append(attempt)
        if best is None or _nearness(attempt) > _nearness(best.attempt):
            best = _Best(
                model=candidate.model,
                info=_with(candidate.info, attempt.fidelity),
                attempt=attempt,
                rows=rows,
                attempts=attempts,
            )
        if attempt.passed:
            break
    return cast(_Best, best)  # there is one candidate at least


def _nearness(attempt: Attempt) -> float:
    """Return how near a way comes to being good; a percent at least is a reason to leave an earlier, simpler way."""
    fidelity = attempt.fidelity
    return round(min(fidelity.top1_agreement / TOP1, 1.0) + min(fidelity.pearson_median / PEARSON, 1.0), 2)


def _with(info: ModelInfo, fidelity: Fidelity) -> ModelInfo:
    numbers = asdict(fidelity)
    judged = {"judged_by": f"{numbers.pop('pictures')} pictures", **numbers}
    return replace(info, quantization={**info.quantization, **judged})


def _foreign(model: ModelProto) -> dict[str, str]:
    """Return the metadata that others wrote."""
    return {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith("camrt.")}


def _notes(best: _Best, pictures: CalibrationPictures, *, fp16: bool) -> Iterator[str]:
    if len(best.attempts) > 1:
        yield f"{len(best.attempts)} configurations were tried; selected: {best.attempt.configuration}."
    if not best.attempt.passed:
        yield (
            f"It falls short of {TOP1:.0%} equal answers or a median correlation of {PEARSON}; more pictures of what "
            "the network will see may help, or --fp16."
        )
    if not pictures.held_out and not fp16:
        yield (
            f"With {len(pictures.judging)} pictures only, it was judged by the same that it was calibrated on: "
            "take the numbers as flattering."
        )
    if best.info.quantization.get("weights", "").startswith("7"):
        yield (
            "This processor has no VNNI: its 8-bit sums may overflow, so weights have 7 bits. A file for a processor "
            "with VNNI, or for ARM, is better made there."
        )
