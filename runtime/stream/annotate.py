"""Annotation of images, videos and folders: every frame once, in order."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from camrt.errors import SinkError, SourceError, UsageError
from camrt.images import IMAGE_SUFFIXES, natural_order
from camrt.runtime.frames import Rendered, Sink, Source, StreamItem
from camrt.runtime.inference.model import Model
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.sinks.images import KEPT_SUFFIXES, write_image
from camrt.runtime.sinks.opencv_video import CODECS
from camrt.runtime.sinks.video import VideoSink
from camrt.runtime.sources.images import ImageSource
from camrt.runtime.sources.paths import VIDEO_SUFFIXES
from camrt.runtime.sources.video import VideoSource
from camrt.runtime.stream.pipeline import Pipeline
from camrt.runtime.stream.progress import Progress

Job = tuple[Path, Path]
"""Input file and output file."""


def plan(inputs: Sequence[Path], output: Path, *, overwrite: bool) -> list[Job]:
    """Plan the output file of each input, before anything is written.

    A single image or video goes to ``output`` itself if that has a suffix of its kind. Everything else goes into the
    folder ``output``, with its names and sub-folders. A file that is named twice, for example by its folder, is read
    once.

    Raises:
        SourceError: an input is missing, or a folder has no image and no video.
        UsageError: two inputs would become one file, a file exists and ``overwrite`` is False, or the suffix of the
            output does not fit the input.
    """
    found: dict[Path, Job] = {}
    for named in inputs:
        for path, name in _expand(named, output):
            target = output if _is_file_for(path, inputs, output) else output / _writable(name)
            found.setdefault(Path(os.path.abspath(path)), (path, target))  # noqa: PTH100 - a link and its target stay two files
    jobs = list(found.values())
    if output.suffix and not output.is_dir() and output not in (target for _, target in jobs):
        kinds = CODECS if is_video(inputs[0]) else KEPT_SUFFIXES
        raise UsageError(
            f"{output}: a single {'video' if is_video(inputs[0]) else 'image'} becomes a file that ends in "
            f"{' '.join(kinds)}; name a folder, without a suffix, for anything else"
        )
    taken: dict[Path, Path] = {}
    for path, target in jobs:
        if target in taken:
            raise UsageError(f"{taken[target]} and {path} would both become {target}; annotate them in two runs")
        if target.exists() and target.samefile(path):
            raise UsageError(f"{path} would replace itself; choose another output than {output}")
        taken[target] = path
    existing = [target for _, target in jobs if target.exists()]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UsageError(f"{existing[0]}{more} exist already; --overwrite replaces, -o names another folder")
    return jobs


def _is_file_for(path: Path, inputs: Sequence[Path], output: Path) -> bool:
    kind = CODECS if is_video(path) else KEPT_SUFFIXES
    return len(inputs) == 1 and inputs[0].is_file() and output.suffix.lower() in kind and not output.is_dir()


def _writable(name: Path) -> Path:
    """Return the name for the output: the same, or with .png or .mp4 if the suffix cannot be written."""
    if is_video(name):
        return name if name.suffix.lower() in CODECS else name.with_suffix(".mp4")
    return name if name.suffix.lower() in KEPT_SUFFIXES else name.with_suffix(".png")


def is_video(path: Path) -> bool:
    """Tell whether a file is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _expand(given: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each image and video of an input, and its name below the output folder."""
    if given.is_file():
        if given.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            raise UsageError(f"{given}: its suffix is neither of an image nor of a video")
        yield given, Path(given.name)
        return
    if not given.is_dir():
        raise SourceError(f"there is no {given} (looked for {given.absolute()})")
    written_here = output.resolve()
    inside = written_here != given.resolve() and written_here.is_relative_to(given.resolve())
    found = [
        path
        for path in given.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(given).parts)
        and not (inside and path.resolve().is_relative_to(written_here))
    ]
    if not found:
        raise SourceError(f"folder {given} has no image and no video")
    for path in sorted(found, key=natural_order):
        yield path, path.relative_to(given)


class Annotator:
    """Runs the jobs of `plan`. A file that cannot be read is skipped and reported."""

    def __init__(self, model: Model, settings: DisplaySettings, *, hud: bool, overwrite: bool) -> None:
        self._model = model
        self._settings = SettingsStore(settings)
        self._hud = hud
        self._overwrite = overwrite
        self._running: Pipeline | None = None
        self.stopped = False
        """`stop` was called before the last job was finished."""
        self.frames = 0
        """Frames drawn so far."""
        self.written: list[Path] = []
        """Finished files."""
        self.remarks: list[str] = []
        """One line for each part of an input that an output does not have, such as its sound."""

    def stop(self) -> None:
        """End soon; the current file is finished as far as it got. May be called from a signal handler."""
        self.stopped = True
        if self._running is not None:
            self._running.stop()

    def run(self, jobs: Sequence[Job]) -> list[str]:
        """Annotate all images, then video by video.

        Returns: one line for each file that could not be read, or not completely.

        Raises:
            SinkError: an output cannot be written.
        """
        problems: list[str] = []
        images = {path: target for path, target in jobs if not is_video(path)}
        if images:
            source = ImageSource(list(images), name="the inputs")
            problems += self._draw(source, _PlannedImages(images, self.written), "images")
        for path, target in jobs:
            if is_video(path) and not self.stopped:
                try:
                    problems += self._annotate_video(path, target)
                except SourceError as error:
                    problems.append(str(error))
        return problems

    def _annotate_video(self, path: Path, target: Path) -> list[str]:
        source = VideoSource(path)
        try:
            _make_folder(target.parent)
            sink = VideoSink(
                target,
                fps=source.fps,
                overwrite=self._overwrite,
                timed=True,
                sound=source.sound,
                tell=self.remarks.append,
            )
        except BaseException:
            source.close()
            raise
        before = self.frames
        problems = self._draw(source, sink, f"frames of {path.name}")
        drawn = self.frames - before
        if drawn:
            self.written.append(target)
        if self.stopped and drawn != source.frame_count:
            problems.append(f"{target} stops after frame {drawn} of {source.frame_count or 'an unknown number'}")
        return problems

    def _draw(self, source: Source, sink: Sink[Rendered], unit: str) -> list[str]:
        renderer = Renderer(hud=self._hud, provider=None, threads=self._model.spare_threads)
        progress = Progress(source.frame_count, unit)
        self._running = Pipeline(self._model, source, self._settings, renderer=renderer, recorders=[sink])
        if self.stopped:  # requested while the source was being opened
            self._running.stop()

        def on_item(_: StreamItem) -> None:
            self.frames += 1
            progress.step()

        try:
            self._running.run(on_item)
        except SourceError as error:
            return list(dict.fromkeys([*source.problems, str(error)]))
        finally:
            progress.close()
        return source.problems


class _PlannedImages:
    """Writes each overlay to its planned file."""

    def __init__(self, targets: Mapping[Path, Path], written: list[Path]) -> None:
        self._targets = targets
        self._written = written

    def write(self, rendered: Rendered, /) -> None:
        target = self._targets[Path(rendered.frame.name)]
        _make_folder(target.parent)
        write_image(target, rendered.image)
        self._written.append(target)

    def close(self) -> None:
        """Every image is finished already."""


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"folder {folder} cannot be created: {error.strerror}") from error
