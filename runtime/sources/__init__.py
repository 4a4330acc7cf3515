"""Where frames come from: cameras, network streams, video files, pictures, and a scene that is rendered here."""

import re
from pathlib import Path

from camrt.errors import SourceError, UsageError
from camrt.runtime.frames import Source
from camrt.runtime.scene import Scene, SyntheticSource
from camrt.runtime.sources.address import SCHEMES, redact
from camrt.runtime.sources.capture import quiet_decoders
from camrt.runtime.sources.live import LiveSource
from camrt.runtime.sources.paths import PICTURE_SUFFIXES, VIDEO_SUFFIXES, files_in_folder, files_of_glob
from camrt.runtime.sources.pictures import PictureSource
from camrt.runtime.sources.video import VideoSource

__all__ = ["open_source"]

KINDS = (
    "a camera number (0), /dev/video0, a picture, a folder or quoted glob of pictures, a video file, "
    "an rtsp, rtmp or http address, or 'synthetic'"
)


def open_source(text: str) -> Source:
    """Open what a user calls a source.

    Args:
        text: a camera's number or device, the path of a picture, a folder of pictures or a video, a glob, an address
            (rtsp, rtmp, http), or ``synthetic`` for the scene that is rendered here.

    Returns: the source, opened: a camera has answered, a video's header was read. The caller closes it.

    Raises:
        UsageError: the text names nothing that can be a source.
        SourceError: it does, but it is not there or cannot be opened.
    """
    quiet_decoders()
    if not text:
        raise UsageError(f"the source is empty; it can be {KINDS}")
    if text == "synthetic":
        return SyntheticSource(Scene(seed=0))
    if text.isascii() and text.isdecimal():
        return LiveSource.camera(int(text))
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text):
        if scheme[1].lower() not in SCHEMES:
            known = ", ".join(SCHEMES)
            raise UsageError(f"{redact(text)}: addresses of {scheme[1]}:// cannot be read; known are {known}")
        return LiveSource.url(text)
    path = Path(text)
    if path.is_char_device() or text.startswith("/dev/video"):
        return LiveSource.camera(text)
    if path.is_dir():
        pictures, problems = files_in_folder(path)
        return PictureSource(pictures, name=text, problems=problems)
    if path.exists():
        return _file(path)
    if any(character in text for character in "*?["):
        return _glob(text)
    raise SourceError(f"there is no {text} (looked for {path.absolute()}); a source can be {KINDS}")


def _file(path: Path) -> Source:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder; a source can be {KINDS}")
    if suffix in PICTURE_SUFFIXES:
        return PictureSource([path], name=str(path))
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(path)
    raise UsageError(
        f"{path}: {f'the suffix {suffix}' if suffix else 'no suffix, so it'} tells neither picture nor video; "
        f"pictures end in {' '.join(sorted(PICTURE_SUFFIXES))}, videos in {' '.join(sorted(VIDEO_SUFFIXES))}"
    )


def _glob(pattern: str) -> Source:
    pictures, videos, problems = files_of_glob(pattern)
    if pictures:
        return PictureSource(pictures, name=pattern, problems=problems)
    if len(videos) == 1:
        return VideoSource(videos[0])
    raise UsageError(f"{pattern} matches {len(videos)} videos; each is a source of its own, so name one")
