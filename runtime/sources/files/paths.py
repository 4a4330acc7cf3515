"""Find the images or the video that the path or glob of a source names."""

import glob
from pathlib import Path

from camrt.errors import MissingInput, SourceError
from camrt.media_files import MediaFiles, list_files, list_folder


def files_in_folder(folder: Path) -> MediaFiles:
    """List a folder, without subfolders and hidden files.

    Raises:
        SourceError: the folder cannot be listed or has no image.
    """
    found = list_folder(folder)
    if not found.images:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        videos = f"{len(found.videos)} videos, which are sources of their own"
        content = videos if found.videos else f"{len(entries)} entries"
        reasons = [*found.problems, *found.lines()]
        hint = f"; '{folder}/**/*.jpg' reads its subfolders" if any(entry.is_dir() for entry in entries) else ""
        raise SourceError("; ".join([f"there is no image in folder {folder} ({content}){hint}", *reasons]))
    return found


def files_of_glob(pattern: str) -> MediaFiles:
    """List the files that a glob matches; ``**`` matches subfolders.

    Raises:
        MissingInput: the glob matches nothing.
        SourceError: the glob matches no image and no video.
    """
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - Path cannot glob "/a/*"
    if not matches:
        raise MissingInput(f"{pattern} matches no files")
    found = list_files(path for path in matches if path.is_file())
    if not found.kinds:
        reasons = [*found.problems, *found.lines()]
        raise SourceError(
            "; ".join([f"{pattern} matches {len(matches)} files, no image or video among them", *reasons])
        )
    return found
