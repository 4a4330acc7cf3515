"""Options of several heads: one set of options for each output that the caller names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from camrt.errors import UsageError
from camrt.export.labels.read import NO_LABELS
from camrt.export.options import ConversionOptions
from camrt.export.source_metadata.collect import Property, SourceFacts
from camrt.model_file import Activation

Labels = Sequence[str] | str | Path


def options_of_heads(
    shared: ConversionOptions,
    output: str | Sequence[str] | None,
    labels: Labels | Mapping[str, Labels] | None,
    activation: Activation | Mapping[str, Activation] | None,
) -> list[ConversionOptions]:
    """Return the options of each head, in the order of the outputs.

    Args:
        shared: options of all heads; the first head alone is checked on labelled images, since they share one
            preprocessing.
        output: the outputs, a head each; None: the only one with a head.
        labels: labels of the only head, or of each output by its name.
        activation: of all heads, or of each output by its name.

    Raises:
        UsageError: an output is named twice, or labels or an activation belong to none.
    """
    names: list[str | None] = [output] if output is None or isinstance(output, str) else list(output)
    if not names:
        raise UsageError("output is an empty list; name an output, or leave it out")
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"output {repeated!r} is named twice; a head needs one --output")
    if len(names) > 1 and not (labels is None or isinstance(labels, Mapping) or str(labels) == NO_LABELS):
        raise UsageError(
            f"there are {len(names)} heads, and labels of one; name the output of each: "
            + " ".join(f"--labels {name}=FILE" for name in names)
        )
    _check_names("labels", labels, names)
    _check_names("an activation", activation, names)
    return [
        replace(
            shared,
            output=name,
            labels=labels.get(str(name)) if isinstance(labels, Mapping) else labels,
            activation=activation.get(str(name)) if isinstance(activation, Mapping) else activation,
            check=None if number else shared.check,
        )
        for number, name in enumerate(names)
    ]


def without_stated_labels(facts: SourceFacts) -> SourceFacts:
    """Return what a file states, without labels: of several heads, they may belong to any."""
    if facts.labels is None:
        return facts
    places: dict[Property, str] = {name: place for name, place in facts.places.items() if name != "labels"}
    note = (
        f"{facts.places['labels']} has {len(facts.labels)} labels and does not say for which head; they are not used "
        "(--labels NAME=FILE)."
    )
    return replace(facts, labels=None, places=places, notes=(*facts.notes, note))


def _check_names(what: str, values: object, names: Sequence[str | None]) -> None:
    if not isinstance(values, Mapping):
        return
    for name in values:
        if name not in names:
            known = ", ".join(str(entry) for entry in names if entry is not None)
            raise UsageError(
                f"{what} for head {name!r}, but "
                + (f"the heads are {known}" if known else "no --output names heads; pass one for each head")
            )
