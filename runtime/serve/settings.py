"""Display settings in the API: the fields of `DisplaySettings`, and the shared pause."""

from dataclasses import fields
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, create_model

from camrt.errors import UsageError
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.stream.hub import Hub

MOST_CLASSES: Final = 6
"""Most maps side by side: each makes the image wider by a whole frame."""

_TYPES: Final[dict[str, Any]] = {
    "classes": list[int],
    "choice": str,
    "share": float,
    "seconds": float,
    "flag": bool,
}
_PAUSED: Final = "Viewers keep the image of the moment of the pause; recording goes on. A file is held."


def _model(name: str, doc: str, *, optional: bool) -> type[BaseModel]:
    """Return a model of the API with a field for each display setting."""
    described = {one.name: (_TYPES[one.metadata["kind"]], one.metadata["help"]) for one in fields(DisplaySettings)}
    described["paused"] = bool, _PAUSED
    typed: dict[str, Any] = {
        field: (kind | None, Field(None, description=text)) if optional else (kind, Field(description=text))
        for field, (kind, text) in described.items()
    }
    config = ConfigDict(extra="forbid", strict=True) if optional else ConfigDict()
    model: type[BaseModel] = create_model(name, __config__=config, __doc__=doc, **typed)
    return model


Settings = _model("Settings", "Display settings, shared by all viewers and recorders.", optional=False)
Change = _model("Change", "Settings to change; omitted fields stay.", optional=True)


class Control(BaseModel):
    """A control of the page for one display setting."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Name of the field in the settings."""
    kind: str
    """``share`` (a slider from 0 to 1), ``seconds``, ``flag``, ``choice``, or ``classes``."""
    label: str
    help: str
    choices: list[str]
    """For ``choice``: the values that can be chosen."""


def controls() -> list[Control]:
    """Return the controls for all display settings, in order."""
    return [
        Control(
            name=one.name,
            kind=one.metadata["kind"],
            label=one.metadata["label"],
            help=one.metadata["help"],
            choices=list(one.metadata["choices"]),
        )
        for one in fields(DisplaySettings)
    ]


def settings_of(hub: Hub) -> BaseModel:
    """Return the settings of a hub."""
    current = hub.settings.current
    values = {one.name: getattr(current, one.name) for one in fields(DisplaySettings)}
    return Settings(**{**values, "classes": list(current.classes), "paused": hub.paused})


def change(hub: Hub, wanted: BaseModel) -> None:
    """Change the settings of a hub: all that are given, or none. Raises: UsageError."""
    changes = wanted.model_dump(exclude_none=True)
    paused = changes.pop("paused", None)
    if "classes" in changes:
        changes["classes"] = tuple(dict.fromkeys(changes["classes"]))
        if len(changes["classes"]) > MOST_CLASSES:
            raise UsageError(f"{len(changes['classes'])} classes; at most {MOST_CLASSES} maps can stand side by side")
    if changes:
        hub.settings.update(**changes)
    if paused is not None:
        hub.pause(paused)
