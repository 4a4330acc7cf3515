"""The model file: what ``camrt.export`` writes and ``camrt.runtime`` reads. Needs nothing but Python.

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

Heads that are not "linear" differ in what a class map is:

    class_maps    what is pooled: its spatial mean is the logit
    per_position  the logit that the head gives to a map of that cell alone
    tokens        the same for the token of that patch
    masked        the logit of a map whose other cells are zero (Recipro-CAM)
    saliency_map  what the source calls so, as it is

In a quantized file ``features`` and ``class_maps`` may be uint8; what the numbers mean is said by `ModelInfo.map_grid`.

The rest is metadata under ``camrt.*``, described by `ModelInfo`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from camrt.errors import ModelFileError

FORMAT: Final = 1

IMAGE: Final = "image"
SCORES: Final = "scores"
LOGITS: Final = "logits"
FEATURES: Final = "features"
CAM_WEIGHTS: Final = "cam_weights"
CAM_BIAS: Final = "cam_bias"
CLASS_MAPS: Final = "class_maps"

SALIENCY_MAP: Final = "saliency_map"

Head = Literal["linear", "class_maps", "per_position", "tokens", "masked", "saliency_map"]
Activation = Literal["softmax", "sigmoid", "none"]
Resize = Literal["stretch", "crop", "letterbox"]
Interpolation = Literal["linear", "area"]

OUTPUTS: Final[dict[Head, tuple[str, ...]]] = {
    head: (SCORES, LOGITS, FEATURES, CAM_WEIGHTS, CAM_BIAS) if head == "linear" else (SCORES, LOGITS, CLASS_MAPS)
    for head in get_args(Head)
}
ASKED_MAP: Final = "asked_map"
"""Name, inside the graph, of the map whose cells the heads "per_position", "tokens" and "masked" are asked about."""
EXACT: Final[frozenset[Head]] = frozenset({"linear", "class_maps"})
"""Heads whose maps add up to the logits: the CAM identity holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputGeometry:
    """How a frame of any size becomes the network's input."""

    width: int
    """Width of the network's input in pixels."""
    height: int
    """Height of the network's input in pixels."""
    resize: Resize = "stretch"
    """``stretch`` ignores the aspect ratio; ``crop`` keeps it and takes the centre; ``letterbox`` keeps it and pads
    with black."""
    shorter_side: int | None = None
    """``crop`` only: the frame's shorter side is scaled to this many pixels before the centre is taken; None: just
    as far as the crop needs, so that nothing of the shorter side is lost."""
    interpolation: Interpolation = "linear"
    """``linear`` is OpenCV's INTER_LINEAR (no antialiasing), ``area`` its INTER_AREA."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ModelFileError(f"input size {self.width}x{self.height} is empty")
        for name, value, choices in (
            ("resize", self.resize, get_args(Resize)),
            ("interpolation", self.interpolation, get_args(Interpolation)),
        ):
            if value not in choices:
                raise ModelFileError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
        if self.shorter_side is not None and (
            self.resize != "crop" or self.shorter_side < max(self.width, self.height)
        ):
            raise ModelFileError(
                f"shorter_side={self.shorter_side} needs resize 'crop' and at least the input's "
                f"{self.width}x{self.height} pixels"
            )


def maps_output(head: Head) -> str:
    """Return the output from which the class maps are computed."""
    return FEATURES if head == "linear" else CLASS_MAPS


def matching_heads(outputs: Collection[str]) -> list[Head]:
    """Return the heads that a file with these outputs can have; empty: it is no model file."""
    return [head for head, names in OUTPUTS.items() if set(names) <= set(outputs)]


def class_labels(labels: tuple[str, ...] | None, classes: int) -> tuple[str, ...]:
    """Return the labels of the classes, or ``class 0``, ``class 1``, ... if the file has none."""
    return labels or tuple(f"class {number}" for number in range(classes))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The metadata of a model file. None (or an empty mapping): the file does not say."""

    labels: tuple[str, ...] | None = None
    """Name of each class, in the order of the scores."""
    geometry: InputGeometry | None = None
    activation: Activation | None = None
    """What turned ``logits`` into ``scores``; with ``none`` they are the same."""
    head: Head | None = None
    map_margin: int = 0
    """Cells on every side of the maps that cover padding only: part of the identity, no part of the picture."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """What the graph does to the pixels: ``channels`` (rgb or bgr), ``scale``, ``mean``, ``std``."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """What the file was made from, and by which versions."""
    verification: Mapping[str, Any] = field(default_factory=dict)
    """How the file was verified before it was written: errors, tolerances, pictures."""
    quantization: Mapping[str, Any] = field(default_factory=dict)
    """What was done to compute with fewer bits: ``kind`` (int8 or fp16), how, and how alike the maps are;
    ``features`` has the ``scale`` and ``zero_point`` of maps that are uint8."""

    @property
    def map_grid(self) -> tuple[float, int] | None:
        """What the numbers of uint8 maps mean, (scale, zero_point): value = (number - zero_point) * scale.

        Raises:
            ModelFileError: it is stated, but makes no sense.
        """
        stated = self.quantization.get("features")
        if stated is None:
            return None
        try:
            scale, zero_point = float(stated["scale"]), int(stated["zero_point"])
        except (TypeError, ValueError, KeyError) as error:
            raise ModelFileError(f"metadata camrt.quantization: features is {stated!r}; make the file anew") from error
        if not (0.0 < scale < float("inf") and 0 <= zero_point <= 255):
            raise ModelFileError(f"metadata camrt.quantization: features is {stated!r}; make the file anew")
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
        }
        stated = {"format": FORMAT, **{key: value for key, value in entries.items() if value not in (None, {})}}
        return {f"camrt.{key}": json.dumps(value, ensure_ascii=False) for key, value in stated.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelInfo":
        """Read the ``camrt.*`` entries; other entries are ignored.

        Raises:
            ModelFileError: an entry is not what `to_metadata` writes, or the file is of a newer format.
        """
        entries: dict[str, Any] = {}
        for key, text in metadata.items():
            if key.startswith("camrt."):
                try:
                    entries[key.removeprefix("camrt.")] = json.loads(text)
                except ValueError as error:
                    raise ModelFileError(f"metadata {key} is not JSON ({error}); make the file anew") from error
        if entries.get("format", FORMAT) != FORMAT:
            raise ModelFileError(
                f"the file is of format {entries['format']}, this camrt reads format {FORMAT}; "
                "update camrt or make the file anew"
            )
        for key, choices in (("head", get_args(Head)), ("activation", get_args(Activation))):
            if entries.get(key, choices[0]) not in choices:
                raise ModelFileError(f"metadata camrt.{key} is {entries[key]!r}; known: {', '.join(choices)}")
        try:
            labels = entries.get("labels")
            geometry = entries.get("input")
            return cls(
                labels=None if labels is None else tuple(str(label) for label in labels),
                geometry=None if geometry is None else InputGeometry(**geometry),
                activation=entries.get("activation"),
                head=entries.get("head"),
                map_margin=int(entries.get("map_margin", 0)),
                preprocessing=dict(entries.get("preprocessing", {})),
                source=dict(entries.get("source", {})),
                verification=dict(entries.get("verification", {})),
                quantization=dict(entries.get("quantization", {})),
            )
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"the camrt.* metadata cannot be read ({error}); make the file anew") from error
