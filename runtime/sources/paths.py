"""Which files a folder or a glob stands for, and in what order."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from camrt.errors import SourceError
from camrt.images import is_image, list_files, list_images, natural_order

# ruff: noqa: SIM905 - a list of nineteen suffixes takes nineteen lines

# An animated GIF is a video: FFmpeg reads every frame of it, imdecode the first one, and that only since OpenCV 4.11.
VIDEO_SUFFIXES: Final = frozenset(
    ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .ts .m2ts .wmv .flv .3gp .ogv .mjpg .mjpeg .h264 .hevc .gif".split()
)


def files_in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """List a folder's pictures, without its subfolders and hidden files.

    Returns: the pictures in natural order, and one line about each video beside them, for it is passed over.

    Raises:
        SourceError: the folder cannot be listed or has no picture.
    """
    pictures, videos = list_images(folder), list_files(folder, VIDEO_SUFFIXES)
    if not pictures:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        found = f"it has {len(videos)} videos, which are sources of their own" if videos else f"{len(entries)} entries"
        deeper = f"; for those in its folders say '{folder}/**/*.jpg'" if any(e.is_dir() for e in entries) else ""
        raise SourceError(f"there is no picture in folder {folder} ({found}){deeper}")
    return pictures, _passed_over(videos)


def files_of_glob(pattern: str) -> tuple[list[Path], list[Path], list[str]]:
    """List what a glob matches; ``**`` goes through folders.

    Returns: pictures and videos in natural order, and one line about each video that pictures keep from being read.

    Raises:
        SourceError: it matches no picture and no video.
    """
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - Path cannot glob "/a/*"
    files = sorted((path for path in matches if path.is_file()), key=natural_order)
    pictures = [path for path in files if is_image(path)]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if not pictures and not videos:
        raise SourceError(f"{pattern} matches {len(matches) or 'no'} files, and no picture or video among them")
    return pictures, videos, _passed_over(videos) if pictures else []


def _passed_over(videos: Iterable[Path]) -> list[str]:
    return [f"{video}: a video among pictures was passed over; it is a source of its own" for video in videos]
