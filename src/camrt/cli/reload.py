"""SIGHUP: the file of settings is read again while a stream is drawn."""

import argparse
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from camrt.cli.common_flags import view_of
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model
    from camrt.runtime.render.display_settings import View

_AT_ONCE: Final = (
    *("classes", "colormap", "alpha", "alpha_by_value", "threshold", "boxes", "normalize", "smooth", "fade"),
)
"""What can change between two frames; all else takes a restart."""


class Reloader:
    """Applies to a view what has changed in the file that ``--config`` names.

    Args:
        args: what the run was started with.
        parse: reads command line and file again. Raises: UsageError.
        model: knows the classes.
        view: what is drawn.
        live: what is drawn is a live stream.
        tell: takes a line for the user.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        parse: Callable[[], argparse.Namespace],
        model: "Model",
        view: "View",
        tell: Callable[[str], None],
        *,
        live: bool,
    ) -> None:
        self._args = args
        self._parse = parse
        self._model = model
        self._view = view
        self._tell = tell
        self._live = live
        self._asked = False
        if args.config is not None:  # without a file SIGHUP means that the terminal has gone
            signal.signal(signal.SIGHUP, self._ask)

    def _ask(self, *_: object) -> None:
        self._asked = True

    def apply(self) -> None:
        """Do what was asked for; between two frames, so that none is drawn half in the old style."""
        if not self._asked:
            return
        self._asked = False
        path = self._args.config
        try:
            fresh = self._parse()
            wanted = view_of(fresh, self._model, live=self._live)
        except UsageError as error:
            self._tell(f"nothing is changed: {error}")
            return
        except SystemExit:  # argparse has said what is missing
            self._tell(f"nothing is changed: {path} leaves out what a start needs")
            return
        changed = [name for name, value in vars(fresh).items() if value != getattr(self._args, name)]
        now = [name for name in changed if name in _AT_ONCE]
        if now:
            self._view.take(wanted)
        said = [f"{_flag(name)} is {getattr(fresh, name)} now" for name in now]
        if later := [_flag(name) for name in changed if name not in _AT_ONCE]:
            said.append(f"a restart is needed for {', '.join(later)}")
        self._tell(f"{path} was read again: {'; '.join(said) or 'it has not changed'}")
        for name in now:
            setattr(self._args, name, getattr(fresh, name))


def _flag(name: str) -> str:
    return name.replace("_", "-")
