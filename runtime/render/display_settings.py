"""What the person at the window has chosen to see; keys change it while frames are drawn."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from camrt.runtime.maps.overlay import COLORMAPS, OverlayStyle

if TYPE_CHECKING:
    from camrt.runtime.maps.result import Result

KEYS = {
    "q": "quit",
    "space": "pause",
    "c": "next class",
    "m": "next colour map",
    "s": "save a snapshot",
    "?": "show or hide this list",
}

# How many of the best classes the key `c` goes through.
_RANKS = 5


@dataclass(slots=True)
class View:
    """The choices; the drawing thread reads them for each frame, the keys set them in between."""

    style: OverlayStyle
    classes: tuple[int, ...] = ()
    """Numbers of the classes to explain side by side; empty: the class of rank `rank`."""
    rank: int = 0
    """0 explains the best class, 1 the second best, and so on."""
    smooth_s: float = 0.0
    """Half-life of the mean over time that is drawn, in seconds; 0: each map by itself."""
    running_range: bool = False
    """True: colours stand for the same numbers from frame to frame, over a remembered range; see `TemporalFilter`."""
    fade: bool = False
    """True: the opacity is that of the style times the score, so that what is not believed is not painted."""
    boxes: bool = False
    """Draw boxes around the warm regions of each map."""
    paused: bool = False
    help: bool = False
    quit: bool = False
    snapshot: bool = False
    """A snapshot was asked for and not taken yet."""

    def explained(self, result: "Result") -> tuple[int, ...]:
        """Return the numbers of the classes whose maps are shown of a result, from left to right."""
        return self.classes or (result.top(self.rank + 1)[-1][0],)

    def take(self, other: "View") -> None:
        """Take over what another one draws; its pause and the like stay with it."""
        self.style, self.classes, self.boxes = other.style, other.classes, other.boxes
        self.smooth_s, self.running_range, self.fade = other.smooth_s, other.running_range, other.fade

    def press(self, key: str) -> None:
        """Do what a key of `KEYS` stands for; other keys do nothing."""
        if key in ("q", "esc"):
            self.quit = True
        elif key == "space":
            self.paused = not self.paused
        elif key == "c":
            self.rank = (self.rank + 1) % _RANKS
        elif key == "m":
            names = list(COLORMAPS)
            following = names[(names.index(self.style.colormap) + 1) % len(names)]
            self.style = replace(self.style, colormap=following)
        elif key == "s":
            self.snapshot = True
        elif key == "?":
            self.help = not self.help
