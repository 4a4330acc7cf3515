"""Read images, one frame each."""

from collections.abc import Sequence
from pathlib import Path

from camrt.errors import SourceError
from camrt.images import read_image
from camrt.runtime.frames import Frame


class ImageSource:
    """Images in the order of their paths; an image that cannot be read is skipped and listed in ``problems``."""

    live = False
    fps: float | None = None

    def __init__(self, paths: Sequence[Path], *, name: str, problems: Sequence[str] = ()) -> None:
        """Take the paths; nothing is read yet.

        Args:
            paths: the images, at least one.
            name: name of the source.
            problems: lines about files that were skipped already.
        """
        self.name = name
        self.frame_count: int | None = len(paths)
        self.problems = list(problems)
        self._paths = list(paths)
        self._next = 0
        self._read_any = False
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next image that can be read, or None at the end.

        Raises:
            SourceError: the end was reached, and no image could be read.
        """
        while self._next < len(self._paths) and not self._closed:
            index, path = self._next, self._paths[self._next]
            self._next += 1
            try:
                image = read_image(path)
            except SourceError as error:
                if len(self._paths) == 1:
                    raise
                self.problems.append(str(error))
                continue
            self._read_any = True
            return Frame(image, index, 0.0, str(path))
        if not self._read_any and not self._closed:
            raise SourceError(f"none of the {len(self._paths)} images of {self.name} could be read")
        return None

    def close(self) -> None:
        """End the reading."""
        self._closed = True
