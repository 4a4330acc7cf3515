"""Read what a classifier's file and the files beside it state, and put it together.

The precedence is: options of the user, the file's own metadata, files beside it. Two places that contradict each other
are refused, unless an option decides.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from onnx import ModelProto

from camrt.errors import ExportError, UsageError
from camrt.export.graph.network_input import ImageLayout, NetworkInput
from camrt.export.graph.preprocessing import Channels
from camrt.export.source_metadata.beside import folders_of
from camrt.export.source_metadata.custom_vision import read_custom_vision
from camrt.export.source_metadata.hugging_face import read_config, read_preprocessor
from camrt.export.source_metadata.label_file import read_label_entry, read_label_file
from camrt.export.source_metadata.onnx_image import read_onnx_image
from camrt.export.source_metadata.openvino import read_model_info
from camrt.export.source_metadata.statement import Numbers, Statement
from camrt.export.source_metadata.teachable_machine import read_teachable_machine
from camrt.export.source_metadata.ultralytics import read_ultralytics
from camrt.model_file import Activation, Resize

Property = Literal["channels", "numbers", "size", "resize", "labels", "activation"]
PROPERTIES: Final[dict[Property, str]] = {
    "labels": "--labels FILE",
    "channels": "--rgb or --bgr",
    "numbers": "--scale, --mean and --std",
    "resize": "--resize",
    "size": "--size",
    "activation": "--activation",
}
"""The properties that options decide, with their flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """The facts of all places together. None: no place states this, or an option decides."""

    channels: Channels | None = None
    numbers: Numbers | None = None
    size: tuple[int, int] | None = None
    """(width, height) in pixels."""
    resize: tuple[Resize, int | None] | None = None
    labels: tuple[str, ...] | None = None
    activation: Activation | None = None
    layout: ImageLayout | None = None
    places: Mapping[Property, str] = field(default_factory=dict)
    """The place of each fact, for messages."""
    notes: tuple[str, ...] = ()
    """One sentence for each fact that the model file does not follow."""

    def at_size(self, own: tuple[int, int], size: tuple[int, int]) -> "SourceFacts":
        """Return the facts of a network whose input has another size than its own: the shorter side follows."""
        how, stated = self.resize or ("stretch", None)
        if stated is None:
            return self
        shorter_side = round(stated * max(size[0] / own[0], size[1] / own[1]))
        note = (
            f"The shorter side of {stated} pixels ({self.places['resize']}) is {shorter_side} here, in proportion to "
            "the input's size."
        )
        return replace(self, resize=(how, shorter_side), notes=(*self.notes, note))

    def sentences(self) -> tuple[str, ...]:
        """Return one sentence for each place: what was read there."""
        facts: dict[str, list[str]] = {}
        for name in PROPERTIES:
            if name in self.places:
                facts.setdefault(self.places[name], []).append(describe(name, getattr(self, name)))
        return tuple(f"From {place}: {', '.join(texts)}." for place, texts in facts.items())


def collect(
    model: ModelProto, path: Path | None, decided: Collection[Property], *, output_is_named: bool
) -> SourceFacts:
    """Read all places.

    Args:
        model: the classifier.
        path: its file; None: it has none, so there are no files beside it.
        decided: the properties that the user's options decide.
        output_is_named: the user chose an output.

    Raises:
        UsageError: two places contradict each other, or one cannot be read, and no option decides.
        ExportError: the metadata say that the network does not classify images.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    statements: list[Statement | None] = [
        _read("its metadata", lambda: read_model_info(metadata, model)),
        _read("its metadata", lambda: read_ultralytics(metadata, output_is_named=output_is_named)),
        _read("its metadata", lambda: read_onnx_image(metadata, model)),
    ]
    if not _state_labels(statements):
        statements.append(read_label_entry(metadata))
    folders = () if path is None else folders_of(path)
    readers = (read_preprocessor, read_config, read_custom_vision, read_teachable_machine)
    statements += [_read(f"a file in {folder}", partial(read, folder)) for folder in folders for read in readers]
    if "labels" not in decided and not _state_labels(statements):
        statements.append(next((found for folder in folders if (found := read_label_file(folder))), None))
    return _combine([statement for statement in statements if statement is not None], decided)


def _read(place: str, read: Callable[[], Statement | None]) -> Statement | None:
    """Call a reader. Raises: UsageError if a value has a type or range that its format does not allow."""
    try:
        return read()
    except (UsageError, ExportError):
        raise
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"the classifier is described by {place}, which holds a wrong value: {error}") from error


def _state_labels(statements: Sequence[Statement | None]) -> bool:
    return any(statement is not None and statement.labels is not None for statement in statements)


def _combine(statements: Sequence[Statement], decided: Collection[Property]) -> SourceFacts:
    facts: dict[str, Any] = {}
    places: dict[Property, str] = {}
    for name, flag in PROPERTIES.items():
        for statement in statements:
            value = getattr(statement, name)
            if value is None or name in decided:
                continue
            if isinstance(value, UsageError):
                raise value
            if name not in facts:
                facts[name], places[name] = value, statement.place
            elif not (value.agrees_with(facts[name]) if isinstance(value, Numbers) else value == facts[name]):
                raise UsageError(
                    f"{places[name]}: {describe(name, facts[name])}; but {statement.place}: {describe(name, value)}. "
                    f"Pass {flag} to decide"
                )
    layout = next((statement.layout for statement in statements if statement.layout), None)
    notes = tuple(note for statement in statements for note in statement.notes)
    return SourceFacts(**facts, layout=layout, places=places, notes=notes)


def check_against_graph(facts: SourceFacts, network_input: NetworkInput) -> None:
    """Raise UsageError if the facts contradict the graph's input."""
    channels = facts.channels
    if channels is not None and (channels == "grey") != (network_input.channels == 1):
        raise UsageError(
            f"{facts.places['channels']}: {describe('channels', channels)}; but the network's input has "
            f"{network_input.channels} channel(s). Pass {PROPERTIES['channels']} to decide"
        )
    if facts.layout is not None and facts.layout != network_input.layout:
        raise UsageError(
            f"the file denotes its input's axes as {facts.layout.upper()}, but the shape of input "
            f"{network_input.name!r} is {network_input.layout.upper()}; export the network with one of them"
        )
    if facts.size is not None and facts.size != network_input.size:
        raise UsageError(
            f"{facts.places['size']}: {describe('size', facts.size)}; but the network's input is "
            f"{network_input.width}x{network_input.height}. Pass --size {network_input.width}x{network_input.height} "
            "to decide"
        )


def size_for_open_input(model: ModelProto, stated: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the stated size if the graph leaves its own open, else None."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        return None
    dimensions = inputs[0].type.tensor_type.shape.dim
    return stated if sum(dimension.dim_value < 1 for dimension in dimensions[1:]) >= 2 else None


def describe(name: Property, value: Any) -> str:
    """Return a fact in words."""
    if name == "labels":
        return f"{len(value)} labels ({'; '.join(value[:3])}{'; ...' if len(value) > 3 else ''})"
    if name == "channels":
        return "grey images" if value == "grey" else f"channel order {value.upper()}"
    if name == "numbers":
        return str(value.describe())
    if name == "size":
        return f"input size {value[0]}x{value[1]}"
    if name == "resize":
        how, shorter_side = value
        words = {"stretch": "frames stretched", "letterbox": "frames with bars", "crop": "the centre cropped"}[how]
        return words + (f" after the shorter side was scaled to {shorter_side}" if shorter_side else "")
    return f"scores by {value}"
