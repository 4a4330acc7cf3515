"""What viewers may change of the view, and what they may not."""

from dataclasses import replace
from typing import Final

from pydantic import BaseModel, ConfigDict

from camrt.errors import UsageError
from camrt.runtime.inference.model import Model
from camrt.runtime.render.display_settings import View

MOST_CLASSES: Final = 6
"""Maps side by side: each makes the picture wider by the whole frame."""


class Settings(BaseModel):
    """What is drawn; all viewers share it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    colormap: str
    alpha: float
    """Share of the colour, 0 to 1."""
    threshold: float
    """Heat below this share of the range keeps the camera's own pixels, 0 to 1."""
    alpha_by_value: bool
    """The share grows with the heat."""
    boxes: bool
    """Boxes around the warm regions."""
    classes: list[int]
    """Numbers of the classes whose maps stand side by side; empty: the best one's."""
    paused: bool
    """The picture stands still; what records goes on."""


class Change(BaseModel):
    """Settings to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    colormap: str | None = None
    alpha: float | None = None
    threshold: float | None = None
    alpha_by_value: bool | None = None
    boxes: bool | None = None
    classes: list[int] | None = None
    paused: bool | None = None


def settings_of(view: View) -> Settings:
    """Return the settings of a view."""
    return Settings(
        colormap=view.style.colormap,
        alpha=view.style.alpha,
        threshold=view.style.threshold,
        alpha_by_value=view.style.alpha_by_value,
        boxes=view.boxes,
        classes=list(view.classes),
        paused=view.paused,
    )


def change(view: View, model: Model, wanted: Change) -> None:
    """Change a view: everything that is wanted, or nothing. Raises: UsageError."""
    given = wanted.model_dump(exclude_none=True)
    style = replace(
        view.style, **{key: given[key] for key in given.keys() & {"colormap", "alpha", "threshold", "alpha_by_value"}}
    )
    classes = view.classes if wanted.classes is None else _classes(wanted.classes, model)
    view.style, view.classes = style, classes
    view.boxes = given.get("boxes", view.boxes)
    view.paused = given.get("paused", view.paused)


def _classes(numbers: list[int], model: Model) -> tuple[int, ...]:
    if len(numbers) > MOST_CLASSES:
        raise UsageError(f"{len(numbers)} classes; at most {MOST_CLASSES} maps can stand side by side")
    for number in numbers:
        if not 0 <= number < model.classes:
            raise UsageError(f"no class {number}; the model has 0 to {model.classes - 1}")
    return tuple(dict.fromkeys(numbers))
