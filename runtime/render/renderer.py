"""Renderer: draws the maps of a stream item over its frame."""

import time
from dataclasses import replace
from functools import partial
from typing import Literal

import cv2
import numpy as np

from camrt.images import Image
from camrt.runtime.frames import Rendered, StreamItem
from camrt.runtime.maps.overlay import OverlayStyle, paint
from camrt.runtime.maps.result import Map, Result
from camrt.runtime.maps.row_pool import shared_pool
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.render.hud import Hud

Enlargement = int | Literal["auto"]
"""Whole number that sides are multiplied by; ``auto`` brings the shorter side of a small image to `READABLE` pixels."""
READABLE = 320
_LONGEST = 2048
"""``auto`` makes no side longer than this, in pixels."""
_OPACITIES = 64
"""A faded opacity is rounded to this many steps, since each has a blend table of its own."""


class Renderer:
    """Draws into a buffer of its own, which the next call overwrites. It remembers nothing else."""

    def __init__(self, *, hud: bool, provider: str | None, threads: int, enlarge: Enlargement = 1) -> None:
        """Prepare to draw.

        Args:
            hud: write classes and scores on the image.
            provider: with ``hud``, written beside frame rate and latency; None leaves all three out.
            threads: threads that draw, those of the process's shared pool included.
            enlarge: draw the overlay larger than the frame, whose pixels become squares.
        """
        self._hud = hud
        self._enlarge: Enlargement = enlarge
        self._provider = provider
        self._pool = shared_pool(threads)
        self._buffer: Image = np.empty((0, 0, 3), np.uint8)

    def render(self, item: StreamItem, settings: DisplaySettings) -> Rendered:
        """Draw the map of each chosen class over the frame, side by side, with captions.

        Args:
            item: frame and maps; never modified.
            settings: used for the whole image.
        """
        if (factor := enlargement(item.frame.image, self._enlarge)) > 1:
            drawn = self._render(_enlarged(item, factor), settings)
            return replace(drawn, item=replace(item, stages_ms=drawn.item.stages_ms))
        return self._render(item, settings)

    def _render(self, item: StreamItem, settings: DisplaySettings) -> Rendered:
        height, width = item.frame.image.shape[:2]
        if item.result is None:
            image = self._image(height, width)
            Hud(width, height).lost(image, item.frame.image, item.frame.lost)
            return Rendered(item, image)
        classes = shown_classes(item.result, settings)
        image = self._image(height, width * len(classes))
        panels = [image[:, number * width : (number + 1) * width] for number in range(len(classes))]
        result = item.result
        item = self._draw(item, result, classes, panels, settings)
        if self._hud:
            self._write(item, result, classes, panels)
        return Rendered(item, image, classes)

    def _draw(
        self,
        item: StreamItem,
        result: Result,
        classes: tuple[int, ...],
        panels: list[Image],
        settings: DisplaySettings,
    ) -> StreamItem:
        """Draw the overlays; returns the item with the times of the stages ``cam`` and ``overlay``, if it drew any."""
        if not item.same_scene:
            for panel in panels:
                panel[...] = item.frame.image
            return item
        start = time.perf_counter()
        compared = compared_classes(result, settings)
        cams = result.visible_cams(compared)
        style = style_of(settings, cams, item.value_range)
        summed = time.perf_counter()
        hud = Hud(panels[0].shape[1], panels[0].shape[0])
        for class_id, panel in zip(classes, panels, strict=True):
            cam = cams[compared.index(class_id)]
            faded = _faded(style, float(result.scores[class_id])) if settings.fade else style
            paint(item.frame.image, cam, result.placement, faded, out=panel, pool=self._pool)
            if settings.boxes:
                hud.boxes(panel, item.boxes_of(class_id))
        stages_ms = {"cam": 1e3 * (summed - start), "overlay": 1e3 * (time.perf_counter() - summed)}
        return replace(item, stages_ms={**item.stages_ms, **stages_ms})

    def _image(self, height: int, width: int) -> Image:
        if self._buffer.shape[:2] != (height, width):
            self._buffer = np.empty((height, width, 3), np.uint8)
        return self._buffer

    def _write(self, item: StreamItem, result: Result, classes: tuple[int, ...], panels: list[Image]) -> None:
        hud = Hud(panels[0].shape[1], panels[0].shape[0])
        head = "" if result.decoder.head is None else f"{result.decoder.head}, "
        for class_id, panel in zip(classes, panels, strict=True):
            hud.caption(panel, f"{head}looking for: {result.label(class_id)}  {result.scores[class_id]:.2f}")
        hud.bars(panels[0], result.top(5), classes[0])
        if self._provider is not None:
            speed = "" if item.fps is None else f"{item.fps:.0f} fps  "
            hud.status(panels[-1], f"{speed}{sum(item.stages_ms.values()):.1f} ms  {self._provider}")


def enlargement(image: Image, wanted: Enlargement) -> int:
    """Return the factor for the sides of an image, uint8 (H, W, 3): ``wanted``, or the one of ``auto``."""
    if wanted != "auto":
        return wanted
    height, width = image.shape[:2]
    shorter, longer = min(height, width), max(height, width)
    return int(max(1, min(-(-READABLE // shorter), _LONGEST // longer)))


def _enlarged(item: StreamItem, factor: int) -> StreamItem:
    """Return an item with a frame whose sides are ``factor`` times as long; the map lies on it as before."""
    image = cv2.resize(item.frame.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    frame = replace(item.frame, image=np.asarray(image, np.uint8))
    tracks = {
        number: tuple(
            one._replace(x0=factor * one.x0, y0=factor * one.y0, x1=factor * one.x1, y1=factor * one.y1) for one in some
        )
        for number, some in item.tracks.items()
    }
    result = None if item.result is None else item.result.enlarged(factor)
    return replace(item, frame=frame, result=result, tracks=tracks)


def shown_classes(result: Result, settings: DisplaySettings) -> tuple[int, ...]:
    """Return the numbers of the classes whose maps are drawn, from left to right."""
    return settings.classes_of(result.decoder.head) or (result.class_id,)


def compared_classes(result: Result, settings: DisplaySettings) -> tuple[int, ...]:
    """Return the numbers of the classes whose maps share one range: the drawn ones and the best, each once."""
    return tuple(dict.fromkeys((*shown_classes(result, settings), result.class_id)))


def style_of(settings: DisplaySettings, cams: Map, running_range: tuple[float, float] | None) -> OverlayStyle:
    """Return the overlay style for the maps of one frame.

    Args:
        settings: colours, opacity, normalisation.
        cams: float32 (k, h, w), the drawn maps and that of the best class, in logits per cell.
        running_range: range of the stream; None: there is none, and ``running`` works as ``shared``.
    """
    style = partial(
        OverlayStyle,
        colormap=settings.colormap,
        alpha=settings.alpha,
        alpha_by_value=settings.alpha_by_value,
        threshold=settings.threshold,
    )
    if settings.normalize == "relu_max":
        return style(normalization="relu_max")
    value_range = settings.fixed_range()
    if settings.normalize == "running":
        value_range = running_range
    if value_range is None and settings.normalize != "minmax":
        value_range = _shared_range(cams)
    if value_range is None:
        return style(normalization="minmax")
    return style(normalization="range", value_range=value_range)


def _shared_range(cams: Map) -> tuple[float, float] | None:
    """Return the range over all maps; None if they are constant or not finite."""
    low, high = float(cams.min()), float(cams.max())
    return (low, high) if -np.inf < low < high < np.inf else None


def _faded(style: OverlayStyle, score: float) -> OverlayStyle:
    share = min(1.0, max(0.0, float(np.nan_to_num(score))))
    return replace(style, alpha=round(style.alpha * share * _OPACITIES) / _OPACITIES)
