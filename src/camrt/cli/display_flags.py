"""Flags of the display settings, one for each field of `DisplaySettings`."""

import argparse
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model
    from camrt.runtime.render.display_settings import DisplaySettings


def add_display_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each display setting, and ``--no-hud``."""
    from camrt.runtime.render.display_settings import DisplaySettings

    group = parser.add_argument_group("overlay")
    for one in fields(DisplaySettings):
        flag, kind = f"--{one.name.replace('_', '-')}", one.metadata["kind"]
        how: dict[str, Any]
        if kind == "flag":
            how = {"action": argparse.BooleanOptionalAction}
        elif kind == "classes":
            how = {"metavar": "A,B"}
        elif kind in ("choice", "head"):
            how = {"metavar": "NAME"}
        else:
            how = {"type": float, "metavar": "SECONDS" if kind == "seconds" else "SHARE"}
        group.add_argument(flag, help=one.metadata["help"], default=None, **how)
    group.add_argument("--no-hud", action="store_true", help="draw the map only; write no text on the image")


def settings_of(args: argparse.Namespace, model: "Model", *, live: bool) -> "DisplaySettings":
    """Return the display settings that the flags ask for.

    Args:
        args: the flags of `add_display_flags`; flags that are not given keep the default.
        model: any head of the model file.
        live: use the defaults of live streams.

    Raises:
        UsageError: a setting is invalid or does not fit the model.
    """
    from camrt.runtime.inference.class_names import find_class
    from camrt.runtime.render.display_settings import DisplaySettings
    from camrt.runtime.stream.model_settings import fit_settings

    wanted = {name: value for name in names() if (value := getattr(args, name)) is not None}
    if model.heads:
        wanted.setdefault("head", model.heads[0])
    if "classes" in wanted:
        labels = model.labels_of(wanted.get("head"))
        wanted["classes"] = tuple(find_class(name, labels, model.path) for name in wanted["classes"].split(","))
    return fit_settings(replace(DisplaySettings.defaults(live=live), **wanted), model)


def names() -> tuple[str, ...]:
    """Return the names of all display settings."""
    from camrt.runtime.render.display_settings import DisplaySettings

    return tuple(one.name for one in fields(DisplaySettings))
