"""Pictures, videos and folders in, the same with maps out: every frame once, in order."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from camrt.errors import SourceError, UsageError
from camrt.runtime.sources.paths import PICTURE_SUFFIXES, VIDEO_SUFFIXES, natural_order

Job = tuple[Path, Path]
"""What is read and what is written."""


def plan(inputs: Sequence[Path], output: Path, *, overwrite: bool) -> list[Job]:
    """Decide what is written where, before anything is.

    A single picture or video goes to ``output`` itself where that has a suffix of its kind; everything else into the
    folder ``output``, under the names and subfolders it has.

    Raises:
        SourceError: an input is missing, or a folder has nothing to read.
        UsageError: two inputs would become one file, or a file exists and may not be replaced.
    """
    jobs = [
        (path, output if _is_file_for(path, inputs, output) else output / name)
        for given in inputs
        for path, name in _expand(given, output)
    ]
    taken: dict[Path, Path] = {}
    for path, target in jobs:
        if target in taken:
            raise UsageError(f"{taken[target]} and {path} would both become {target}; annotate them one by one")
        if target.exists() and target.samefile(path):
            raise UsageError(f"{path} would replace itself; choose another output than {output}")
        taken[target] = path
    existing = [target for _, target in jobs if target.exists()]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UsageError(f"{existing[0]}{more} exist already; --overwrite replaces, -o names another folder")
    return jobs


def _is_file_for(path: Path, inputs: Sequence[Path], output: Path) -> bool:
    kind = VIDEO_SUFFIXES if is_video(path) else PICTURE_SUFFIXES
    return len(inputs) == 1 and inputs[0].is_file() and output.suffix.lower() in kind and not output.is_dir()


def is_video(path: Path) -> bool:
    """Tell by its suffix whether a file is a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _expand(given: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each picture and video that an input stands for, and its name below the output folder."""
    if given.is_file():
        if given.suffix.lower() not in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
            raise UsageError(f"{given}: its suffix tells neither picture nor video")
        yield given, Path(given.name)
        return
    if not given.is_dir():
        raise SourceError(f"there is no {given} (looked for {given.absolute()})")
    written_here = output.absolute()
    found = [
        path
        for path in given.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(given).parts)
        and not path.absolute().is_relative_to(written_here)
    ]
    if not found:
        raise SourceError(f"folder {given} has no picture and no video")
    for path in sorted(found, key=natural_order):
        yield path, path.relative_to(given)
