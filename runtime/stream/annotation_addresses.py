"""Plan of an annotation of addresses: each is opened, and gets an output file."""

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from camrt.errors import UsageError
from camrt.files import file_name
from camrt.runtime.frames import Source
from camrt.runtime.sinks.images import KEPT_SUFFIXES
from camrt.runtime.sinks.opencv_video import CODECS
from camrt.runtime.sources.network.url import split_credentials
from camrt.runtime.sources.single import SinglePicture, open_finite
from camrt.video_decoding.hardware_devices import SOFTWARE


def open_addresses(
    urls: Sequence[str],
    output: Path,
    taken: Collection[Path],
    *,
    overwrite: bool,
    decode: str = SOFTWARE,
    tell: Callable[[str], None] = lambda line: None,
) -> list[tuple[Source, Path]]:
    """Open addresses of pictures and videos, and choose an output file for each.

    Args:
        urls: the addresses.
        output: folder to write; for a single address and nothing else also a file.
        taken: files that the run writes besides.
        overwrite: outputs may exist and are replaced.
        decode: the decoder, see `camrt.video_decoding.hardware_devices.choose_device`.
        tell: takes a line about the decoder of a video, if one was requested.

    Returns: each open source with its file. The caller closes the sources.

    Raises:
        UsageError: an address is a live stream, an output exists and may not, or its suffix does not fit.
        SourceError: an address cannot be read.
    """
    jobs: list[tuple[Source, Path]] = []
    targets = set(taken)
    try:
        for url in urls:
            source = open_finite(url, decode=decode, tell=tell)
            jobs.append((source, output))  # closed below, should the choice of a file fail
            alone = len(urls) == 1 and not taken
            target = _target(url, source, output, targets, alone=alone)
            _check_new(target, overwrite=overwrite)
            jobs[-1] = (source, target)
            targets.add(target)
    except BaseException:
        for source, _ in jobs:
            source.close()
        raise
    return jobs


def _check_new(target: Path, *, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already; --overwrite replaces it, -o names another folder")


def _target(url: str, source: Source, output: Path, taken: Collection[Path], *, alone: bool) -> Path:
    kinds = KEPT_SUFFIXES if isinstance(source, SinglePicture) else CODECS
    if output.suffix and not output.is_dir():
        if alone and output.suffix.lower() in kinds:
            return output
        kind = "picture" if isinstance(source, SinglePicture) else "video"
        raise UsageError(
            f"{output}: a single {kind} becomes a file that ends in {' '.join(kinds)}; name a folder, without a "
            "suffix, for anything else"
        )
    place = split_credentials(url)[0].partition("://")[2]
    last = Path(re.sub(r"[^\w.-]", "_", re.split(r"[?#]", place)[0].rpartition("/")[2]))
    suffix = ".png" if kinds is KEPT_SUFFIXES else ".mp4"
    if last.suffix.lower() in kinds:
        stem, suffix = last.stem, last.suffix
    else:  # the last part may be a key: the name has a hash of it
        stem = re.sub(r"[^\w.-]+", "_", source.name.partition("://")[2]).strip("_")
    target, count = output / file_name(stem, suffix), 1
    while target in taken:
        count += 1
        target = output / file_name(stem, f"-{count}{suffix}")
    return target
