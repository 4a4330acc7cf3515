"""The options of a conversion, as `camrt.export.attach` and `camrt.export.from_torch` take them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from camrt.errors import ModelFileError, UsageError
from camrt.export.graph.preprocessing import PreprocessingOptions
from camrt.model_file import Activation, InputGeometry, Interpolation, Resize


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """The caller's options; `camrt.export.attach` describes each."""

    labels: Sequence[str] | str | Path | None
    output: str | None
    layer: str | None
    preprocessing: PreprocessingOptions
    resize: Resize
    shorter_side: int | None
    interpolation: Interpolation | None
    size: tuple[int, int] | None
    """(width, height) in pixels."""
    activation: Activation | None
    images: str | Path | Sequence[str | Path] | None

    def __post_init__(self) -> None:
        if self.activation not in (None, *get_args(Activation)):
            raise UsageError(f"activation is {self.activation!r}; it must be softmax, sigmoid or none")

    def geometry(self, width: int, height: int) -> InputGeometry:
        """Return how frames become the network's input of ``width`` x ``height`` pixels. Raises: UsageError."""
        try:
            return InputGeometry(
                width=width,
                height=height,
                resize=self.resize,
                shorter_side=self.shorter_side,
                interpolation=self.interpolation or "antialias",
            )
        except ModelFileError as error:
            raise UsageError(str(error)) from error
