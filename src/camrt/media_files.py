"""Find the images and videos of folders and globs by their content, in natural order, and tell what is left out."""

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from camrt.errors import SourceError, UsageError
from camrt.file_kind import UNKNOWN, FileKind, kind_of
from camrt.image_decoding.pillow_reader import identify

MEDIA_SUFFIXES: Final = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
        *(".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".jxl", ".dng", ".gif", ".tga"),
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob", ".wmv"),
        *(".asf", ".flv", ".3gp", ".ogv", ".mjpg", ".mjpeg", ".h264", ".hevc", ".mxf", ".dv"),
    )
)
"""Suffixes that promise an image or a video: such a file with other content is a problem, not only left out."""
_NAMED: Final = 3  # files that a line about left-out files names


def natural_order(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
    """Return a sort key that puts ``img2`` before ``img10`` and ignores case."""
    return natural_key(str(path))


def natural_key(text: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Return the sort key of `natural_order` for a text."""
    parts = re.split(r"([0-9]+)", text)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part.casefold()) for part in parts], text


@dataclass(slots=True)
class MediaFiles:
    """The images and videos of a folder or a glob, and the files that are neither."""

    kinds: dict[Path, FileKind] = field(default_factory=dict)
    """Each image and video with its kind, in natural order."""
    problems: list[str] = field(default_factory=list)
    """One line about each file that promises an image or a video and is none, or that cannot be read."""
    broken: dict[Path, str] = field(default_factory=dict)
    """The files among ``problems``, each with its line."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Name and kind of each other file, and of each link to a folder that is listed already."""

    @property
    def images(self) -> list[Path]:
        """The images, in natural order."""
        return [path for path, kind in self.kinds.items() if kind.kind == "image"]

    @property
    def videos(self) -> list[Path]:
        """The videos and animations, in natural order."""
        return [path for path, kind in self.kinds.items() if kind.kind == "video"]

    def lines(self, *, videos: bool = True) -> list[str]:
        """Return one line about each kind of files that are left out; without ``videos`` these are left out, too."""
        names: dict[str, list[str]] = {}
        more = [] if videos else [(path.name, "a video or an animation") for path in self.videos]
        for name, kind in (*self.left_out, *more):
            names.setdefault(kind, []).append(name)
        return [
            f"left out: {', '.join(some[:_NAMED])}{f' and {len(some) - _NAMED} more' if len(some) > _NAMED else ''} "
            f"({kind})"
            for kind, some in names.items()
        ]


def media_kind(path: Path) -> FileKind:
    """Return the kind of a file by its content, as `kind_of` and Pillow know it.

    Raises:
        SourceError: the file cannot be read.
    """
    try:
        kind = kind_of(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    return identify(path) or kind if kind is UNKNOWN else kind


def kind_of_input(path: Path) -> FileKind:
    """Return the kind of a file that the user named: an image, a video, or unknown, which only FFmpeg can tell.

    Raises:
        SourceError: the file cannot be read, or its name promises an image or a video, but it is none.
        UsageError: the file is neither an image nor a video.
    """
    kind = media_kind(path)
    if kind.kind == "other" and kind is not UNKNOWN:
        error = SourceError if path.suffix.lower() in MEDIA_SUFFIXES else UsageError
        raise error(describe_other(path, kind))
    return kind


def list_folder(folder: Path, *, subfolders: bool = False, without: Path | None = None) -> MediaFiles:
    """List the images and videos of a folder. Hidden files are left out.

    Links to folders are followed, each folder once; the path without a link comes first.

    Args:
        folder: the folder.
        subfolders: list its sub-folders too.
        without: leave out this folder, which may be inside ``folder``.

    Raises:
        SourceError: the folder cannot be listed.
    """
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise SourceError(f"folder {folder} cannot be listed: {error.strerror}") from error
    found = MediaFiles()
    walk = _walk(folder, without, found) if subfolders else _entries(folder, found)
    _add(found, sorted((path for path in walk if subfolders or not path.is_dir()), key=natural_order), folder)
    return found


def list_files(paths: Iterable[Path]) -> MediaFiles:
    """List the images and videos among files; one that several paths reach is listed once, under the shortest."""
    longest_first = sorted(paths, key=lambda path: (-len(path.parts), path))
    real = {path.parent.resolve() / path.name: path for path in longest_first}
    found = MediaFiles()
    _add(found, sorted(real.values(), key=natural_order), None)
    return found


def _add(found: MediaFiles, paths: Iterable[Path], folder: Path | None) -> None:
    for path in paths:
        name = str(path if folder is None else path.relative_to(folder))
        if not path.is_file():
            found.left_out.append((name, "links to a missing file" if path.is_symlink() else "no regular files"))
            continue
        try:
            kind = media_kind(path)
        except SourceError as error:
            found.broken[path] = str(error)
            found.problems.append(found.broken[path])
            continue
        if kind.kind != "other":
            found.kinds[path] = kind
        elif path.suffix.lower() in MEDIA_SUFFIXES:
            found.broken[path] = describe_other(path, kind)
            found.problems.append(found.broken[path])
        else:
            found.left_out.append((name, kind.name))


def describe_other(path: Path, kind: FileKind) -> str:
    """Return a line about a file that is neither an image nor a video."""
    return f"{path} is {kind.name}, neither an image nor a video{f': {kind.advice}' if kind.advice else ''}"


def _entries(folder: Path, found: MediaFiles) -> list[Path]:
    """Return the entries of a folder that are not hidden."""
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        found.problems.append(f"folder {folder} cannot be listed: {error.strerror}")
        return []


def _walk(top: Path, without: Path | None, found: MediaFiles) -> Iterator[Path]:
    """Yield the files below a folder; folders without a link come before the links to folders."""
    folders, links = deque([top]), deque[Path]()
    seen: dict[tuple[int, int], Path] = {}
    excluded = None if without is None else without.resolve()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        try:
            status = folder.stat()
        except OSError as error:
            found.problems.append(f"folder {folder} cannot be listed: {error.strerror}")
            continue
        key = status.st_dev, status.st_ino
        if key in seen:
            known = seen[key].relative_to(top)
            found.left_out.append(
                (str(folder.relative_to(top)), f"a link to the folder {known}, which is read already")
            )
            continue
        seen[key] = folder
        if excluded is not None and folder != top and folder.resolve() == excluded:
            continue
        for entry in _entries(folder, found):
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry)
            else:
                yield entry
