"""Live session: sources through one model to recorders, listeners and viewers. `camrt live` runs it."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from camrt.images import Image
from camrt.runtime.frames import Rendered, Sink, Source, StreamItem
from camrt.runtime.inference.fastest_sharing import fastest_sharing
from camrt.runtime.inference.head_switch import HeadSwitch
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.attention_reference import AttentionReference
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.maps.result import Result
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Enlargement, Renderer, shown_classes
from camrt.runtime.stream.hub import Hub
from camrt.runtime.stream.model_settings import fit_settings
from camrt.runtime.stream.pipeline import Pipeline, Summary
from camrt.runtime.stream.pipeline_group import PipelineGroup

_POLL_S: Final = 0.03
_IMAGE_S: Final = 2.0
"""Time that a watched image of a folder stays."""


class LiveSession:
    """Runs one source or several through a model until they end or `stop` is called.

    Several sources share the model, in the way that `fastest_sharing` measures. One that fails does not stop the
    others.

    Args:
        model: classifies the frames.
        sources: opened sources; the session closes them at the end.
        settings: display settings; None: `DisplaySettings.defaults`, those of live streams if every source is live.
        recorders: for each source the sinks that take drawn overlays, such as videos; closed at the end.
        listeners: for each source the sinks that take items, such as event logs; closed at the end.
        hud: write classes, scores and speed on the recorded overlays.
        every_camera_frame: see `Pipeline`.
        watched: someone looks: files play at their frame rate, each image of a folder stays for two seconds, and a
            pause of the hub holds both.
        frames: stop each source after this many items with a result; None: no limit.
        enlarge: enlargement of the recorded overlays.
        reference: attention of an audit, with which the maps of each source are compared; None: they are not.
    """

    def __init__(
        self,
        model: Model,
        sources: Sequence[Source],
        *,
        settings: DisplaySettings | None = None,
        recorders: Sequence[Sequence[Sink[Rendered]]] | None = None,
        listeners: Sequence[Sequence[Sink[StreamItem]]] | None = None,
        hud: bool = True,
        every_camera_frame: bool = True,
        watched: bool = False,
        frames: int | None = None,
        enlarge: Enlargement = 1,
        reference: AttentionReference | None = None,
    ) -> None:
        self._sources = sources
        self._watched = watched
        self._told = set(model.remarks)
        if settings is None:
            settings = DisplaySettings.defaults(live=all(source.live for source in sources))
        sharing = fastest_sharing(model, len(sources))
        self._switch = HeadSwitch(sharing.model)
        self.settings = SettingsStore(settings, self._fit)
        """The display settings; `SettingsStore.update` changes them while the session runs."""
        self.hub = Hub(self._switch, self.settings, sources)
        """The newest item of each stream, for viewers."""
        self.settings.subscribe(self._show_changes)
        model = self._switch.model
        classify: Callable[[Image], Result] = self._switch
        if len(sources) > 1:
            classify = sharing.share(self._switch)
        pipelines = []
        for number, source in enumerate(sources):
            kept = [] if recorders is None else recorders[number]
            heard = [] if listeners is None else listeners[number]
            renderer = None
            if kept:
                renderer = Renderer(hud=hud, provider=model.provider, threads=model.spare_threads, enlarge=enlarge)
            pipelines.append(
                Pipeline(
                    classify,
                    source,
                    self.settings,
                    renderer=renderer,
                    recorders=kept,
                    listeners=[*heard, self.hub.streams[number]],
                    every_camera_frame=every_camera_frame,
                    paced=watched,
                    frames=frames,
                    reference=reference,
                )
            )
        self._group = PipelineGroup(pipelines)
        self._stop = threading.Event()

    def replace_model(self, model: Model) -> None:
        """Classify with a newer model from now on; may be called from any thread.

        Raises:
            UsageError: the model has other classes or heads.
        """
        self._switch.replace(model)

    def stop(self) -> None:
        """End the session soon; may be called from any thread or a signal handler, and more than once."""
        self._stop.set()
        self._group.stop()

    def run(
        self,
        on_item: Callable[[int, StreamItem], None] | None = None,
        *,
        meanwhile: Callable[[], None] | None = None,
        on_failure: Callable[[int, BaseException], None] | None = None,
        on_remark: Callable[[str], None] | None = None,
    ) -> list[Summary | BaseException]:
        """Run until every source has ended.

        Args:
            on_item: gets the number of the stream, 0 first, and each item, in the stream's thread.
            meanwhile: called in this thread, again and again; it waits a little itself. A window needs it.
            on_failure: gets the number of a stream that failed, and its error, in the stream's thread.
            on_remark: gets each remark that the model makes after the session was created, such as that CUDA graphs
                stopped working, once, in this thread.

        Returns: the outcome of each stream: its summary, or the error that ended it.
        """

        def attend(number: int, item: StreamItem) -> None:
            if on_item is not None:
                on_item(number, item)
            if self._watched:
                self._hold(self._sources[number], item)

        def wait() -> None:
            self._tell_remarks(on_remark)
            if meanwhile is None:
                time.sleep(_POLL_S)
            else:
                meanwhile()

        outcomes = self._group.run(attend, wait, on_failure or (lambda number, error: None))
        self._tell_remarks(on_remark)
        return outcomes

    def _tell_remarks(self, tell: Callable[[str], None] | None) -> None:
        for remark in self._switch.model.remarks:
            if tell is not None and remark not in self._told:
                self._told.add(remark)
                tell(remark)

    def _fit(self, wanted: DisplaySettings) -> DisplaySettings:
        fitted = fit_settings(wanted, self._switch.model)
        if fitted.head is not None:
            self._switch.select(fitted.head)
        return fitted

    def _show_changes(self) -> None:
        """Classify the shown frames again for another head or refinement: a still or frozen image has no next frame."""
        for stream in self.hub.streams:
            shown = stream.newest
            if shown is None or shown.result is None:
                continue
            wanted = self._switch.model.head_name, self.settings.current.refinements
            if (shown.result.decoder.head, shown.result.refinements) == wanted:
                continue
            result = refine_frame(self._switch, shown.frame.image, wanted[1])
            item = replace(
                shown,
                result=result,
                result_index=shown.frame.index,
                classes=shown_classes(result, self.settings.current),
                value_range=None,
                tracks={},
                same_scene=True,
                stages_ms=result.stages_ms,
            )
            stream.replace(shown, item)

    def _hold(self, source: Source, item: StreamItem) -> None:
        """Wait as long as an image is to be seen, or the viewers are paused; in the stream's thread."""
        if source.live:
            return
        seconds = 0.0
        if source.fps is None:  # images: the last one stays until the session is stopped
            seconds = math.inf if item.frame.index + 1 == source.frame_count else _IMAGE_S
        until_s = time.monotonic() + seconds
        while (self.hub.paused or time.monotonic() < until_s) and not self._stop.wait(_POLL_S):
            self._show_changes()  # the item may be older than the newest settings
