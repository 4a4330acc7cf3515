"""Definition of the model file, which ``camrt.export`` writes and ``camrt.runtime`` reads. Needs only Python.

One ``.onnx`` file holds everything a device needs. Its graph has one input, ``image``, and these outputs:

    image         uint8    [N, H, W, 3]  BGR pixels at the network's size; the preprocessing is in the graph
    scores        float32  [N, K]        after the activation
    logits        float32  [N, K]        before it; the CAM identity holds for these
    head "linear":
      features    float32  [N, C, h, w]  the maps that are pooled
      cam_weights float32  [K, C]        constant
      cam_bias    float32  [K]           constant
    any other head:
      class_maps  float32  [N, K, h, w]  one map a class
    head "weighted_cells" also:
      cam_bias    float32  [K]           constant

Heads that are not "linear" differ in what a class map is:

    pooled_class_maps  the tensor that is pooled; its spatial mean is the logit
    weighted_cells     each cell: its share of the logit times h * w; the spatial mean plus the bias is the logit
    per_position       each cell: the logit of the head for a feature map of this cell alone
    tokens             each cell: the logit of the head for the token of this patch
    masked             each cell: the logit for a feature map whose other cells are zero (Recipro-CAM)
    saliency_map       the output ``saliency_map`` of the source, unchanged

In a quantized file ``features`` and ``class_maps`` may be uint8; `ModelInfo.quantization_params` gives their values.

A file may have several heads on one backbone. The first has the outputs above, so a reader that knows one head only
reads it. Each further head NAME has the same outputs as ``scores.NAME``, ``logits.NAME`` and so on. The entry
``camrt.heads`` lists all heads with their names (`HeadInfo`); input, geometry and preprocessing are shared.

All other facts are metadata under ``camrt.*``, described by `ModelInfo`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from reprlib import repr as brief
from typing import Any, Final, Literal, get_args

from camrt.errors import ModelFileError, UsageError
from camrt.text import one_line

FORMAT: Final = 1
_CREATE_AGAIN: Final = "Create the file again."

IMAGE: Final = "image"
SCORES: Final = "scores"
LOGITS: Final = "logits"
FEATURES: Final = "features"
CAM_WEIGHTS: Final = "cam_weights"
CAM_BIAS: Final = "cam_bias"
CLASS_MAPS: Final = "class_maps"

SALIENCY_MAP: Final = "saliency_map"
MOST_PIXELS: Final = 1 << 26
"""Pixels of the largest input, 8192 x 8192: a file must not ask for more memory than any network needs."""

Head = Literal["linear", "pooled_class_maps", "weighted_cells", "per_position", "tokens", "masked", "saliency_map"]
Activation = Literal["softmax", "sigmoid", "none"]
Resize = Literal["stretch", "crop", "letterbox"]
Interpolation = Literal["antialias", "linear", "area"]

OUTPUTS: Final[dict[Head, tuple[str, ...]]] = dict.fromkeys(get_args(Head), (SCORES, LOGITS, CLASS_MAPS)) | {
    "linear": (SCORES, LOGITS, FEATURES, CAM_WEIGHTS, CAM_BIAS),
    "weighted_cells": (SCORES, LOGITS, CLASS_MAPS, CAM_BIAS),
}
HEAD_INPUT: Final = "asked_map"
"""Name, inside the graph, of the feature map that all heads read except those in `POOLED` and "saliency_map"."""
POOLED: Final[frozenset[Head]] = frozenset({"linear", "pooled_class_maps"})
"""Heads whose maps are a tensor that the network pools."""
EXACT: Final[frozenset[Head]] = POOLED | {"weighted_cells"}
"""Heads whose maps add up to the logits: the CAM identity holds."""


def maps_output(head: Head) -> str:
    """Return the output from which the class maps are computed."""
    return FEATURES if head == "linear" else CLASS_MAPS


def output_of(head: str | None, output: str) -> str:
    """Return the name in the file of an output such as `SCORES`; ``head`` is a further head, None: the first."""
    return output if head is None else f"{output}.{head}"


def matching_heads(outputs: Collection[str]) -> list[Head]:
    """Return the heads that a file with these outputs can have; empty: it is no model file."""
    return [head for head, names in OUTPUTS.items() if set(names) <= set(outputs)]


def class_labels(labels: tuple[str, ...] | None, classes: int) -> tuple[str, ...]:
    """Return the labels of the classes, or ``class 0``, ``class 1``, ... if the file has none."""
    return labels or tuple(f"class {number}" for number in range(classes))


@dataclass(frozen=True, slots=True, kw_only=True)
class InputGeometry:
    """How a frame of any size becomes the network's input."""

    width: int
    """Width of the network's input in pixels."""
    height: int
    """Height of the network's input in pixels."""
    resize: Resize = "stretch"
    """``stretch`` ignores the aspect ratio. ``crop`` keeps it and uses the centre. ``letterbox`` keeps it and pads with
    black."""
    shorter_side: int | None = None
    """``crop`` only: length in pixels to which the shorter side is scaled before the crop. None: the crop covers the
    whole shorter side."""
    interpolation: Interpolation = "antialias"
    """``antialias`` is bilinear with antialiasing, as in Pillow and torchvision. ``linear`` is OpenCV's INTER_LINEAR,
    without antialiasing, ``area`` its INTER_AREA."""

    def __post_init__(self) -> None:
        for side, length in (("width", self.width), ("height", self.height)):
            _whole(f"{side} of the input", length, 1)
        if self.width * self.height > MOST_PIXELS:
            raise ModelFileError(f"input size {self.width}x{self.height}: more than {MOST_PIXELS} pixels")
        for name, value, choices in (
            ("resize", self.resize, get_args(Resize)),
            ("interpolation", self.interpolation, get_args(Interpolation)),
        ):
            if not isinstance(value, str) or value not in choices:
                raise ModelFileError(f"{name} is {brief(value)}; it must be one of {', '.join(choices)}")
        if self.shorter_side is None:
            return
        _whole("shorter side", self.shorter_side, 1)
        if self.resize != "crop":
            raise ModelFileError(f"a shorter side of {self.shorter_side} pixels needs resize 'crop'")
        if self.shorter_side < max(self.width, self.height):
            raise ModelFileError(
                f"a shorter side of {self.shorter_side} pixels is too short to crop {self.width}x{self.height} from it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadInfo:
    """The entries of one head in a file with several; `ModelInfo` describes them."""

    name: str
    """The source's output that gives the scores."""
    classes: int
    """Number of classes K."""
    labels: tuple[str, ...] | None
    activation: Activation
    head: Head
    map_margin: int
    verification: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or one_line(self.name) != self.name:
            raise ModelFileError(f"a head is called {brief(self.name)}; its name must be a text that can be printed")
        if self.labels is not None and len(self.labels) != self.classes:
            raise ModelFileError(f"head {self.name!r} has {self.classes} classes and {len(self.labels)} labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The metadata of a model file. None or an empty mapping: the file has no such entry."""

    labels: tuple[str, ...] | None = None
    """Name of each class, in the order of the scores; control characters in a file are read as escape sequences."""
    geometry: InputGeometry | None = None
    activation: Activation | None = None
    """Activation between ``logits`` and ``scores``; with ``none`` they are equal."""
    head: Head | None = None
    map_margin: int = 0
    """Cells on each side of a map that cover only padding. They count in the identity and are not drawn."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """Preprocessing in the graph: ``channels`` (rgb, bgr, grey, rgba or bgra), ``scale``, ``mean``, ``std``, and
    ``invert`` where 255 - pixel takes the pixel's place."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """The classifier that the file was made from, and the versions of the tools."""
    verification: Mapping[str, Any] = field(default_factory=dict)
    """Result of the verification before the file was written: errors, tolerances, images."""
    quantization: Mapping[str, Any] = field(default_factory=dict)
    """Quantization: ``kind`` (int8 or fp16), method, and fidelity of the maps. ``features`` has the ``scale`` and
    ``zero_point`` of uint8 maps."""
    heads: tuple[HeadInfo, ...] = ()
    """All heads of a file with several, the first first: its entries are those above, too."""

    def head_info(self, name: str) -> HeadInfo:
        """Return the entries of a head. Raises: UsageError: the file has no such head."""
        for head in self.heads:
            if head.name == name:
                return head
        names = ", ".join(head.name for head in self.heads)
        raise UsageError(f"no head {name!r}; the model has {names or 'one head, which has no name'}")

    def of_head(self, name: str | None) -> "ModelInfo":
        """Return the metadata with the entries of one head; None: as they are. Raises: UsageError."""
        if name is None:
            return self
        one = self.head_info(name)
        return replace(
            self,
            labels=one.labels,
            activation=one.activation,
            head=one.head,
            map_margin=one.map_margin,
            verification=one.verification,
        )

    @property
    def quantization_params(self) -> tuple[float, int] | None:
        """Return (scale, zero_point) of uint8 maps: value = (number - zero_point) * scale. None: no such entry.

        Raises:
            ModelFileError: the entry is invalid.
        """
        entry = self.quantization.get("features")
        if entry is None:
            return None
        problem = f"metadata camrt.quantization: features is {brief(entry)}. {_CREATE_AGAIN}"
        try:
            scale, zero_point = float(entry["scale"]), int(entry["zero_point"])
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise ModelFileError(problem) from error
        if not (0.0 < scale < float("inf") and 0 <= zero_point <= 255):
            raise ModelFileError(problem)
        return scale, zero_point

    def to_metadata(self) -> dict[str, str]:
        """Return the ``camrt.*`` entries for the ONNX file's ``metadata_props``."""
        entries: dict[str, Any] = {
            "labels": self.labels,
            "input": None if self.geometry is None else asdict(self.geometry),
            "activation": self.activation,
            "head": self.head,
            "map_margin": self.map_margin,
            "preprocessing": dict(self.preprocessing),
            "source": dict(self.source),
            "verification": dict(self.verification),
            "quantization": dict(self.quantization),
            "heads": [asdict(head) for head in self.heads],
        }
        present = {"format": FORMAT, **{key: value for key, value in entries.items() if value not in (None, {}, [])}}
        return {f"camrt.{key}": json.dumps(value, ensure_ascii=False) for key, value in present.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelInfo":
        """Read the ``camrt.*`` entries; other entries are ignored.

        Raises:
            ModelFileError: an entry differs from the form that `to_metadata` writes, or the format is newer.
        """
        entries: dict[str, Any] = {}
        for key, text in metadata.items():
            if key.startswith("camrt."):
                try:
                    entries[key.removeprefix("camrt.")] = json.loads(text)
                except (ValueError, RecursionError) as error:  # RecursionError: it is nested too deeply
                    raise ModelFileError(f"metadata {key} is not JSON ({error}). {_CREATE_AGAIN}") from error
        if entries.get("format", FORMAT) != FORMAT:
            raise ModelFileError(
                f"the file has format {entries['format']}; this camrt reads format {FORMAT}. "
                f"Update camrt, or create the file again with this version."
            )
        _check_choices(entries)
        try:
            geometry = entries.get("input")
            return cls(
                labels=_labels(entries.get("labels")),
                geometry=None if geometry is None else InputGeometry(**geometry),
                activation=entries.get("activation"),
                head=entries.get("head"),
                map_margin=_whole("map_margin", entries.get("map_margin", 0), 0),
                preprocessing=_mapping(entries, "preprocessing"),
                source=_mapping(entries, "source"),
                verification=_mapping(entries, "verification"),
                quantization=_mapping(entries, "quantization"),
                heads=_heads(entries.get("heads", [])),
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ModelFileError(f"the camrt.* metadata cannot be read ({error}). {_CREATE_AGAIN}") from error


def _whole(name: str, value: Any, low: int) -> int:
    """Return a whole number of a file. Raises: ModelFileError: it is none, or below ``low`` or above `MOST_PIXELS`."""
    if type(value) is not int or not low <= value <= MOST_PIXELS:
        raise ModelFileError(f"{name} is {brief(value)}; it must be a whole number from {low} to {MOST_PIXELS}")
    return value


def _check_choices(entries: Mapping[str, Any]) -> None:
    for key, choices in (("head", get_args(Head)), ("activation", get_args(Activation))):
        value = entries.get(key, choices[0])
        if not isinstance(value, str) or value not in choices:
            raise ModelFileError(f"metadata camrt.{key} is {brief(value)}; known: {', '.join(choices)}")


def _mapping(entries: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = entries.get(key, {})
    if not isinstance(value, dict):
        raise ModelFileError(f"metadata camrt.{key} is {brief(value)}, which is no JSON object. {_CREATE_AGAIN}")
    return value


def _labels(entry: Any) -> tuple[str, ...] | None:
    if entry is None:
        return None
    if not isinstance(entry, list) or not all(isinstance(label, str) for label in entry):
        raise ModelFileError(f"metadata camrt.labels is {brief(entry)}, which is no list of texts. {_CREATE_AGAIN}")
    return tuple(map(one_line, entry))


def _heads(entry: Any) -> tuple[HeadInfo, ...]:
    if not isinstance(entry, list) or not all(isinstance(head, dict) for head in entry):
        raise ModelFileError(f"metadata camrt.heads is {brief(entry)}, which is no list of objects. {_CREATE_AGAIN}")
    for head in entry:
        _check_choices(head)
    return tuple(
        HeadInfo(
            name=head["name"],
            classes=_whole("classes", head["classes"], 1),
            labels=_labels(head["labels"]),
            activation=head["activation"],
            head=head["head"],
            map_margin=_whole("map_margin", head["map_margin"], 0),
            verification=_mapping(head, "verification"),
        )
        for head in entry
    )
