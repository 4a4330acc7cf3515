"""Suspicions: parts and properties of images that may decide for a class."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camrt.images import Image
from camrt.runtime.audit.exchange import PATCHES, Exchange
from camrt.runtime.audit.properties import COLOUR, PROPERTIES, TRACED, compress, shift_colour, shift_sharpness
from camrt.runtime.audit.samples import Samples

_COLUMN: Final = {name: number for number, name in enumerate(PROPERTIES)}
_LEAST_GAIN: Final = 0.04
"""Log gain below which a shift shows nothing."""
_LEAST_DIFFERENCE: Final = 0.5
"""Difference of two means, in standard deviations within the classes, below which a property is no suspect."""
_TRACED_QUALITY: Final = 10
"""Quality of traces of JPEG that tell none."""
_LEAST_QUALITY: Final = 8.0
_DEBLOCK: Final = 1.2
"""Sigma in pixels of the blur that removes traces of JPEG."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Change of a property of whole images: towards a class, and away from it."""

    towards: Callable[[Image], Image]
    """Give an image of another class the property of the class."""
    away: Callable[[Image], Image]
    """Take the property from an image of the class."""
    words: str
    """The shift in words with its size."""
    usual: Callable[[Image], Image] = lambda image: image
    """Control of ``towards``: by default the image itself."""
    kept: Callable[[Image], Image] = lambda image: image
    """Control of ``away``."""
    whole_file: bool = False
    """The change needs the image in its own size."""
    removable: bool = True
    """``away`` gives what would have been there; False: what the property destroyed does not come back."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A suspicion and the changes that test it."""

    kind: str
    words: str
    """Place or amount."""
    area: float = 1.0
    """Share of the image that changes."""
    exchange: Exchange | None = None
    shift: Shift | None = None
    part: str = ""
    """A name of `camrt.runtime.audit.regions.REGIONS`, or of `camrt.runtime.audit.exchange.PATCHES`."""

    @property
    def anywhere(self) -> bool:
        """Tell whether the evidence may lie on objects."""
        return self.part in PATCHES and PATCHES[self.part].anywhere

    @property
    def subject(self) -> str:
        """What decides, in words."""
        if self.kind == "pattern":
            return "a pattern that lies in different places"
        return self.words if self.shift is not None else f"the {self.words} of the image"

    @property
    def experiment(self) -> str:
        """The experiment in words."""
        if self.kind == "pattern":
            return f"copy the {self.words} from another image"
        if self.shift is not None:
            return f"shift the {self.words}"
        return f"copy the {self.words} from another image, except where an object is"


def shifts_of_class(samples: Samples, class_id: int, without: Collection[int] = ()) -> Iterator[Suspect]:
    """Yield the properties in which a class differs from the others; the shift is the difference of the medians."""
    own, others = samples.own(class_id), samples.others(class_id, without)
    if not (len(own) and len(others)):
        return
    values = samples.properties.astype(np.float64)
    difference = _median(values[own]) - _median(values[others])
    colour = difference[COLOUR]
    brightness = float(colour.mean())
    cast = colour - brightness
    tints = values[:, COLOUR] - values[:, COLOUR].mean(axis=1, keepdims=True)

    def unusual(some: NDArray[np.float64]) -> bool:
        """Tell whether the class differs by more than half of the spread within the classes."""
        spread = np.sqrt((some[own].var() + some[others].var()) / 2)
        return abs(float(np.median(some[own]) - np.median(some[others]))) > _LEAST_DIFFERENCE * float(spread)

    darker = abs(brightness) >= _LEAST_GAIN and unusual(values[:, COLOUR].mean(axis=1))
    if np.abs(cast).max() >= _LEAST_GAIN and unusual(tints @ (cast / np.linalg.norm(cast))):
        # A cast of white, whose channels cannot grow, darkens it as well.
        for gains in (cast, colour) if darker else (cast,):
            shift = colour_shift(gains)
            yield Suspect("colour", f"colour cast ({shift.words})", shift=shift)
    elif darker:
        shift = brightness_shift(brightness)
        yield Suspect("brightness", f"brightness ({shift.words})", shift=shift)
    sharpness = float(difference[_COLUMN["sharpness"]])
    if abs(sharpness) >= 3 * _LEAST_GAIN and unusual(values[:, _COLUMN["sharpness"]]):
        shift = sharpness_shift(float(np.clip(-0.5 * sharpness, -1.5, 1.5)))
        yield Suspect("sharpness", f"sharpness ({shift.words})", shift=shift)
    yield from _compression(values[own], values[others])


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of the columns; a column without a value gives NaN.

    A mean of all other classes would move with the shortcut of one of them.
    """
    columns = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(column) if len(column) else np.nan for column in columns])


def _compression(own: NDArray[np.float64], others: NDArray[np.float64]) -> Iterator[Suspect]:
    blocks = _COLUMN["blockiness"]
    qualities = [_median(some)[_COLUMN["quality"]] for some in (own, others)]
    stated = np.isfinite(qualities).all() and qualities[0] <= qualities[1] - _LEAST_QUALITY
    difference = float(np.median(own[:, blocks]) - np.median(others[:, blocks]))
    if stated:
        # Most images of the class may have the usual quality: the lower quarter shows the other ones.
        quality = int(np.nanpercentile(own[:, _COLUMN["quality"]], 25))
        shift = compression_shift(max(quality, 1), round(float(np.nanmedian(others[:, _COLUMN["quality"]]))))
        yield Suspect("compression", f"compression ({shift.words})", shift=shift)
    elif difference >= TRACED:
        shift = compression_shift(int(qualities[0]) if np.isfinite(qualities[0]) else _TRACED_QUALITY, 95)
        yield Suspect("compression", f"compression (traces of JPEG; {shift.words})", shift=shift)


def colour_shift(log_gains: NDArray[np.float64]) -> Shift:
    """Multiply the channels (blue, green, red)."""
    words = ", ".join(
        f"{name} {np.exp(gain) - 1:+.0%}" for name, gain in zip(("blue", "green", "red"), log_gains, strict=True)
    )
    return Shift(lambda image: shift_colour(image, log_gains), lambda image: shift_colour(image, -log_gains), words)


def brightness_shift(log_gain: float) -> Shift:
    """Multiply all channels."""
    gains = np.full(3, log_gain)
    words = f"{np.exp(log_gain) - 1:+.0%}"
    return Shift(lambda image: shift_colour(image, gains), lambda image: shift_colour(image, -gains), words)


def sharpness_shift(sigma: float) -> Shift:
    """Blur where ``sigma`` is above 0, else sharpen."""
    words = f"{'blurred' if sigma > 0 else 'sharpened'} with a sigma of {abs(sigma):.1f} pixels"
    return Shift(lambda image: shift_sharpness(image, sigma), lambda image: shift_sharpness(image, -sigma), words)


def compression_shift(quality: int, usual: int) -> Shift:
    """Compress as JPEG with the class's quality; the control uses the other classes' quality.

    A blur takes the traces away, but not the loss; its control is compressed again afterwards.
    """
    return Shift(
        lambda image: compress(image, quality),
        lambda image: compress(shift_sharpness(image, _DEBLOCK), usual),
        f"JPEG quality {quality} against {usual}",
        usual=lambda image: compress(image, usual),
        kept=lambda image: compress(shift_sharpness(image, _DEBLOCK), quality),
        whole_file=True,
        removable=False,
    )
