"""A model whose head can be changed while streams use it."""

from collections.abc import Sequence
from typing import overload

from camrt.errors import ModelFileError, ProviderError, UsageError
from camrt.images import Image
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.result import Result


class HeadSwitch:
    """Classifies with the selected head. Several threads may call it; one at a time may select.

    Only the selected head is open. The frames of one call have results of one head, which `MapDecoder.head` names.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        """The model of the selected head."""

    def select(self, name: str) -> None:
        """Open another head of the file; calls that are running finish with the old one.

        Raises:
            UsageError: the head cannot be opened; the old one stays.
        """
        try:
            self.model = self.model.with_head(name)
        except (ModelFileError, ProviderError) as error:
            raise UsageError(f"the head {name!r} cannot be opened: {error}") from error

    @overload
    def __call__(self, frames: Image) -> Result: ...
    @overload
    def __call__(self, frames: Sequence[Image]) -> list[Result]: ...
    def __call__(self, frames: Image | Sequence[Image]) -> Result | list[Result]:
        """Classify a frame, or several in one batch; see `Model`."""
        return self.model(frames)
