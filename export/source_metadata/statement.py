"""Facts about a classifier that one place states."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from camrt.errors import UsageError
from camrt.export.graph.network_input import ImageLayout
from camrt.export.graph.preprocessing import BYTE, Channels
from camrt.export.labels.form import Labels, NotThisForm
from camrt.model_file import Activation, Resize


@dataclass(frozen=True, slots=True)
class Numbers:
    """Network input = (pixel * scale - mean) / std; one number of ``mean`` and ``std`` counts for every channel.

    Raises:
        ValueError: scale or std are not above zero.
    """

    scale: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        numbers = (self.scale, *self.mean, *self.std)
        if not all(math.isfinite(number) for number in numbers) or self.scale <= 0 or min(self.std) <= 0:
            raise ValueError(f"scale {self.scale} and std {self.std} must be above zero")

    @property
    def ends(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Input of a black and of a white pixel, for each channel."""
        count = max(len(self.mean), len(self.std))
        pairs = list(zip(self._each(self.mean, count), self._each(self.std, count), strict=True))
        return tuple(-mean / std for mean, std in pairs), tuple((255 * self.scale - mean) / std for mean, std in pairs)

    def agrees_with(self, other: "Numbers") -> bool:
        """Tell whether both give the same inputs, within 1 % of their range."""
        count = max(len(values) for values in (*self.ends, *other.ends))
        low, high, other_low, other_high = (self._each(values, count) for values in (*self.ends, *other.ends))
        return all(
            math.isclose(a, b, abs_tol=0.01 * (top - bottom))
            for a, b, bottom, top in [
                *zip(low, other_low, low, high, strict=True), *zip(high, other_high, low, high, strict=True)
            ]
        )  # fmt: skip

    def describe(self) -> str:
        """Return the formula in words."""
        text = "pixels 0 to 255" if self.scale == 1 else f"pixels * {self.scale:.6g}"
        if self.scale < 1:
            text = f"pixels / {1 / self.scale:.6g}"
        if set(self.mean) != {0.0}:
            text += f", mean {_short(self.mean)}"
        return text if set(self.std) == {1.0} else f"{text}, std {_short(self.std)}"

    @staticmethod
    def _each(values: tuple[float, ...], count: int) -> tuple[float, ...]:
        return values * count if len(values) == 1 else values


RANGE_16_235 = Numbers(219 / 255, (-16.0,))
PIXELS = Numbers(1.0)
FROM_0_TO_1 = Numbers(BYTE)
FROM_MINUS_1_TO_1 = Numbers(1 / 127.5, (1.0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Facts about a classifier that one place states. None: it says nothing about this."""

    place: str
    """The place, as a noun phrase for messages."""
    channels: Channels | None = None
    numbers: Numbers | UsageError | None = None
    """An error: they cannot be followed; it is raised unless an option decides."""
    size: tuple[int, int] | None = None
    """(width, height) of the network's input in pixels."""
    resize: tuple[Resize, int | None] | None = None
    """How a frame becomes the network's input, and the shorter side before a crop."""
    labels: tuple[str, ...] | UsageError | None = None
    """An error: there are labels that cannot be read; it is raised unless an option decides."""
    activation: Activation | None = None
    layout: ImageLayout | None = None
    notes: tuple[str, ...] = ()
    """One sentence for each fact that the place states and the model file does not follow."""


def stated_labels(read: Callable[[], Labels], place: str) -> tuple[str, ...] | UsageError:
    """Call ``read`` and return the names. A refusal names the place."""
    try:
        return read().names
    except NotThisForm as error:
        return UsageError(f"{place}: {error}; pass --labels FILE, or --labels none for numbers")
    except UsageError as error:
        return error


def crop_to(size: tuple[int, int] | None, shorter_side: int | None) -> tuple[Resize, int | None]:
    """Return a crop of the centre after the shorter side was scaled; None or too small: the whole shorter side."""
    if size is None or shorter_side is None or shorter_side <= max(size):
        return "crop", None
    return "crop", shorter_side


def float_tuple(values: Any, place: str) -> tuple[float, ...]:
    """Return one number, or one for each channel. Raises: UsageError."""
    try:
        numbers = tuple(float(value) for value in (values if isinstance(values, Sequence) else [values]))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) not in (1, 3, 4) or not all(math.isfinite(number) for number in numbers):
        raise UsageError(
            f"{place} is {values!r:.60}, and not one number or one for each channel; pass --mean and --std"
        )
    return numbers


def _short(values: tuple[float, ...]) -> str:
    texts = [f"{value:.4g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else ",".join(texts)
