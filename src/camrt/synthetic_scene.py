"""Synthetic scenes with known answers: one object of a known class moves over a cluttered, changing background.

The seed and the frame number determine every pixel. So a scene can be repeated, and a model can be evaluated on scenes
that it was not trained on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.images import Image

CLASSES: Final = ("circle", "triangle", "square", "star", "cross", "heart")
FPS: Final = 30.0
FRAMES_PER_ACT: Final = 75
"""Frames of one act: one object in front of one background. The next act has another object and background."""

_DISTRACTORS: Final = 10
_LETTERS: Final = "ACEFGHJKLMNPRSTUVWYZ23457"


@dataclass(frozen=True, slots=True)
class SyntheticFrame:
    """One frame of a scene with its ground truth."""

    image: Image
    """uint8 (H, W, 3) BGR."""
    class_id: int
    """Index into `CLASSES`."""
    mask: NDArray[np.bool_]
    """(H, W), True on the pixels of the object."""


class Scene:
    """The scene in front of the synthetic camera.

    Args:
        seed: determines everything in the scene.
        width: width of the frames, in pixels.
        height: height of the frames, in pixels.
    """

    def __init__(self, seed: int, width: int = 640, height: int = 480) -> None:
        self._seed = seed
        self._width = width
        self._height = height
        self._act = lru_cache(maxsize=2)(self._make_act)

    def view(self, index: int) -> SyntheticFrame:
        """Render frame ``index``, 0 or greater; any order is possible."""
        number, moment = divmod(index, FRAMES_PER_ACT)
        return self._act(number).view(moment / FPS)

    def _make_act(self, number: int) -> "_Act":
        # Each round shows every class once, in random order.
        round_number, place = divmod(number, len(CLASSES))
        order = np.random.default_rng((self._seed, 0, round_number)).permutation(len(CLASSES))
        random = np.random.default_rng((self._seed, 1, number))
        return _Act(random, int(order[place]), self._width, self._height)


class _Act:
    """One object in front of one background; times are seconds since its start, lengths fractions of the height."""

    def __init__(self, random: np.random.Generator, class_id: int, width: int, height: int) -> None:
        self._class_id = class_id
        self._width, self._height = width, height
        self._textures = [_texture(random, width, height) for _ in range(2)]
        self._texture_orbits = [_Orbit(random, 0.5, 0.5, 0.2) for _ in self._textures]
        self._mix = random.uniform(0.3, 0.7), random.uniform(0.2, 0.5), random.uniform(0, 2 * np.pi)
        self._distractors = [_Distractor(random, width / height) for _ in range(_DISTRACTORS)]
        self._outline = _outline(CLASSES[class_id])
        self._radius, self._pulse = random.uniform(0.13, 0.24), random.uniform(0.0, 0.2)
        self._angle, self._spin = random.uniform(0, 2 * np.pi), random.uniform(-1.2, 1.2)
        aspect = width / height
        self._orbit = _Orbit(random, aspect / 2, 0.5, 0.3, aspect)
        self._color = random.integers(0, 256, 3).astype(float)
        self._edge = random.integers(0, 256, 3).tolist() if random.random() < 0.5 else None
        self._stripes = random.uniform(0.0, 0.5), random.uniform(0.02, 0.08), random.uniform(0, np.pi)
        self._noise = _noise(random, width, height)
        # An object whose colour is close to the background would be invisible.
        behind = self._background(0.0).reshape(-1, 3).mean(axis=0)
        if np.abs(self._color - behind).max() < 90:
            self._color = np.where(behind > 127, self._color * 0.25, 255 - (255 - self._color) * 0.25)

    def view(self, time_s: float) -> SyntheticFrame:
        image = self._background(time_s)
        for distractor in self._distractors:
            distractor.draw(image, time_s, self._height)
        x, y = self._orbit.at(time_s)
        radius = self._radius * (1 + self._pulse * np.sin(2 * time_s)) * self._height
        angle = self._angle + self._spin * time_s
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        outline = self._outline @ turn.T * radius + np.array([x, y]) * self._height
        points = np.rint(outline * 16).astype(np.int32)  # in sixteenths of a pixel, for smooth motion
        cover = np.zeros((self._height, self._width), np.uint8)
        cv2.fillPoly(cover, [points], 255, cv2.LINE_AA, 4)
        opacity = cover[..., np.newaxis] * np.float32(1 / 255)
        image = np.rint(image + opacity * (self._surface(angle) - image)).astype(np.uint8)
        if self._edge is not None:
            cv2.polylines(image, [points], True, self._edge, max(1, self._height // 160), cv2.LINE_AA, 4)
        return SyntheticFrame(np.asarray(cv2.add(image, self._noise), np.uint8), self._class_id, cover > 127)

    def _background(self, time_s: float) -> Image:
        parts = []
        for texture, orbit in zip(self._textures, self._texture_orbits, strict=True):
            spare_x, spare_y = texture.shape[1] - self._width, texture.shape[0] - self._height
            x, y = np.clip(orbit.at(time_s), 0, 1) * (spare_x, spare_y)
            parts.append(texture[int(y) : int(y) + self._height, int(x) : int(x) + self._width])
        level, swing, phase = self._mix
        share = float(np.clip(level + swing * np.sin(1.5 * time_s + phase), 0, 1))
        return np.asarray(cv2.addWeighted(parts[0], share, parts[1], 1 - share, 0.0), np.uint8)

    def _surface(self, angle: float) -> NDArray[np.float32]:
        """Return the object's colour with stripes that turn with it: float32 (H, W, 3)."""
        depth, period, tilt = self._stripes
        across = np.arange(self._width, dtype=np.float32) * np.float32(np.cos(angle + tilt))
        down = np.arange(self._height, dtype=np.float32) * np.float32(np.sin(angle + tilt))
        wave = np.sin((across + down[:, np.newaxis]) * np.float32(2 * np.pi / (period * self._height)))
        light = 1 - np.float32(depth) * (wave > 0)
        return light[..., np.newaxis] * self._color.astype(np.float32)


class _Orbit:
    """A smooth path around a centre."""

    def __init__(self, random: np.random.Generator, x: float, y: float, reach: float, stretch: float = 1.0) -> None:
        self._center = np.array([x, y])
        self._reach = random.uniform(0.3, 1.0, 2) * reach * (stretch, 1.0)
        self._speed = random.uniform(0.5, 1.4, 2)
        self._phase = random.uniform(0, 2 * np.pi, 2)

    def at(self, time_s: float) -> NDArray[np.float64]:
        position: NDArray[np.float64] = self._center + self._reach * np.sin(self._speed * time_s + self._phase)
        return position


class _Distractor:
    """A shape that belongs to no class: a line, an arc, an angle or a letter."""

    def __init__(self, random: np.random.Generator, aspect: float) -> None:
        self._kind = int(random.integers(4))
        self._start = random.uniform(0, 1, 2) * (aspect, 1.0)
        self._velocity = random.uniform(-0.15, 0.15, 2)
        self._size = random.uniform(0.04, 0.15)
        self._angle, self._spin = random.uniform(0, 360), random.uniform(-60, 60)
        self._opening = random.uniform(40, 150)
        self._color = random.integers(0, 256, 3).tolist()
        self._thickness = random.uniform(0.005, 0.02)
        self._letter = random.choice(list(_LETTERS))

    def draw(self, image: Image, time_s: float, height: int) -> None:
        x, y = (self._start + self._velocity * time_s) * height
        size = self._size * height
        thickness = max(1, round(self._thickness * height))
        angle = self._angle + self._spin * time_s
        center = (int(x), int(y))
        if self._kind == 0:
            cv2.line(image, center, _away(x, y, size * 2, angle), self._color, thickness, cv2.LINE_AA)
        elif self._kind == 1:
            axes = (int(size), int(size))
            cv2.ellipse(image, center, axes, angle, 0, self._opening, self._color, thickness, cv2.LINE_AA)
        elif self._kind == 2:
            for direction in (angle, angle + self._opening):
                cv2.line(image, center, _away(x, y, size, direction), self._color, thickness, cv2.LINE_AA)
        else:
            scale = size / 22  # the font's capitals are 22 pixels high
            cv2.putText(
                image, self._letter, center, cv2.FONT_HERSHEY_SIMPLEX, scale, self._color, thickness, cv2.LINE_AA
            )


def _away(x: float, y: float, length: float, degrees: float) -> tuple[int, int]:
    return int(x + length * np.cos(np.radians(degrees))), int(y + length * np.sin(np.radians(degrees)))


def _texture(random: np.random.Generator, width: int, height: int) -> Image:
    """Return coloured noise of several grain sizes, a third larger than the frame: a window drifts over it."""
    size = (width * 4 // 3, height * 4 // 3)
    total = np.zeros((size[1], size[0], 3), np.float32)
    for cells, weight in ((3, 1.0), (9, random.uniform(0.2, 0.8)), (40, random.uniform(0.0, 0.5))):
        size_in_cells = (cells, cells * 4 // 3)
        # More contrast in brightness than in colour, as in real scenes; an overlay's colour map needs it, too.
        grain = random.uniform(-1, 1, (*size_in_cells, 1)) + 0.5 * random.uniform(-1, 1, (*size_in_cells, 3))
        total += weight * cv2.resize(grain.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    low, high = total.min(), total.max()
    return np.asarray((total - low) * (255 / (high - low)), np.uint8)


def _noise(random: np.random.Generator, width: int, height: int) -> Image:
    """Return the noise of a small sensor: up to 20 grey levels, the same in each frame of an act; uint8 (H, W, 3)."""
    grain = random.exponential(random.uniform(1, 5), (height, width, 1)).clip(0, 20)
    return np.repeat(grain, 3, axis=2).astype(np.uint8)


def _outline(name: str) -> NDArray[np.float64]:
    """Return the corners of a shape around the origin, within a circle of radius 1: float64 (n, 2)."""
    if name == "cross":
        arm = 0.32
        corner = np.array([[arm, arm], [1.0, arm], [1.0, -arm], [arm, -arm]])
        turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        return np.concatenate([corner @ np.linalg.matrix_power(turn, quarter) for quarter in range(4)]) * 0.95
    if name == "heart":
        t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x, -y - 2.5], axis=1) / 17
    corners = {"circle": 64, "triangle": 3, "square": 4, "star": 10}[name]
    angles = np.arange(corners) * 2 * np.pi / corners
    radius = np.where(np.arange(corners) % 2 == 0, 1.0, 0.42) if name == "star" else np.full(corners, 1.0)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, np.newaxis]


def views_of(seeds: Iterable[int], views_per_act: int) -> Iterator[SyntheticFrame]:
    """Render ``views_per_act`` frames of each class for each seed, evenly spread over each act."""
    for seed in seeds:
        scene = Scene(seed)
        for act in range(len(CLASSES)):
            for number in range(views_per_act):
                yield scene.view(act * FRAMES_PER_ACT + (2 * number + 1) * FRAMES_PER_ACT // (2 * views_per_act))
