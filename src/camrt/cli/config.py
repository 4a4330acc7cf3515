"""A command's settings in a file: what its flags say, in TOML, under the names of the flags."""

import argparse
import difflib
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camrt.errors import UsageError

_NOT_IN_A_FILE = ("help", "config")
_TOML_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    list: "a list",
    dict: "a table",
}
_SECRET = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")


class ConfigurableParser(argparse.ArgumentParser):
    """A parser whose ``--config FILE`` gives its other flags the values that the command line does not."""

    def add_config_flag(self) -> None:
        """Add ``--config``."""
        self.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="read settings from a TOML file, under the names of these flags; flags win over it",
        )

    def parse_known_args(  # type: ignore[override] # mypy wants all of its overloads repeated
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse, with what the file says as defaults. Raises: UsageError: the file is wrong."""
        if any(action.dest == "config" for action in self._actions):
            finder = argparse.ArgumentParser(add_help=False, exit_on_error=False)
            finder.add_argument("--config", type=Path)
            try:
                found = finder.parse_known_args(args)[0].config
            except argparse.ArgumentError:  # without a file behind it, which is told below
                found = None
            if found is not None:
                self._take(read_config(found, self._actions))
        return super().parse_known_args(args, namespace)

    def _take(self, values: dict[str, Any]) -> None:
        for action in self._actions:
            if action.dest in values:
                value = values[action.dest]
                action.default = _Replaced(value) if isinstance(value, list) else value
                action.required = False
                if not action.option_strings:
                    action.nargs = "?"


class _Replaced(list[Any]):
    """What a file says for a repeatable flag, which the command line replaces."""

    def __copy__(self) -> list[Any]:
        # argparse copies a default before it appends to it.
        return []


def read_config(path: Path, actions: Sequence[argparse.Action]) -> dict[str, Any]:
    """Read a file of settings.

    ``${NAME}`` in a text stands for a secret: the file of that name in ``$CREDENTIALS_DIRECTORY``, where systemd puts
    what ``LoadCredential=`` names, or else the environment variable.

    Args:
        path: the TOML file.
        actions: what the command's parser knows.

    Returns: the values under the parser's names of them, of the types that the flags would give.

    Raises:
        UsageError: the file cannot be read, or something in it is not known, or of another type than the flag's.
    """
    try:
        text = path.read_text(encoding="utf-8")
        settings = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"the settings in {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of UTF-8 and of TOML
        raise UsageError(f"{path} is not TOML: {error}") from error
    known = {_key(action): action for action in actions if action.dest not in _NOT_IN_A_FILE}
    values = {}
    for key, value in settings.items():
        if key not in known:
            raise UsageError(f"{path}: there is no setting {key!r}; {_alternatives(key, list(known))}")
        values[known[key].dest] = _value(path, key, known[key], value)
    return values


def _key(action: argparse.Action) -> str:
    """Return what a setting is called in a file: its long flag, or its name where it is none."""
    flags = [flag for flag in action.option_strings if flag.startswith("--")]
    return flags[0].removeprefix("--") if flags else action.dest


def _alternatives(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


def _value(path: Path, key: str, action: argparse.Action, value: Any) -> Any:
    if action.nargs == 0:  # a switch
        return _typed(path, key, bool, value)
    if isinstance(action, argparse._AppendAction) or action.nargs == "+":
        several = value if isinstance(value, list) else [value]
        return [_item(path, key, action, item) for item in several]
    return _item(path, key, action, value)


def _item(path: Path, key: str, action: argparse.Action, value: Any) -> Any:
    result: Any
    if action.type is int or action.type is float:
        result = action.type(_typed(path, key, action.type, value))
    else:
        result = _reveal(path, key, _typed(path, key, str, value))
        try:
            if callable(action.type):
                result = action.type(result)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise UsageError(f"{path}: {key}: {error}") from error
    if action.choices is not None and result not in action.choices:
        raise UsageError(f"{path}: {key} = {value!r}; it can be {', '.join(map(repr, action.choices))}")
    return result


def _typed(path: Path, key: str, kind: type, value: Any) -> Any:
    fits = type(value) is kind or (kind is float and type(value) is int)  # to Python true is an int
    if not fits:
        found = _TOML_NAMES.get(type(value), "a date or time")
        raise UsageError(f"{path}: {key} is {found}, and should be {_TOML_NAMES[kind]}")
    return value


def _reveal(path: Path, key: str, text: str) -> str:
    def secret(match: re.Match[str]) -> str:
        name = match[1]
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder and Path(folder, name).is_file():
            return Path(folder, name).read_text(encoding="utf-8").strip()
        if name not in os.environ:
            raise UsageError(
                f"{path}: {key}: ${{{name}}} is neither a credential of the service nor in the environment"
            )
        return os.environ[name]

    return _SECRET.sub(secret, text)
