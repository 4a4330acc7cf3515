"""``camrt live --watch``: the newest epoch of a training that is running, on a camera."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from camrt.errors import CamrtError, UsageError
from camrt.files import temporary_folder

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model

_POLL_S: Final = 0.5
_REST: Final = 4.0
"""Pause after an export, in multiples of its duration: the training needs the processor more."""


class TrainingWatch:
    """Makes model files of a training's newest epochs, in a thread, and opens them.

    Args:
        folder: of ``camrt train``.
        opened: removes the model files at the end.
        open_model: opens a model file as the flags say.
        tell: takes a line for the user.
    """

    def __init__(
        self,
        folder: Path,
        opened: ExitStack,
        open_model: "Callable[[Path], Model]",
        tell: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._files = opened.enter_context(temporary_folder())
        self._open_model = open_model
        self._tell = tell
        self._ended = threading.Event()
        self._seen = 0

    def first(self) -> "Model":
        """Return the model of the epoch that is newest now. Raises: CamrtError."""
        return self._newest()

    def follow(self, show: "Callable[[Model], None]", opened: ExitStack) -> None:
        """Pass the model of each newer epoch to ``show``, until ``opened`` is closed."""
        thread = threading.Thread(target=self._run, args=(show,), name="camrt-training", daemon=True)
        thread.start()
        opened.callback(thread.join)
        opened.callback(self._ended.set)

    def _newest(self) -> "Model":
        from camrt.export.train.fit import LAST
        from camrt.export.train.newest import export_newest

        state = self._folder / LAST
        seen = state.stat().st_mtime_ns if state.is_file() else 0
        epoch = export_newest(self._folder, self._files / "newest.onnx")
        path = (self._files / "newest.onnx").rename(self._files / f"epoch{epoch}.onnx")
        model = self._open_model(path)
        self._seen = seen
        self._tell(f"{self._folder}: the maps are those of epoch {epoch}")
        return model

    def _run(self, show: "Callable[[Model], None]") -> None:
        from camrt.export.train.fit import LAST

        pause = 0.0
        while not self._ended.wait(max(_POLL_S, pause)):
            pause = 0.0
            try:
                changed = (self._folder / LAST).stat().st_mtime_ns != self._seen
            except OSError:  # the folder was removed: the last model stays
                continue
            if changed:
                start = time.monotonic()
                try:
                    show(self._newest())
                except CamrtError as error:
                    self._tell(f"{error}; the maps are still those of the epoch before")
                pause = _REST * (time.monotonic() - start)


def check_watch(model: Path | None, watch: Path | None) -> None:
    """Raise UsageError unless either a model or a training is named."""
    if (model is None) == (watch is None):
        raise UsageError("name a model file, or the folder of a training with --watch, and not both")
