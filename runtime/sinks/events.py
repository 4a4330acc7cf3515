"""A log of what was seen: one JSON object a line."""

import json
import math
import os
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from camrt.errors import SinkError
from camrt.runtime.frames import Rendered
from camrt.runtime.sinks.output import refuse_existing

TOP = 5


class EventSink:
    """Writes one line of JSON per overlay, at once, so that others can follow the file while it grows."""

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Open the file.

        Args:
            path: where to; ``-`` is the standard output.
            overwrite: an old file may be replaced.

        Raises:
            UsageError: the file exists.
            SinkError: nothing can be written there.
        """
        self._path = Path(path)
        self._file: FileIO | None = None
        self._size = 0  # bytes of whole lines
        if str(path) == "-":
            return
        refuse_existing(self._path, overwrite=overwrite)
        try:
            self._file = FileIO(self._path, "w")
        except OSError as error:
            raise SinkError(f"{self._path} cannot be written: {error.strerror}") from error

    def write(self, rendered: Rendered) -> None:
        """Append one line. What cannot be written whole is taken back.

        Raises:
            SinkError: the disk is full, or nobody reads the standard output any more.
        """
        line = json.dumps(_event(rendered), allow_nan=False).encode() + b"\n"
        if self._file is None:
            self._print(line.decode())
            return
        try:
            whole = self._file.write(line) == len(line)
            reason = "the disk is full"
        except OSError as error:
            whole, reason = False, str(error.strerror)
        if not whole:
            with suppress(OSError):  # a pipe has no length
                self._file.truncate(self._size)
            raise SinkError(f"{self._path} cannot be written: {reason}")
        self._size += len(line)

    def close(self) -> None:
        """Close the file; one without a line is removed."""
        if self._file is not None and not self._file.closed:
            self._file.close()
            if self._size == 0 and self._path.is_file():
                self._path.unlink()

    def _print(self, line: str) -> None:
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except OSError as error:
            # Python flushes once more when it ends, and would complain about the same broken pipe.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SinkError(f"the events cannot be written to the standard output: {error.strerror}") from error


def _event(rendered: Rendered) -> dict[str, Any]:
    """Return what is told of one overlay; ``result_frame`` is the one that was classified, boxes its top class's.

    While there is no signal it is why.
    """
    frame = rendered.frame
    if rendered.result is None:
        return {"frame": frame.index, "time": _number(frame.time_s), "source": frame.name, "lost": frame.lost}
    return {
        "frame": frame.index,
        "time": _number(frame.time_s),
        "source": frame.name,
        "result_frame": rendered.result_index,
        "top": [
            {"label": label, "class_id": class_id, "score": _number(score)}
            for class_id, label, score in rendered.result.top(TOP)
        ],
        "boxes": [[*(int(side) for side in box[:4]), _number(box[4])] for box in rendered.result.boxes()],
        "stages_ms": {stage: _number(milliseconds) for stage, milliseconds in rendered.stages_ms.items()},
    }


def _number(value: float) -> float | None:
    """Return ``value`` to six decimals; None, JSON's null, for NaN and infinity, which JSON has no word for."""
    return round(float(value), 6) if math.isfinite(value) else None
