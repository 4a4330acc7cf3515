"""Time-lapse of contact sheets: one frame an epoch, H.264. Needs PyAV (extra ``train``)."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

from camrt.errors import MissingExtra, SinkError
from camrt.files import atomic_write
from camrt.images import read_image

_LENGTH_S: Final = 12
"""Seconds that a time-lapse takes, unless a rate limits it."""
_SLOWEST, _FASTEST = 2, 25
"""Epochs a second."""
_LAST_S: Final = 2
"""Seconds that the last sheet stays."""


def write_time_lapse(sheets: Sequence[Path], target: Path) -> None:
    """Write a video of images of one size; the file is whole or not there.

    Args:
        sheets: image files with even sides, at least one.
        target: the video, MP4.

    Raises:
        MissingExtra: PyAV is not installed.
        DiskFull, SinkError: the video cannot be written.
        SourceError: a sheet cannot be read.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtra("a time-lapse needs PyAV: pip install 'camrt[train]'") from error
    rate = min(_FASTEST, max(_SLOWEST, round(len(sheets) / _LENGTH_S)))
    with atomic_write(target) as part:
        try:
            with av.open(str(part), "w", format="mp4") as container:
                stream = container.add_stream("libx264", rate=Fraction(rate))
                for number, path in enumerate([*sheets, *([sheets[-1]] * (_LAST_S * rate - 1))]):
                    image = read_image(path)
                    if not number:
                        stream.height, stream.width = image.shape[:2]
                        stream.pix_fmt = "yuv420p"
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
                container.mux(stream.encode(None))
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise SinkError(f"{target} cannot be encoded: {error}") from error
