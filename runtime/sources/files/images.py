"""Read images, one frame for each page."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from camrt.errors import SourceError
from camrt.images import Picture, read_pictures
from camrt.runtime.frames import Frame
from camrt.text import one_line


class ImageSource:
    """Images in the order of their paths; an image that cannot be read is skipped and listed in ``problems``.

    A file of several pages gives a frame for each.
    """

    live = False
    fps: float | None = None

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        name: str,
        problems: Sequence[str] = (),
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Take the paths; nothing is read yet.

        Args:
            paths: the images, at least one.
            name: name of the source.
            problems: lines about files that were skipped already.
            tell: takes a line, at the end, about each thing that was assumed or left out.
        """
        self.name = name
        self.frame_count: int | None = len(paths)
        """Number of frames; it grows with the pages of the files that were opened."""
        self.problems = list(problems)
        self._paths = list(paths)
        self._tell = tell
        self._remarks: dict[str, list[str]] = {}
        self._pages: Iterator[Picture] = iter(())
        self._next = 0  # number of the next file
        self._frames = 0  # number of the next frame
        self._read_any = False
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next page of an image that can be read, or None at the end.

        Raises:
            SourceError: the end was reached, and no image could be read.
        """
        while not self._closed:
            try:
                picture = next(self._pages, None)
            except SourceError as error:
                if len(self._paths) == 1 and not self._read_any:
                    raise
                self.problems.append(str(error))
                self._frames += 1
                continue
            if picture is not None:
                self._read_any = True
                return self._frame(picture)
            if self._next == len(self._paths):
                break
            self._pages = read_pictures(self._paths[self._next])
            self._next += 1
        if not self._closed:
            self._report()
            if not self._read_any:
                raise SourceError(f"none of the {len(self._paths)} images of {self.name} could be read")
        return None

    def close(self) -> None:
        """End the reading."""
        self._closed = True

    def _frame(self, picture: Picture) -> Frame:
        path = self._paths[self._next - 1]
        if picture.page == 1 and self.frame_count is not None:
            self.frame_count += picture.pages - 1
        if picture.remark:
            self._remarks.setdefault(picture.remark, []).append(str(path))
        several = picture.pages > 1
        name = one_line(f"{path}, page {picture.page}" if several else str(path))
        self._frames += 1
        return Frame(picture.image, self._frames - 1, 0.0, name, file=path, page=picture.page if several else None)

    def _report(self) -> None:
        for remark, names in self._remarks.items():
            self._tell(f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {remark}")
        self._remarks.clear()
