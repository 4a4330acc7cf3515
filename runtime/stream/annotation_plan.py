"""Plan of an annotation: the output file of each input, before anything is written."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from camrt.errors import MissingInput, SourceError, UsageError
from camrt.file_kind import FileKind
from camrt.files import file_name
from camrt.media_files import MEDIA_SUFFIXES, MediaFiles, kind_of_input, list_folder
from camrt.runtime.sinks.images import KEPT_SUFFIXES
from camrt.runtime.sinks.opencv_video import CODECS


@dataclass(frozen=True, slots=True)
class Job:
    """One input file and its output file."""

    source: Path
    target: Path
    is_video: bool


@dataclass(slots=True)
class Plan:
    """The jobs of an annotation, and the files of its folders that have none."""

    jobs: list[Job]
    problems: list[str] = field(default_factory=list)
    """One line about each file that promises an image or a video and is none."""
    left_out: list[str] = field(default_factory=list)
    """Lines about other files that are neither an image nor a video."""
    left_out_count: int = 0
    """Number of these files."""


def plan(inputs: Sequence[Path], output: Path, *, overwrite: bool = False, resume: bool = False) -> Plan:
    """Plan the output file of each input.

    A single image or video goes to ``output`` itself if that has a suffix of its kind. Everything else goes into the
    folder ``output``, with its names and sub-folders. A file that is named twice, for example by its folder, is read
    once. Where two inputs would become one file, one keeps the name and the other gets a number: ``clip-2.mp4``.

    Args:
        inputs: images, videos and folders; their content decides the kind.
        output: file or folder to write.
        overwrite: outputs may exist and are replaced.
        resume: outputs may exist.

    Raises:
        MissingInput: an input does not exist.
        SourceError: a folder has no image and no video.
        UsageError: an input is neither an image nor a video; an output exists and may not; or the suffix of the output
            does not fit the input.
    """
    made = Plan([])
    found: dict[Path, tuple[Path, Path, bool]] = {}
    for named in inputs:
        for path, name, kind in _expand(named, output, made):
            # A link and its target stay two files.
            found.setdefault(Path(os.path.abspath(path)), (path, name, kind.kind != "image"))  # noqa: PTH100
    single = _as_file(inputs, list(found.values()), output)
    if single is not None:
        made.jobs = [single]
    else:
        targets = _targets([(name, is_video) for _, name, is_video in found.values()])
        for (path, _, is_video), target in zip(found.values(), targets, strict=True):
            made.jobs.append(Job(path, output / target, is_video))
    for job in made.jobs:
        if job.target.exists() and job.target.samefile(job.source):
            raise UsageError(f"{job.source} would replace itself; choose another output than {output}")
    existing = [job.target for job in made.jobs if job.target.exists()]
    if existing and not (overwrite or resume):
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UsageError(
            f"{existing[0]}{more} exist already; --overwrite replaces, --resume keeps what is whole, -o names another "
            "folder"
        )
    return made


def _as_file(inputs: Sequence[Path], found: list[tuple[Path, Path, bool]], output: Path) -> Job | None:
    """Return the job of a single file whose output is a file; None: the output is a folder. Raises: UsageError."""
    path, _, is_video = found[0]
    kinds = CODECS if is_video else KEPT_SUFFIXES
    if not output.suffix or output.is_dir():
        return None
    if len(inputs) == 1 and inputs[0].is_file() and output.suffix.lower() in kinds:
        return Job(path, output, is_video)
    raise UsageError(
        f"{output}: a single {'video' if is_video else 'image'} becomes a file that ends in {' '.join(kinds)}; name a "
        "folder, without a suffix, for anything else"
    )


def _targets(names: list[tuple[Path, bool]]) -> list[Path]:
    """Return a name of its own for each output. An input whose suffix is kept comes before one whose suffix changes."""
    wanted = [_writable(name, is_video) for name, is_video in names]
    targets: dict[int, Path] = {}
    taken: set[Path] = set()
    for number in sorted(range(len(names)), key=lambda number: (names[number][0] != wanted[number], number)):
        target, count = wanted[number], 1
        while target in taken:
            count += 1
            target = wanted[number].with_name(file_name(wanted[number].stem, f"-{count}{wanted[number].suffix}"))
        taken.add(target)
        targets[number] = target
    return [targets[number] for number in range(len(names))]


def _writable(name: Path, is_video: bool) -> Path:
    """Return the name for the output: the same, or with .png or .mp4 if the suffix cannot be written."""
    kept = CODECS if is_video else KEPT_SUFFIXES
    if name.suffix.lower() in kept:
        return name
    # A point that begins no usual suffix is part of the name: "scan.2024-05-01".
    stem = name.stem if name.suffix.lower() in MEDIA_SUFFIXES else name.name
    return name.with_name(file_name(stem, ".mp4" if is_video else ".png"))


def _expand(given: Path, output: Path, made: Plan) -> list[tuple[Path, Path, FileKind]]:
    """Return each image and video of an input, its name below the output folder, and its kind."""
    if given.is_file():
        return [(given, Path(given.name), kind_of_input(given))]
    if not given.is_dir():
        raise MissingInput(f"there is no {given} (looked for {given.absolute()})")
    inside = output.resolve() != given.resolve()
    found = list_folder(given, subfolders=True, without=output if inside else None)
    if not found.kinds:
        reasons = "".join(f"; {line}" for line in (*found.problems, *found.lines()))
        raise SourceError(f"folder {given} has no image and no video{reasons}")
    _note(given, found, made)
    return [(path, path.relative_to(given), kind) for path, kind in found.kinds.items()]


def _note(folder: Path, found: MediaFiles, made: Plan) -> None:
    made.problems += found.problems
    made.left_out += [f"{folder}: {line}" for line in found.lines()]
    made.left_out_count += len(found.left_out)
