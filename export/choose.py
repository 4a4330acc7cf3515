"""Choose preprocessing, labels and activation: from options, the file's statements, the graph, or assumptions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from camrt.errors import UsageError
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.one_logit import DEFAULT_LABELS, name_sides
from camrt.export.graph.own_normalisation import OwnNormalisation, find_own_normalisation
from camrt.export.graph.preprocessing import Preprocessing, PreprocessingOptions
from camrt.export.head.find import ClassifierHead
from camrt.export.labels.read import NO_LABELS, check_labels, read_labels
from camrt.export.options import ConversionOptions
from camrt.export.source_metadata.collect import SourceFacts
from camrt.export.source_metadata.statement import FROM_0_TO_1, FROM_MINUS_1_TO_1, PIXELS, Numbers
from camrt.model_file import Activation

Value = TypeVar("Value")
_RANGES: dict[str, Numbers] = {"0 to 255": PIXELS, "0 to 1": FROM_0_TO_1, "-1 to 1": FROM_MINUS_1_TO_1}
_SLACK = 0.1
"""Part of a range by which stated pixels may miss it: Image.NominalPixelRange may be 16 to 235."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Generic[Value]):
    """A value, and one sentence for each thing that was read or assumed."""

    value: Value
    read: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def choose_preprocessing(
    flags: PreprocessingOptions, facts: SourceFacts, graph: Graph, network_input: NetworkInput
) -> Choice[Preprocessing]:
    """Return the preprocessing.

    Args:
        flags: the caller's options.
        facts: that the file states.
        graph: the classifier, its shapes inferred.
        network_input: its input.

    Raises:
        UsageError: an option does not fit the input, or the file states other pixels than the graph's own
            normalisation expects, and no option decides.
    """
    own = find_own_normalisation(graph, network_input)
    numbers = facts.numbers
    if numbers is not None and own is not None and not _fits(numbers, own):
        raise UsageError(
            f"{facts.places['numbers']}: {numbers.describe()}; but the graph normalises its input itself "
            f"({own.steps}), so it expects pixels from {own.pixels}. Pass --scale, --mean and --std to decide"
        )
    if numbers is None and own is not None and not flags.has_numbers:
        numbers = _RANGES[own.pixels]
    fallback = PreprocessingOptions(channels=facts.channels)
    if numbers is not None and not network_input.takes_bytes:
        mean, std = (
            values * network_input.channels if len(values) == 1 else values for values in (numbers.mean, numbers.std)
        )
        fallback = PreprocessingOptions(channels=facts.channels, scale=numbers.scale, mean=mean, std=std)
    value = flags.with_fallback(fallback).resolve(network_input)
    assumed = []
    if not network_input.takes_bytes and facts.numbers is None:
        assumed += _assumed_numbers(flags, value, own)
    if network_input.takes_bytes and numbers is not None and not numbers.agrees_with(PIXELS):
        assumed.append(
            f"The network takes bytes, so it is assumed to compute {numbers.describe()!r} itself "
            f"({facts.places['numbers']})."
        )
    if value.has_alpha:
        assumed.append("The network's fourth channel is assumed to be alpha; it is 255 everywhere.")
    if value.channels in ("rgb", "rgba") and flags.channels is None and facts.channels is None:
        assumed.append("The network's input is assumed to be RGB (--bgr).")
    return Choice(value=value, assumed=tuple(assumed))


def choose_labels(
    options: ConversionOptions, facts: SourceFacts, classes: int | None, *, is_one_logit: bool
) -> Choice[tuple[str, ...] | None]:
    """Return the labels; None: the classes have numbers only.

    Args:
        options: of the caller.
        facts: that the file states.
        classes: number of classes; None: it is not known yet, so the number of labels is not checked.
        is_one_logit: the two classes are the sides of one logit.

    Raises:
        UsageError: the label file cannot be read, or there is not one label for each class.
    """
    labels, place = facts.labels, facts.places.get("labels", "")
    read: tuple[str, ...] = ()
    if isinstance(options.labels, (str, Path)) and str(options.labels) != NO_LABELS:
        found = read_labels(Path(options.labels))
        labels, place = found.names, f"{Path(options.labels).name} ({found.form})"
        read = (f"From {place}: {len(found.names)} labels.",)
    elif options.labels is not None and not isinstance(options.labels, (str, Path)):
        labels = tuple(str(label) for label in options.labels)
    if is_one_logit:
        named = name_sides(labels)
        check_labels(named, 2, place)
        if labels:
            return Choice(value=named, read=read)
        return Choice(value=named, assumed=(f"Its sides are called {' and '.join(DEFAULT_LABELS)} (--labels).",))
    if classes is not None:
        check_labels(labels, classes, place)
    if labels is None and options.labels is None:
        return Choice(value=None, assumed=("Classes have no names, only numbers (--labels).",))
    return Choice(value=labels, read=read)


def choose_activation(
    options: ConversionOptions, facts: SourceFacts, head: ClassifierHead, *, is_one_logit: bool
) -> Choice[Activation]:
    """Return what turns logits into scores.

    Raises:
        UsageError: an option or a statement of the file does not fit the graph.
    """
    own, option = head.output.activation, options.activation
    if own is not None:
        if option not in (None, own):
            raise UsageError(
                f"activation {option!r} does not fit: output {head.output.name!r} is {own} already; leave --activation "
                "(activation=...) out"
            )
        if option is None and facts.activation not in (None, own):
            raise UsageError(
                f"{facts.places['activation']}: scores by {facts.activation}; but output {head.output.name!r} is "
                f"{own}. Pass --activation {own} to decide"
            )
        return Choice(value=own)
    if is_one_logit and "softmax" in (option, facts.activation):
        raise UsageError(
            f"output {head.output.name!r} is one number, and the softmax of one number is always 1; leave --activation "
            "out for a logit, or pass --activation none for a regression"
        )
    if (decided := option or facts.activation) is not None:
        return Choice(value=decided)
    if is_one_logit:
        sentence = (
            "The output is one number, assumed to be a logit: its sigmoid is the score of the second class, and the "
            "first has the rest (--activation none for a regression)."
        )
        return Choice(value="sigmoid", assumed=(sentence,))
    sentence = "The graph ends in logits; scores are assumed to be their softmax (--activation)."
    return Choice(value="softmax", assumed=(sentence,))


def _fits(numbers: Numbers, own: OwnNormalisation) -> bool:
    """Tell whether stated pixels have the range that the graph's own normalisation expects."""
    (bottom,), (top,) = _RANGES[own.pixels].ends
    slack = _SLACK * (top - bottom)
    low, high = numbers.ends
    return all(abs(value - bottom) <= slack for value in low) and all(abs(value - top) <= slack for value in high)


def _assumed_numbers(flags: PreprocessingOptions, value: Preprocessing, own: OwnNormalisation | None) -> list[str]:
    """Return the sentences about scale, mean and std that no option and no statement decides."""
    if flags.has_numbers:
        show: dict[str, Callable[[], str]] = {
            "scale": lambda: f"{value.scale:.6g}",
            "mean": lambda: ",".join(f"{number:.6g}" for number in value.mean),
            "std": lambda: ",".join(f"{number:.6g}" for number in value.std),
        }
        return [
            f"--{name} is not set, and is assumed to be {text()}."
            for name, text in show.items()
            if getattr(flags, name) is None
        ]
    if own is not None:
        return [
            f"The graph normalises its input itself ({own.steps}), so it is assumed to expect pixels from {own.pixels} "
            "(--scale, --mean, --std)."
        ]
    if value.is_imagenet_default:
        return [
            "The network's input is assumed to be pixels / 255, normalised by ImageNet's mean and std (--scale, "
            "--mean, --std)."
        ]
    return ["The network's input is assumed to be grey pixels / 255 (--scale, --mean, --std)."]
