"""Annotation of images, videos and folders: every frame once, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from camrt.errors import SinkError, SourceError
from camrt.files import file_name
from camrt.images import read_image, read_pictures
from camrt.progress import Progress
from camrt.runtime.frames import Frame, Rendered, Sink, Source, StreamItem
from camrt.runtime.inference.model import Model
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Enlargement, Renderer
from camrt.runtime.sinks.images import write_image
from camrt.runtime.sinks.video import VideoSink
from camrt.runtime.sources.files.animation import open_video
from camrt.runtime.sources.files.images import ImageSource
from camrt.runtime.sources.files.video import VideoSource
from camrt.runtime.sources.transform import FrameTransform, TransformedSource
from camrt.runtime.stream.annotation_plan import Job
from camrt.runtime.stream.pipeline import Pipeline
from camrt.video_decoding.hardware_devices import SOFTWARE


class Annotator:
    """Runs the jobs of `camrt.runtime.stream.annotation_plan.plan`. A file that cannot be read is reported.

    Args:
        model: classifies the frames.
        settings: display settings.
        hud: write classes and scores on the overlays.
        overwrite: existing outputs are replaced.
        resume: outputs that exist and are whole are kept; others are made again.
        transform: change of every frame before the model sees it; None: there is none.
        every: of a video, the first frame and each n-th after it are drawn.
        enlarge: enlargement of the overlays.
        decode: the decoder of videos, see `camrt.video_decoding.hardware_devices.choose_device`.
    """

    def __init__(
        self,
        model: Model,
        settings: DisplaySettings,
        *,
        hud: bool,
        overwrite: bool = False,
        resume: bool = False,
        transform: FrameTransform | None = None,
        every: int = 1,
        enlarge: Enlargement = 1,
        decode: str = SOFTWARE,
    ) -> None:
        self._model = model
        self._settings = SettingsStore(settings)
        self._hud = hud
        self._replace = overwrite or resume
        self._resume = resume
        self._transform = transform
        self._every = every
        self._enlarge = enlarge
        self._decode = decode
        self._running: Pipeline | None = None
        self.stopped = False
        """`stop` was called before the last job was finished."""
        self.frames = 0
        """Frames drawn so far."""
        self.written: list[Path] = []
        """Finished files."""
        self.kept = 0
        """Number of jobs whose outputs were whole already."""
        self.remarks: list[str] = []
        """One line about each thing that was assumed about the values of images, or that an output lacks, and about the
        decoder of each video if one was requested."""

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
        if self._resume:
            jobs = [job for job in jobs if self.stopped or not self._is_done(job)]
        images = {job.source: job.target for job in jobs if not job.is_video}
        if images:
            source = ImageSource(list(images), name="the inputs", tell=self.remarks.append)
            sink = _PlannedImages(images, self.written, problems, replace=self._replace)
            problems += self._draw(source, sink, "images")
        for job in jobs:
            if job.is_video and not self.stopped:
                try:
                    problems += self._annotate_video(job.source, job.target)
                except SourceError as error:
                    problems.append(str(error))
        return problems

    def _is_done(self, job: Job) -> bool:
        """Tell whether the output of a job is whole: all pages of an image, all frames of a video."""
        if job.is_video:
            done = job.target.is_file() and _has_all_frames(job, self._every)
        elif job.target.is_file():
            done = _is_readable(job.target)
        else:
            done = _has_all_pages(job)
        self.kept += done
        return done

    def run_addresses(self, jobs: Sequence[tuple[Source, Path]]) -> list[str]:
        """Annotate sources of `camrt.runtime.sources.single.open_finite`, each into its file; returns as `run` does."""
        problems: list[str] = []
        for source, target in jobs:
            if self.stopped:
                source.close()
            elif source.fps is None and source.frame_count == 1:
                sink = _PlannedImages({Path(source.name): target}, self.written, problems, replace=self._replace)
                problems += self._draw(source, sink, "images")
            else:
                problems += self._write_video(source, target)
        return problems

    def _annotate_video(self, path: Path, target: Path) -> list[str]:
        return self._write_video(open_video(path, decode=self._decode, tell=self.remarks.append), target)

    def _write_video(self, source: Source, target: Path) -> list[str]:
        sound = source.sound if isinstance(source, VideoSource) else None
        if self._every > 1:
            source = EveryNth(source, self._every)
        try:
            _make_folder(target.parent)
            sink = VideoSink(
                target,
                fps=source.fps,
                overwrite=self._replace,
                timed=True,
                sound=sound,
                tell=self.remarks.append,
            )
        except BaseException:
            source.close()
            raise
        before = self.frames
        problems = self._draw(source, sink, f"frames of {Path(source.name).name}")
        drawn = self.frames - before
        if drawn:
            self.written.append(target)
        if self.stopped and drawn != source.frame_count:
            problems.append(f"{target} stops after frame {drawn} of {source.frame_count or 'an unknown number'}")
        return problems

    def _draw(self, source: Source, sink: Sink[Rendered], unit: str) -> list[str]:
        if self._transform is not None:
            source = TransformedSource(source, self._transform)
        renderer = Renderer(hud=self._hud, provider=None, threads=self._model.spare_threads, enlarge=self._enlarge)
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


class EveryNth:
    """A video of which only the first frame and each n-th after it are read. Frames keep their times."""

    live = False

    def __init__(self, source: Source, every: int) -> None:
        self._source = source
        self._every = every
        self.name = source.name
        self.fps = None if source.fps is None else source.fps / every
        self.frame_count = None if source.frame_count is None else -(-source.frame_count // every)
        self.problems = source.problems

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. Raises: SourceError."""
        while (frame := self._source.read()) is not None:
            if frame.index % self._every == 0:
                return replace(frame, lasts_s=0.0)  # that of the frames between is not known
        return None

    def close(self) -> None:
        """Close the video."""
        self._source.close()


class _PlannedImages:
    """Writes each overlay to its planned file, and each page of a file beside it."""

    def __init__(
        self, targets: Mapping[Path, Path], written: list[Path], problems: list[str], *, replace: bool
    ) -> None:
        self._targets = targets
        self._written = written
        self._problems = problems
        self._replace = replace
        self._files: set[Path] = set()

    def write(self, rendered: Rendered, /) -> None:
        frame = rendered.frame
        assert frame.file is not None
        target = self._targets[frame.file]
        if frame.page is not None:
            target = page_target(target, frame.page)
            if target in self._targets.values() or (target.exists() and not self._replace):
                self._problems.append(f"{frame.name} was not written: {target} exists, or is another output")
                return
        _make_folder(target.parent)
        write_image(target, rendered.image)
        if frame.file not in self._files:  # the pages of a file count once
            self._files.add(frame.file)
            self._written.append(target)

    def close(self) -> None:
        """Every image is finished already."""


def page_target(target: Path, page: int) -> Path:
    """Return the output file of a page: ``scan.page2.tif`` for ``scan.tif``."""
    return target.with_name(file_name(target.stem, f".page{page}{target.suffix}"))


def _has_all_pages(job: Job) -> bool:
    if not page_target(job.target, 1).is_file():
        return False
    try:
        pages = sum(1 for _ in read_pictures(job.source))
    except SourceError:
        return False
    targets = [page_target(job.target, page) for page in range(1, pages + 1)]
    return all(target.is_file() and _is_readable(target) for target in targets)


def _is_readable(path: Path) -> bool:
    try:
        read_image(path)
    except SourceError:
        return False
    return True


def _has_all_frames(job: Job, every: int) -> bool:
    """Tell whether a video has as many readable frames as its input gives."""
    try:
        frames = _count(job.target)
        source = open_video(job.source)
        stated = source.frame_count
        source.close()
        if stated is not None and frames == -(-stated // every):
            return True
        return frames == -(-_count(job.source) // every)  # a header may be wrong
    except SourceError:
        return False


def _count(path: Path) -> int:
    """Return the number of frames that can be read."""
    source = open_video(path)
    frames = 0
    while source.read() is not None:
        frames += 1
    source.close()
    return frames


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"folder {folder} cannot be created: {error.strerror}") from error
