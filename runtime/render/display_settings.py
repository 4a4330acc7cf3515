"""Display settings: how maps are drawn on frames."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from camrt.errors import UsageError
from camrt.runtime.maps.colormaps import COLORMAPS
from camrt.runtime.maps.refinement import REFINEMENTS, check_refinements, parse_refinements

NORMALIZATIONS: Final = ("shared", "minmax", "relu_max", "running")
_LARGEST: Final = 1e30
"""Largest logit of a fixed range; the difference of two fits in float32."""
SMOOTH_LIVE_S: Final = 0.2
"""Half-life of the smoothing of live streams by default, in seconds."""

Kind = Literal["head", "classes", "share", "seconds", "flag", "choice"]


def _setting(default: Any, kind: Kind, label: str, help_text: str, choices: tuple[str, ...] = ()) -> Any:
    """Describe a setting once; flags, TOML keys, API fields and the controls of the page come from it."""
    return field(default=default, metadata={"kind": kind, "label": label, "help": help_text, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplaySettings:
    """One consistent set of display settings. A change replaces the whole object (`SettingsStore`).

    Each field is a flag ``--name`` of the command line, a key of the TOML file, a field of the API and a control of
    the page.
    """

    head: str | None = _setting(
        None, "head", "Head", "show this head of a model file with several; default: the first (camrt inspect)"
    )
    """Name of a head of a file with several; None: the head of the model that the session is given."""
    classes: tuple[int, ...] = _setting(
        (), "classes", "Classes", "draw the maps of these classes side by side; default: the class with the best score"
    )
    """Numbers of the head's classes whose maps are drawn side by side; empty: the class with the best score."""
    colormap: str = _setting(
        "turbo", "choice", "Colours", f"colour map: {', '.join(COLORMAPS)} (default turbo)", tuple(COLORMAPS)
    )
    """One of `COLORMAPS`."""
    alpha: float = _setting(0.7, "share", "Opacity", "opacity of the hottest areas, 0 to 1 (default 0.7)")
    """Share of the colour in the blend, 0 (frame only) to 1 (colour only)."""
    alpha_by_value: bool = _setting(
        True,
        "flag",
        "Opacity grows with the heat",
        "let the opacity grow with the heat, so that cold areas stay as they are (default)",
    )
    """True: the opacity grows with the heat, from 0 to ``alpha``, so that cold areas keep the camera's pixels."""
    threshold: float = _setting(
        0.0, "share", "Threshold", "leave pixels unchanged where the heat is below this share, 0 to 1 (default 0)"
    )
    """Heat below this share of the range keeps the camera's pixels, 0 (none) to 1."""
    boxes: bool = _setting(False, "flag", "Boxes", "draw boxes around the warm regions")
    """Draw boxes around the warm regions of each map."""
    refine: str = _setting(
        "none",
        "choice",
        "Refinement",
        "refine the drawn maps: clamp (no negative weights), pc1 (first principal component), ivr (percentile as the "
        "least value), flip (mean with the mirrored frame, twice the time), several with commas; default: none",
        ("none", *REFINEMENTS, "clamp,ivr", "clamp,flip"),
    )
    """``none``, or names of `REFINEMENTS` with commas between them. Boxes and events follow the refined maps."""
    normalize: str = _setting(
        "shared",
        "choice",
        "Value range",
        "shared (default): one range for the drawn maps and the best class; minmax: each map its own; relu_max: 0 to "
        "its maximum; running (default of live streams): a range over time; or LOW,HIGH in logits per cell",
        NORMALIZATIONS,
    )
    """One of `NORMALIZATIONS`, or ``LOW,HIGH``: logits per cell of the coldest and the hottest colour."""
    smooth: float = _setting(
        0.0,
        "seconds",
        "Smoothing",
        f"half-life of the mean over time, in seconds (default: live streams {SMOOTH_LIVE_S:g}, else 0)",
    )
    """Half-life of the mean of the maps over time, in seconds; 0 draws each map by itself."""
    fade: bool = _setting(False, "flag", "Opacity follows the score", "scale the opacity by the class score")
    """True: the opacity is multiplied by the class's score."""

    def __post_init__(self) -> None:
        if self.colormap not in COLORMAPS:
            raise UsageError(f"no colour map {self.colormap!r}; known: {', '.join(COLORMAPS)}")
        for name in ("alpha", "threshold"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} {getattr(self, name)} must be within [0, 1]")
        if not 0.0 <= self.smooth < math.inf:
            raise UsageError(f"smooth {self.smooth:g} must be a half-life in seconds, 0 or more")
        self.fixed_range()
        parse_refinements(self.refine)

    @classmethod
    def defaults(cls, *, live: bool) -> "DisplaySettings":
        """Return the defaults: those of live streams are calm over time, those of files treat each frame alone."""
        return cls(normalize="running", smooth=SMOOTH_LIVE_S) if live else cls()

    def fixed_range(self) -> tuple[float, float] | None:
        """Return the range that ``normalize`` fixes, in logits per cell; None for a name of `NORMALIZATIONS`.

        Raises:
            UsageError: it is neither.
        """
        if self.normalize in NORMALIZATIONS:
            return None
        try:
            low, high = (float(number) for number in self.normalize.split(","))
        except ValueError:
            raise UsageError(
                f"normalize {self.normalize!r}: write {', '.join(NORMALIZATIONS)}, or two numbers, as in "
                "--normalize=-2,10"
            ) from None
        if not (low < high and max(-low, high) <= _LARGEST):
            raise UsageError(
                f"normalize {self.normalize!r} must be two numbers from -{_LARGEST:g} to {_LARGEST:g}, the first less "
                "than the second"
            )
        return low, high

    @property
    def refinements(self) -> tuple[str, ...]:
        """The names in `refine`, in the order in which they are computed."""
        return parse_refinements(self.refine)

    def check(self, classes: int, *, probabilities: bool, weights: bool) -> None:
        """Check the settings against a model.

        Args:
            classes: number of classes of the model.
            probabilities: the model's scores are probabilities, not logits.
            weights: the head is linear, so that its maps are sums with weights.

        Raises:
            UsageError: a setting does not fit the model.
        """
        for number in self.classes:
            if not 0 <= number < classes:
                raise UsageError(f"no class {number}; the model has 0 to {classes - 1}")
        check_refinements(self.refinements, weights=weights)
        if self.fade and not probabilities:
            raise UsageError("fade needs scores from 0 to 1; the scores of this model are logits")

    def classes_of(self, head: str | None) -> tuple[int, ...]:
        """Return `classes` for a result of a head: none if they are classes of another head."""
        return self.classes if self.head in (None, head) else ()


class SettingsStore:
    """The current display settings of a session. Any thread may read or update them."""

    def __init__(
        self, initial: DisplaySettings, fit: Callable[[DisplaySettings], DisplaySettings] | None = None
    ) -> None:
        """Keep the initial settings.

        Args:
            initial: the settings to start with.
            fit: returns settings as they fit the model, or raises UsageError; None: all settings fit.
        """
        self._fit = fit or (lambda settings: settings)
        self._lock = threading.Lock()
        self._current = self._fit(initial)
        self._listeners: list[Callable[[], None]] = []

    @property
    def current(self) -> DisplaySettings:
        """The settings of now; read them once a frame."""
        return self._current

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change, in the thread that made it."""
        self._listeners.append(listener)

    def update(self, **changes: Any) -> DisplaySettings:
        """Replace some settings, all of them or none; returns the new settings.

        Another head clears ``classes`` unless they are replaced too, because it has other classes.

        Raises:
            UsageError: a setting is invalid or does not fit the model.
        """
        with self._lock:
            if changes.get("head", self._current.head) != self._current.head:
                changes = {"classes": (), **changes}
            wanted = self._fit(replace(self._current, **changes))
            self._current = wanted
        for listener in self._listeners:
            listener()
        return wanted
