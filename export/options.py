"""The options of a conversion, as `camrt.export.attach` and `camrt.export.from_torch` take them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from camrt.errors import ModelFileError, UsageError
from camrt.export.graph.preprocessing import PreprocessingOptions
from camrt.export.source_metadata.collect import Property
from camrt.model_file import Activation, InputGeometry, Interpolation, Resize


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """The caller's options; `camrt.export.attach` describes each."""

    labels: Sequence[str] | str | Path | None
    """The labels, their file, "none" for numbers, or None: those that the file states."""
    output: str | None
    layer: str | None
    preprocessing: PreprocessingOptions
    resize: Resize | None
    shorter_side: int | None
    interpolation: Interpolation | None
    size: tuple[int, int] | None
    """(width, height) in pixels."""
    fine: bool
    activation: Activation | None
    images: str | Path | Sequence[str | Path] | None
    check: str | Path | None
    """Folder with a sub-folder of images for each class."""

    def __post_init__(self) -> None:
        if self.activation not in (None, *get_args(Activation)):
            raise UsageError(f"activation is {self.activation!r}; it must be softmax, sigmoid or none")

    @property
    def decided(self) -> frozenset[Property]:
        """Properties that the caller decides, whatever the file states."""
        values: dict[Property, object] = {
            "labels": self.labels,
            "channels": self.preprocessing.channels,
            "numbers": self.preprocessing.has_numbers or None,
            "size": self.size,
            "resize": self.resize or self.shorter_side,
            "activation": self.activation,
        }
        return frozenset(name for name, value in values.items() if value is not None)

    def geometry(self, network_size: tuple[int, int], stated: tuple[Resize, int | None] | None) -> InputGeometry:
        """Return how frames become the network's input.

        Args:
            network_size: (width, height) in pixels.
            stated: resize and shorter side that the file states; without options and without these, stretch.

        Raises:
            UsageError: the options do not fit the size or each other.
        """
        resize, shorter_side = (self.resize or "stretch", self.shorter_side) if stated is None else stated
        try:
            return InputGeometry(
                width=network_size[0],
                height=network_size[1],
                resize=resize,
                shorter_side=shorter_side,
                interpolation=self.interpolation or "antialias",
            )
        except ModelFileError as error:
            raise UsageError(str(error)) from error
