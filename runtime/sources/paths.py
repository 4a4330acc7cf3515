"""List the images and videos of a folder or a glob, in natural order."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from camrt.errors import SourceError
from camrt.images import is_image, list_files, list_images, natural_order

# A GIF is a video: FFmpeg reads every frame of an animated one, cv2.imdecode only the first, from OpenCV 4.11 on.
VIDEO_SUFFIXES: Final = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".m2ts", ".wmv", ".flv", ".3gp"),
        *(".ogv", ".mjpg", ".mjpeg", ".h264", ".hevc", ".gif"),
    )
)


def files_in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """List the images of a folder, without subfolders and hidden files.

    Returns: the images in natural order, and one line about each video, because it is skipped.

    Raises:
        SourceError: the folder cannot be listed or has no image.
    """
    images, videos = list_images(folder), list_files(folder, VIDEO_SUFFIXES)
    if not images:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        content = f"{len(videos)} videos, which are sources of their own" if videos else f"{len(entries)} entries"
        hint = f"; '{folder}/**/*.jpg' reads its subfolders" if any(entry.is_dir() for entry in entries) else ""
        raise SourceError(f"there is no image in folder {folder} ({content}){hint}")
    return images, _skipped(videos)


def files_of_glob(pattern: str) -> tuple[list[Path], list[Path], list[str]]:
    """List the files that a glob matches; ``**`` matches subfolders.

    Returns: images and videos in natural order. If there are images, videos are skipped, with one line about each.

    Raises:
        SourceError: the glob matches no image and no video.
    """
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - Path cannot glob "/a/*"
    files = sorted((path for path in matches if path.is_file()), key=natural_order)
    images = [path for path in files if is_image(path)]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if not images and not videos:
        raise SourceError(f"{pattern} matches {len(matches) or 'no'} files, and no image or video among them")
    return images, videos, _skipped(videos) if images else []


def _skipped(videos: Iterable[Path]) -> list[str]:
    return [f"{video}: a video among images was skipped; pass it as a source of its own" for video in videos]
