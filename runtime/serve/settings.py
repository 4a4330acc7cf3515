"""Display settings in the API: the fields of `DisplaySettings`, and the shared pause."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, create_model

from camrt.errors import UsageError
from camrt.runtime.render.display_settings import DisplaySettings, Kind
from camrt.runtime.stream.hub import Hub

MOST_CLASSES: Final = 6
"""Most maps side by side: each makes the image wider by a whole frame."""

_TYPES: Final[dict[str, Any]] = {
    "head": str | None,
    "classes": list[int],
    "choice": str,
    "share": float,
    "seconds": float,
    "flag": bool,
}
_PAUSED: Final = "viewers keep the image of the moment of the pause; recording of live sources goes on, files pause"


def _model(name: str, doc: str, *, optional: bool) -> type[BaseModel]:
    """Return a model of the API with a field for each display setting."""
    types = {field.name: (_TYPES[field.metadata["kind"]], field.metadata["help"]) for field in fields(DisplaySettings)}
    types["paused"] = bool, _PAUSED
    definitions: dict[str, Any] = {
        field: (kind | None, Field(None, description=text)) if optional else (kind, Field(description=text))
        for field, (kind, text) in types.items()
    }
    config = ConfigDict(extra="forbid", strict=True) if optional else ConfigDict()
    model: type[BaseModel] = create_model(name, __config__=config, __doc__=doc, **definitions)
    return model


Settings = _model("Settings", "Display settings, shared by all viewers and recorders.", optional=False)
Change = _model("Change", "Settings to change; omitted fields stay.", optional=True)


class Control(BaseModel):
    """Control of the page for one display setting."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Name of the field in the settings."""
    kind: Kind
    """``share`` is a number from 0 to 1, ``seconds`` a number of at least 0, ``flag`` true or false, ``choice`` and
    ``head`` a text, ``classes`` a list of class numbers."""
    label: str
    """Label of the control."""
    help: str
    """Explanation of the setting."""
    choices: list[str]
    """For ``choice``: the values to offer. A setting may have other values too. For ``head``: all heads, or none if the
    model file has one."""


def controls(heads: Sequence[str] = ()) -> list[Control]:
    """Return the controls for all display settings, in order; ``heads`` are those of a file with several."""
    return [
        Control(
            name=field.name,
            kind=field.metadata["kind"],
            label=field.metadata["label"],
            help=field.metadata["help"],
            choices=list(heads if field.metadata["kind"] == "head" else field.metadata["choices"]),
        )
        for field in fields(DisplaySettings)
    ]


def settings_of(hub: Hub) -> BaseModel:
    """Return the settings of a hub."""
    current = hub.settings.current
    values = {field.name: getattr(current, field.name) for field in fields(DisplaySettings)}
    return Settings(**{**values, "classes": list(current.classes), "paused": hub.paused})


def change(hub: Hub, request: BaseModel) -> None:
    """Apply all changes, or none of them. Raises: UsageError: a value is not valid."""
    changes = request.model_dump(exclude_none=True)
    paused = changes.pop("paused", None)
    if "classes" in changes:
        if len(changes["classes"]) > MOST_CLASSES:
            raise UsageError(f"{len(changes['classes'])} classes; at most {MOST_CLASSES} maps fit side by side")
        changes["classes"] = tuple(dict.fromkeys(changes["classes"]))
    if changes:
        hub.settings.update(**changes)
    if paused is not None:
        hub.pause(paused)
