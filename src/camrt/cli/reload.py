"""Reload of the settings file on SIGHUP, while a stream runs."""

import argparse
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from camrt.cli.display_flags import names, settings_of
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model
    from camrt.runtime.render.display_settings import SettingsStore


_requested: Final = threading.Event()


def reload_on_sighup() -> None:
    """Let SIGHUP request a reload, from now on, which `Reloader.apply` carries out."""
    signal.signal(signal.SIGHUP, lambda number, frame: _requested.set())


class Reloader:
    """Applies the changed display settings of the file that ``--config`` names. Other settings need a restart.

    Args:
        args: arguments that the run was started with.
        parse: parses command line and file again. Raises: UsageError.
        model: knows the classes.
        settings: the settings of the session.
        tell: takes a line for the user.
        live: the defaults are those of live streams.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        parse: Callable[[], argparse.Namespace],
        model: "Model",
        settings: "SettingsStore",
        tell: Callable[[str], None],
        *,
        live: bool,
    ) -> None:
        self._args = args
        self._parse = parse
        self._model = model
        self._settings = settings
        self._tell = tell
        self._live = live

    def apply(self) -> None:
        """Reload the file if SIGHUP has come."""
        if not _requested.is_set():
            return
        _requested.clear()
        path = self._args.config
        if not path.is_file():  # a pipe would be waited for
            self._tell(f"no setting was changed: {path} is not a file")
            return
        try:
            fresh = self._parse()
            wanted = settings_of(fresh, self._model, live=self._live)
        except UsageError as error:
            self._tell(f"no setting was changed: {error}")
            return
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a reload must never end the service
            self._tell(f"no setting was changed: {path} cannot be read: {type(error).__name__}: {error}")
            return
        values = {name: value for name, value in vars(fresh).items() if not callable(value)}
        changed = [name for name, value in values.items() if value != getattr(self._args, name)]
        at_once = [name for name in changed if name in names()]
        if self._model.heads and {"head", "classes"} & set(at_once):  # the classes of the file are those of its head
            at_once += [name for name in ("head", "classes") if name not in at_once]
        if at_once:
            self._settings.update(**{name: getattr(wanted, name) for name in at_once})
        lines = [f"{_flag(name)} is now {_spelled(getattr(wanted, name))}" for name in at_once]
        if later := [_flag(name) for name in changed if name not in names()]:
            lines.append(f"restart to apply {', '.join(later)}")
        self._tell(f"{path} was reloaded: {'; '.join(lines) or 'no change'}")
        for name in at_once:
            setattr(self._args, name, getattr(fresh, name))


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flag(name: str) -> str:
    return name.replace("_", "-")
