"""A model that can be changed while streams use it: to another head of its file, or to another file."""

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

    def replace(self, model: Model) -> None:
        """Classify with another model from now on; calls that are running finish with the old one.

        Raises:
            UsageError: the model has other classes or heads, which settings and viewers would confuse.
        """
        if (model.labels, model.heads) != (self.model.labels, self.model.heads):
            raise UsageError(f"{model.path} has other classes than {self.model.path}; start again with it")
        self.model = model

    @overload
    def __call__(self, frames: Image) -> Result: ...
    @overload
    def __call__(self, frames: Sequence[Image]) -> list[Result]: ...
    def __call__(self, frames: Image | Sequence[Image]) -> Result | list[Result]:
        """Classify a frame, or several in one batch; see `Model`."""
        return self.model(frames)
