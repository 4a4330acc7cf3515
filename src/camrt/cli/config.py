"""Settings of a command in a TOML file, with the names of its flags."""

import argparse
import difflib
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from camrt.errors import UsageError

_FLAGS_ONLY = ("help", "config")
_TOML_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    list: "a list",
    dict: "a table",
}
_MOST_DOTS = 100
_DEEP_KEY = re.compile(rf"^(?:[^=\n.]*\.){{{_MOST_DOTS + 1}}}", re.MULTILINE)
_SECRET = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")


class ConfigurableParser(argparse.ArgumentParser):
    """A parser with ``--config FILE``: the file sets the flags that the command line does not set."""

    def add_config_flag(self) -> None:
        """Add ``--config``."""
        self.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="read settings from a TOML file with the names of these flags; flags override it",
        )

    def error(self, message: str) -> NoReturn:
        """Print the error without credentials of addresses, and exit with status 2."""
        from camrt.runtime.sources.network.url import redact_text

        super().error(redact_text(message))

    def parse_known_args(  # type: ignore[override] # mypy wants all of its overloads repeated
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse with the file's settings as defaults. Raises: UsageError: the file is wrong."""
        if any(action.dest == "config" for action in self._actions):
            finder = argparse.ArgumentParser(add_help=False, exit_on_error=False)
            finder.add_argument("--config", type=Path)
            try:
                path = finder.parse_known_args(args)[0].config
            except argparse.ArgumentError:  # --config without a file: the real parser below reports it
                path = None
            if path is not None:
                self._apply_settings(read_config(path, self._actions))
        return super().parse_known_args(args, namespace)

    def _apply_settings(self, values: dict[str, Any]) -> None:
        for action in self._actions:
            if action.dest in values:
                value = values[action.dest]
                action.default = _ReplaceableList(value) if isinstance(value, list) else value
                action.required = False
                if not action.option_strings:
                    action.nargs = "?"


class _ReplaceableList(list[Any]):
    """Values of a repeatable flag in a file. Values on the command line replace them."""

    def __copy__(self) -> list[Any]:
        # argparse copies a default before it appends the values of the command line.
        return []


def read_config(path: Path, actions: Sequence[argparse.Action]) -> dict[str, Any]:
    """Read a file of settings.

    ``${NAME}`` in a text stands for a secret: the content of the file NAME in ``$CREDENTIALS_DIRECTORY``, where systemd
    stores the files of ``LoadCredential=``, or else the environment variable NAME.

    Args:
        path: the TOML file.
        actions: flags and arguments of the command's parser.

    Returns: the values by the parser's ``dest``, of the same types as from the command line.

    Raises:
        UsageError: the file cannot be read, a setting is unknown, or a value has another type than its flag.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if _DEEP_KEY.search(text):  # tomllib would take gigabytes
            raise UsageError(f"{path} is not TOML of settings: a key has more than {_MOST_DOTS} dots")
        settings = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"the settings in {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # invalid UTF-8, invalid TOML, or arrays nested thousands deep
        raise UsageError(f"{path} is not TOML: {error}") from error
    by_key = {_key(action): action for action in actions if action.dest not in _FLAGS_ONLY}
    values = {}
    for key, value in settings.items():
        if key not in by_key:
            raise UsageError(f"{path}: there is no setting {key!r}; {_alternatives(key, list(by_key))}")
        values[by_key[key].dest] = _value(path, key, by_key[key], value)
    return values


def _key(action: argparse.Action) -> str:
    """Return the name of a setting in a file: its long flag, or the name of a positional argument."""
    flags = [flag for flag in action.option_strings if flag.startswith("--")]
    return flags[0].removeprefix("--") if flags else action.dest


def _alternatives(key: str, keys: Sequence[str]) -> str:
    similar = difflib.get_close_matches(key.replace("_", "-"), keys, n=1)
    return f"did you mean {similar[0]!r}?" if similar else f"known settings: {', '.join(sorted(keys))}"


def _value(path: Path, key: str, action: argparse.Action, value: Any) -> Any:
    if action.nargs == 0:  # a switch
        return _typed(path, key, bool, value)
    if isinstance(action, argparse._AppendAction) or action.nargs == "+":
        items = value if isinstance(value, list) else [value]
        return [_item(path, key, action, item) for item in items]
    return _item(path, key, action, value)


def _item(path: Path, key: str, action: argparse.Action, value: Any) -> Any:
    result: Any
    if action.type is int or action.type is float:
        result = action.type(_typed(path, key, action.type, value))
    else:
        result = _insert_secrets(path, key, _typed(path, key, str, value))
        try:
            if callable(action.type):
                result = action.type(result)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise UsageError(f"{path}: {key}: {error}") from error
    if action.choices is not None and result not in action.choices:
        raise UsageError(f"{path}: {key} = {value!r}; allowed are {', '.join(map(repr, action.choices))}")
    return result


def _typed(path: Path, key: str, kind: type, value: Any) -> Any:
    fits = type(value) is kind or (kind is float and type(value) is int)  # isinstance(True, int) holds in Python
    if not fits:
        actual = _TOML_NAMES.get(type(value), "a date or time")
        raise UsageError(f"{path}: {key} is {actual}, but must be {_TOML_NAMES[kind]}")
    return value


def _insert_secrets(path: Path, key: str, text: str) -> str:
    def secret(match: re.Match[str]) -> str:
        name = match[1]
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder and Path(folder, name).is_file():
            return Path(folder, name).read_text(encoding="utf-8").strip()
        if name not in os.environ:
            raise UsageError(
                f"{path}: {key}: ${{{name}}} is neither a credential of the service nor an environment variable"
            )
        return os.environ[name]

    return _SECRET.sub(secret, text)
