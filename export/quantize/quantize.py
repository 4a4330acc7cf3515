"""Quantize a model file, and report the fidelity of the new file."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import onnx
from onnx import ModelProto, TensorProto

import camrt
from camrt.errors import ExportError, ModelFileError, UsageError
from camrt.export.graph.read import read_onnx
from camrt.export.graph.synthetic_images import Images
from camrt.export.graph.write import write_model
from camrt.export.quantize.backbone import split_model
from camrt.export.quantize.calibration import CalibrationImages, read_calibration
from camrt.export.quantize.fidelity import Fidelity, ImageFidelity, compare, group_by_class, predict, summarize
from camrt.export.quantize.fp16 import to_half
from camrt.export.quantize.half_storage import round_like_half
from camrt.export.quantize.int8 import METHODS, Int8Quantizer, Method, int8_sums_overflow
from camrt.export.verify.quantized import verify_quantized
from camrt.files import check_target
from camrt.model_file import HEAD_INPUT, POOLED, ModelInfo, class_labels, maps_output, matching_heads

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
    """The new file, its configuration, and its fidelity to the source."""

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
    rows: tuple[ImageFidelity, ...]
    """One for each of `images`."""
    images: Images
    """uint8 (N, H, W, 3), BGR: the network's inputs in the evaluation."""
    notes: tuple[str, ...]
    """One sentence for each limit of the result."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON, without the images."""
        fidelity = asdict(self.fidelity)
        classes = [
            {
                "class_id": class_id,
                "label": rows[0].label,
                **asdict(summarize(rows)),
                "worst": rows[0].name,
            }
            for class_id, rows in group_by_class(self.rows).items()
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
            "evaluated_on": fidelity.pop("images"),
            "held_out": self.held_out,
            "size_bytes": self.size,
            "source_size_bytes": self.source_size,
            "size_ratio": self.source_size / self.size,
            **fidelity,
            "classes": classes,
            "images": [asdict(row) for row in self.rows],
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
    """Make a model file that computes in 8-bit integers (or 16-bit floats) from one in 32-bit floats.

    One image in three is for calibration, the others are for evaluation. If the predictions or maps differ too much,
    other configurations are tried in turn: the last blocks in float32, ranges by percentile, and both. The first
    configuration that passes is used, or else the best.

    Args:
        source: a file made by ``camrt attach`` or ``camrt export``.
        target: the model file to write.
        calibration: folders of images, image files, or videos of what the network will see.
        method: calibration of the ranges of activations, ``minmax``, ``percentile`` or ``entropy``; None: ``minmax``,
            then ``percentile`` if the result does not pass.
        fp16: use 16-bit floats instead of 8-bit integers.
        overwrite: replace an existing target.

    Raises:
        ExportError: the source is no model file or not in float32, cannot be quantized, its maps need more bits than
            16-bit floats have, or the new file fails its verification; nothing is written.
        UsageError: an option has a wrong value, there are no images, or the target exists.
        SourceError: an image cannot be read.
        SinkError: the file cannot be written.
        MissingExtra: ONNX Runtime is not installed.
    """
    source, target = Path(source), Path(target)
    if method is not None and method not in METHODS:
        raise UsageError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    if fp16 and method is not None:
        raise UsageError("--method is for ranges of 8-bit integers, and 16-bit floats have none: leave it out")
    check_target(target, source, overwrite=overwrite)
    model, info = read_model_file(source)
    assert info.geometry is not None  # read_model_file refuses a file without
    images = read_calibration(calibration, info.geometry)
    best = _select(_candidates(model, info, images, method, fp16=fp16), model, info, images)
    if fp16 and best.attempt.fidelity.pearson_median < PEARSON:
        fidelity = best.attempt.fidelity
        raise ExportError(
            f"{source} needs more than the 11 bits of 16-bit floats: its maps would have a median correlation of "
            f"{fidelity.pearson_median:.2f} with those in float32, and {PEARSON} is the least; use it as it is"
        )
    verification = verify_quantized(best.model, best.info, images.evaluation)
    info = replace(best.info, verification=verification)
    onnx.helper.set_model_props(best.model, _other_metadata(model) | info.to_metadata())
    write_model(best.model, target)
    return QuantizationReport(
        path=str(target),
        source=str(source),
        kind=info.quantization["kind"],
        selected=best.attempt.configuration,
        attempts=tuple(best.attempts),
        passed=best.attempt.passed,
        calibrated_on=len(images.calibration),
        held_out=images.held_out,
        size=target.stat().st_size,
        source_size=source.stat().st_size,
        fidelity=best.attempt.fidelity,
        rows=tuple(best.rows),
        images=images.evaluation,
        notes=tuple(_notes(best, images, fp16=fp16)),
    )


def read_model_file(path: Path) -> tuple[ModelProto, ModelInfo]:
    """Read a model file that computes in float32; its metadata have a head and a geometry.

    Raises:
        ExportError: the file is no model file, has no geometry, or is quantized already.
    """
    model = read_onnx(path)
    try:
        info = ModelInfo.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    except ModelFileError as error:
        raise ExportError(f"{path}: {error}") from error
    heads = matching_heads({output.name for output in model.graph.output})
    if not heads or info.head not in (None, *heads):
        raise ExportError(
            f"{path} is no model file of camrt; make one first: camrt attach {path} -o {path.stem}.cam.onnx"
        )
    if info.geometry is None:
        raise ExportError(
            f"{path} does not say how a frame becomes its input, which calibration needs; create it again with "
            "camrt attach"
        )
    if info.heads:
        raise ExportError(
            f"{path} has {len(info.heads)} heads, and this needs a file with one; make one for each head: "
            f"camrt attach CLASSIFIER --output {info.heads[0].name} -o {info.heads[0].name}.onnx"
        )
    quantized = [node.op_type for node in model.graph.node if _computes_in_integers(node.op_type)]
    if info.quantization or quantized:
        evidence = info.quantization.get("kind") or f"it has {len(quantized)} nodes like {quantized[0]}"
        raise ExportError(
            f"{path} is quantized already ({evidence}); use it as it is, or quantize the file it was made from"
        )
    if any(tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for tensor in model.graph.initializer):
        raise ExportError(f"{path} computes in 16-bit floats already; quantize a model file of the float32 classifier")
    return model, replace(info, head=info.head or heads[0])


def _computes_in_integers(op_type: str) -> bool:
    return op_type in ("QuantizeLinear", "DequantizeLinear") or op_type.startswith("QLinear") or "Integer" in op_type


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A new model file in one configuration."""

    configuration: str
    model: ModelProto
    rounded: ModelProto
    """Computes on the CPU what ``model`` computes on a device with its numbers."""
    info: ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selection:
    """The candidate that was selected, and all attempts."""

    model: ModelProto
    info: ModelInfo
    attempt: Attempt
    rows: list[ImageFidelity]
    attempts: list[Attempt]


def _candidates(
    model: ModelProto, info: ModelInfo, images: CalibrationImages, method: Method | None, *, fp16: bool
) -> Iterator[_Candidate]:
    """Make a model file in each configuration, in the order in which they are tried."""
    if info.head is None or info.head == "saliency_map":
        raise ExportError(
            "models with their own 'saliency_map' output cannot be quantized here; quantize the classifier, then run "
            "camrt attach on the result"
        )
    split = split_model(model, maps_output(info.head) if info.head in POOLED else HEAD_INPUT)
    version = {"by": f"camrt {camrt.__version__}"}
    if fp16:
        half = to_half(split, images.calibration)
        half_facts = {
            "kind": "fp16",
            "calibration": f"{len(images.calibration)} images",
            "scaled": half.scaled,
            "float_nodes": half.float_nodes,
            **version,
        }
        configuration = "16-bit floats"
        if half.scaled:
            configuration += ", scaled by powers of two"
        if half.float_nodes:
            configuration += f", {half.float_nodes} nodes in float32"
        yield _Candidate(
            configuration=configuration,
            model=half.model,
            rounded=round_like_half(half.model),
            info=replace(info, quantization=half_facts),
        )
        return
    reduce_range = int8_sums_overflow()
    quantizer = Int8Quantizer(split, images.calibration, reduce_range=reduce_range)
    methods: list[Method] = [method] if method else ["minmax", "percentile"]
    for each in methods:
        for last_in_float in (False, True):
            quantized = quantizer.quantize(each, last_in_float=last_in_float)
            quantization: dict[str, Any] = {
                "kind": "int8",
                "method": each,
                "calibration": f"{len(images.calibration)} images",
                "weights": f"{7 if reduce_range else 8} bits, a scale for each channel",
                "float_nodes": quantized.float_nodes,
                **version,
            }
            if (params := quantized.quantization_params) is not None:
                quantization["features"] = dict(zip(("scale", "zero_point"), params, strict=True))
            configuration = f"8-bit integers, calibrated by {each}"
            if last_in_float:
                configuration += f", the last {quantized.float_nodes} nodes in float32"
            new_info = replace(info, quantization=quantization)
            yield _Candidate(configuration=configuration, model=quantized.model, rounded=quantized.model, info=new_info)


def _select(
    candidates: Iterator[_Candidate], model: ModelProto, info: ModelInfo, images: CalibrationImages
) -> _Selection:
    """Evaluate the candidates in order; return the first that passes, or the best of all."""
    reference = predict(model, info, images.evaluation)
    labels = class_labels(info.labels, reference.classes)
    best: _Selection | None = None
    attempts: list[Attempt] = []
    for candidate in candidates:
        predictions = predict(candidate.rounded, candidate.info, images.evaluation, reference.class_ids)
        rows = compare(reference, predictions, images.names, labels)
        attempt = Attempt(configuration=candidate.configuration, fidelity=summarize(rows))
        attempts.append(attempt)
        if best is None or _quality(attempt) > _quality(best.attempt):
            best = _Selection(
                model=candidate.model,
                info=_add_fidelity(candidate.info, attempt.fidelity),
                attempt=attempt,
                rows=rows,
                attempts=attempts,
            )
        if attempt.passed:
            break
    return cast(_Selection, best)  # there is at least one candidate


def _quality(attempt: Attempt) -> float:
    """Return how nearly an attempt passes, at most 2; rounded, so that an earlier attempt wins within a percent."""
    fidelity = attempt.fidelity
    return round(min(fidelity.top1_agreement / TOP1, 1.0) + min(fidelity.pearson_median / PEARSON, 1.0), 2)


def _add_fidelity(info: ModelInfo, fidelity: Fidelity) -> ModelInfo:
    """Return metadata with the fidelity beside the quantization."""
    values = asdict(fidelity)
    evaluation = {"evaluated_on": f"{values.pop('images')} images", **values}
    return replace(info, quantization={**info.quantization, **evaluation})


def _other_metadata(model: ModelProto) -> dict[str, str]:
    """Return the metadata of other tools."""
    return {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith("camrt.")}


def _notes(best: _Selection, images: CalibrationImages, *, fp16: bool) -> Iterator[str]:
    if len(best.attempts) > 1:
        yield f"{len(best.attempts)} configurations were tried; selected: {best.attempt.configuration}."
    if not best.attempt.passed:
        help_int8 = "" if fp16 else "; more images of what the network will see may help, or --fp16"
        yield f"It falls short of {TOP1:.0%} equal predictions or a median correlation of {PEARSON}{help_int8}."
    if fp16:
        yield (
            "Classes and maps were computed on the CPU, with each tensor rounded to 16 bits as a GPU stores it; a GPU "
            "may add in another order."
        )
    if not images.held_out:
        yield (
            f"With only {len(images.evaluation)} images, the evaluation uses the images of the calibration: the "
            "numbers are too good."
        )
    if best.info.quantization.get("weights", "").startswith("7"):
        yield (
            "This processor has no VNNI: its 8-bit sums may overflow, so weights have 7 bits. Quantize files for "
            "processors with VNNI, or for ARM, on such a processor."
        )
