"""A frame and a result in, the finished picture out."""

import time
from collections import deque
from dataclasses import replace

import numpy as np

from camrt.images import Image
from camrt.runtime.frames import Frame, Rendered
from camrt.runtime.maps.overlay import OverlayStyle, paint
from camrt.runtime.maps.result import Map, Result
from camrt.runtime.maps.row_pool import RowPool
from camrt.runtime.maps.temporal_filter import TemporalFilter
from camrt.runtime.render.display_settings import View
from camrt.runtime.render.hud import Hud

_SPEED_WINDOW = 30
_OPACITIES = 64
"""To so many steps a faded opacity is rounded: each has a table of its own."""


class Renderer:
    """Draws into a buffer of its own, which the next call overwrites."""

    def __init__(self, view: View, *, hud: bool, provider: str | None, threads: int, paints: bool = True) -> None:
        """Make the threads that draw.

        Args:
            view: what to draw; read anew for each frame.
            hud: write classes, scores and speed on the picture.
            provider: written beside the speed; None: neither is, for pictures that are kept have no speed.
            threads: how many draw.
            paints: False where nobody looks at the pictures: they are the frames as they are, at no cost.
        """
        self._view = view
        self._hud = hud
        self._provider = provider
        self._paints = paints
        self._pool = RowPool(threads)
        self._buffer: Image = np.empty((0, 0, 3), np.uint8)
        self._shown_at: deque[float] = deque(maxlen=_SPEED_WINDOW)
        self._steadier = TemporalFilter()

    def render(self, frame: Frame, result: Result, result_index: int) -> Rendered:
        """Draw the map of each chosen class over the frame, side by side, and write what there is to say.

        Args:
            frame: what is shown; never modified.
            result: whose map is drawn; it may belong to an earlier frame of the same size.
            result_index: number of the frame the result belongs to.
        """
        view = self._view
        height, width = frame.image.shape[:2]
        classes = view.explained(result)
        if not self._paints:
            return Rendered(frame, frame.image, result, result_index, classes, result.stages_ms)
        picture = self._picture(height, width * len(classes))
        hud = Hud(width, height)
        stages_ms = {**result.stages_ms, "cam": 0.0, "overlay": 0.0}
        steady = view.smooth_s > 0.0 or view.running_range
        explained = not steady or self._steadier.is_of_this_scene(frame, result_index)
        for number, class_id in enumerate(classes):
            start = time.perf_counter()
            panel = picture[:, number * width : (number + 1) * width]
            if not explained:
                panel[...] = frame.image
                continue
            cam, style = result.visible_cam(class_id), self._faded(result, class_id)
            if steady:
                cam, style = self._steadied(cam, style, class_id, result_index, frame.time_s)
            summed = time.perf_counter()
            paint(frame.image, cam, result.placement, style, out=panel, pool=self._pool)
            if view.boxes:
                hud.boxes(panel, result.boxes(class_id))
            stages_ms["cam"] += 1e3 * (summed - start)
            stages_ms["overlay"] += 1e3 * (time.perf_counter() - summed)
        self._shown_at.append(time.perf_counter())
        if self._hud:
            self._write(hud, picture, width, classes, result, stages_ms)
        return Rendered(frame, picture, result, result_index, classes, stages_ms)

    def render_lost(self, frame: Frame) -> Rendered:
        """Draw what is shown while there is no signal: the last picture, dark, and why there is no other."""
        if not self._paints:
            return Rendered(frame, frame.image, None, frame.index)
        height, width = frame.image.shape[:2]
        picture = self._picture(height, width)
        Hud(width, height).lost(picture, frame.image, frame.lost)
        return Rendered(frame, picture, None, frame.index)

    def close(self) -> None:
        """End the drawing threads."""
        self._pool.close()

    def _faded(self, result: Result, class_id: int) -> OverlayStyle:
        style = self._view.style
        if not self._view.fade:
            return style
        believed = min(1.0, max(0.0, float(np.nan_to_num(result.scores[class_id]))))
        return replace(style, alpha=round(style.alpha * believed * _OPACITIES) / _OPACITIES)

    def _steadied(
        self, cam: Map, style: OverlayStyle, class_id: int, result_index: int, time_s: float
    ) -> tuple[Map, OverlayStyle]:
        cam = self._steadier.smooth(class_id, cam, result_index, time_s, self._view.smooth_s)
        if self._view.running_range:
            value_range = self._steadier.widen(cam, result_index, time_s)
            style = replace(style, normalization="range", value_range=value_range)
        return cam, style

    def _picture(self, height: int, width: int) -> Image:
        if self._buffer.shape[:2] != (height, width):
            self._buffer = np.empty((height, width, 3), np.uint8)
        return self._buffer

    def _write(
        self,
        hud: Hud,
        picture: Image,
        width: int,
        classes: tuple[int, ...],
        result: Result,
        stages_ms: dict[str, float],
    ) -> None:
        for number, class_id in enumerate(classes):
            panel = picture[:, number * width : (number + 1) * width]
            hud.caption(panel, f"looking for: {result.label(class_id)}  {result.scores[class_id]:.2f}")
        hud.bars(picture[:, :width], result.top(5), classes[0])
        latency_ms = sum(stages_ms.values())
        if self._provider is not None:
            hud.status(picture, f"{self._speed()}{latency_ms:.1f} ms  {self._provider}")
        if self._view.help:
            hud.help(picture)

    def _speed(self) -> str:
        if len(self._shown_at) < 2:
            return ""
        seconds = self._shown_at[-1] - self._shown_at[0]
        return f"{(len(self._shown_at) - 1) / max(seconds, 1e-9):.0f} fps  "
