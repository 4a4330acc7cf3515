"""Faithfulness of maps: how the score of the predicted class changes with what a map calls important.

All metrics need forward passes only, so they measure any model file, int8 included. They change the image at the
network's size, within the part that shows the frame, and follow the predicted class: its map is what users see.
"""

import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.images import Image
from camrt.kernels.imputation import NOISE, impute
from camrt.kernels.map_metrics import pearson, rank_correlation
from camrt.kernels.perturbation import area, blurred, faded, importance_order, mean_colour, mixed
from camrt.runtime.evaluation.map_sources import MODEL, Baselines, MapSource
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.maps.result import Result

STEPS: Final = 20
"""Intervals of the curves of insertion and deletion."""
REMOVED: Final = (0.2, 0.4, 0.6, 0.8)
"""Shares of the pixels that ROAD removes."""
PERMUTATIONS: Final = 10
"""Permutations of the class weights, and other classes, over which an agreement is the mean."""
_BATCH: Final = 8
"""Images of a pass. On CPUs larger batches are not faster per image, and slower where they leave the caches."""
Rows = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """What the metrics of faithfulness took."""

    images: int
    """Number of images that were measured."""
    passes: int
    """Number of changed images that the network classified, those of baselines included."""
    seconds: float

    def as_dict(self) -> dict[str, float]:
        """Return the number of images, and passes and seconds for each."""
        return {
            "images": self.images,
            "passes_per_image": self.passes / self.images,
            "seconds_per_image": self.seconds / self.images,
        }


class _Changed:
    """The network's image of a frame, and changed copies of it."""

    def __init__(self, model: Model, result: Result, image: Image) -> None:
        self._model = model
        self._result = result
        (self._whole,) = model.fitted([image])
        height, width = self._whole.shape[:2]
        left, top, right, bottom = result.placement.map_rect(width, height)
        self._part = slice(round(top), round(bottom)), slice(round(left), round(right))
        self.content: Image = np.ascontiguousarray(self._whole[self._part])
        """uint8 (h, w, 3): the part that shows the frame, without the bars of a letterbox."""
        self.passes = 0

    def heat(self, cam: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a map over the content: float32 (h, w), from 0 to 1."""
        height, width = self._whole.shape[:2]
        enlarged = kernels.upsample(kernels.normalize(cam, "minmax"), width, height)
        return np.ascontiguousarray(enlarged[self._part])

    def run(self, contents: Iterable[Image]) -> list[Result]:
        """Classify changed contents."""
        images = []
        for content in contents:
            whole = self._whole.copy()
            whole[self._part] = content
            images.append(whole)
        results: list[Result] = []
        for begin in range(0, len(images), _BATCH):
            batch = np.stack(images[begin : begin + _BATCH])
            results += self._model.run_fitted(batch, [self._result.placement] * len(batch))
        self.passes += len(images)
        return results

    def run_one(self, content: Image) -> Result:
        """Classify a changed content."""
        return self.run([content])[0]


def confidence(model: Model, result: Result, class_id: int) -> float:
    """Return the score of a class; its softmax probability where the file's scores are logits. NaN counts as 0."""
    scores = result.scores
    if model.info.activation == "none":
        exponentials = np.exp(scores - np.nanmax(scores))
        scores = exponentials / np.nansum(exponentials)
    return float(np.nan_to_num(scores[class_id]))


def measure_faithfulness(
    model: Model, name: str, image: Image, result: Result, baselines: Baselines
) -> tuple[dict[str, Rows], int, float]:
    """Return the rows of one image by map source and metric, the number of passes and the seconds that they took.

    Args:
        model: classifies the changed images.
        name: of the image: decides about the noise.
        image: the frame.
        result: of ``model`` for ``image``. If its maps are refined, sanity is not measured: the check is of plain maps.
        baselines: map sources to measure beside the model's map.
    """
    start = time.perf_counter()
    changed = _Changed(model, result, image)
    class_id = result.class_id
    seed = zlib.crc32(PurePath(name).name.encode("utf-8", "surrogateescape"))
    noise = np.random.default_rng(seed).normal(0, NOISE, changed.content.shape)
    grey, blur = mean_colour(changed.content), blurred(changed.content)
    before = confidence(model, result, class_id)
    without, vague = (confidence(model, one, class_id) for one in changed.run([grey, blur]))
    own = MapSource(result.visible_cam(class_id), result.placement)
    rows: dict[str, Rows] = {}
    for source, one in {MODEL: own, **baselines.maps(name, result)}.items():
        if one.constant:
            # The whole image: nothing is removed, and there is no order of its pixels.
            rows[source] = _drop_rows(before, before, coherency=1.0, complexity=1.0)
        else:
            heat = changed.heat(one.cam)
            deletion, insertion = _curves(model, changed, heat, (grey, blur), class_id)
            shares = _counts(heat.size) / heat.size
            rows[source] = {
                "deletion_auc": area(np.array([before, *deletion, without]), shares),
                "insertion_auc": area(np.array([vague, *insertion, before]), shares),
                "road": _road(model, changed, heat, noise, class_id),
            }
            refinements = result.refinements if source == MODEL else ()
            masked = refine_frame(changed.run_one, faded(changed.content, heat), refinements)
            other = masked.visible_cam(class_id) if source == MODEL else baselines.maps(name, masked)[source].cam
            rows[source] |= _drop_rows(
                before,
                confidence(model, masked, class_id),
                coherency=(pearson(heat, changed.heat(other)) + 1) / 2,
                complexity=float(heat.mean(dtype=np.float64)),
            )
        if not result.refinements:
            rows[source] |= agreements(result, class_id) if source == MODEL else _UNMOVED
    return rows, changed.passes, time.perf_counter() - start


_UNMOVED: Final[Mapping[str, float]] = {"permuted_weights": 1.0, "other_class": 1.0}
"""No baseline depends on the class weights."""


def _counts(pixels: int) -> NDArray[np.int64]:
    """Return how many pixels are changed at each point of a curve, (STEPS + 1,), from none to all."""
    return np.arange(STEPS + 1) * pixels // STEPS


def _curves(
    model: Model, changed: _Changed, heat: NDArray[np.float32], fills: tuple[Image, Image], class_id: int
) -> tuple[list[float], list[float]]:
    """Return the scores between the ends of the curves of deletion and insertion."""
    order = importance_order(heat)
    grey, blur = fills
    between = _counts(heat.size)[1:-1]
    images = [mixed(changed.content, grey, order, count) for count in between]
    images += [mixed(blur, changed.content, order, count) for count in between]
    scores = [confidence(model, one, class_id) for one in changed.run(images)]
    return scores[: len(between)], scores[len(between) :]


def _road(
    model: Model, changed: _Changed, heat: NDArray[np.float32], noise: NDArray[np.float64], class_id: int
) -> float:
    """Return half of what the score falls more when the most important pixels are removed than the least important."""
    order = importance_order(heat)
    images = []
    for indices in (order, order[::-1]):
        for share in REMOVED:
            missing = np.zeros(heat.size, np.bool_)
            missing[indices[: int(share * heat.size)]] = True
            filled = impute(changed.content, missing.reshape(heat.shape), noise)
            images.append(np.rint(filled).clip(0, 255).astype(np.uint8))
    scores = [confidence(model, one, class_id) for one in changed.run(images)]
    most, least = scores[: len(REMOVED)], scores[len(REMOVED) :]
    return float(np.mean(least) - np.mean(most)) / 2


def _drop_rows(before: float, after: float, *, coherency: float, complexity: float) -> Rows:
    drop = max(0.0, before - after) / before if before > 0 else 0.0
    return {
        "average_drop": drop,
        "average_increase": float(after > before),
        "adcc": np.array([coherency, complexity, drop], np.float32),
    }


def agreements(result: Result, class_id: int) -> Rows:
    """Return how much of a map stays without the weights of its class: rank correlations, means over several maps.

    ``permuted_weights``: the class's weights in another order, for a linear head. ``other_class``: the maps of other
    classes. Source: Adebayo et al. 2018, arXiv:1810.03292, whose networks get random weights.
    """
    random = np.random.default_rng(0)  # the same permutations for all images
    cam = result.visible_cam(class_id)
    decoder = result.decoder
    rows: Rows = {}
    if decoder.cam_weights is not None:
        weights = decoder.cam_weights[class_id]
        shuffled = np.stack([random.permutation(weights) for _ in range(PERMUTATIONS)])
        maps = kernels.weighted_sum(result.maps, shuffled, scale=decoder.scale, zero_point=decoder.zero_point)
        rows["permuted_weights"] = _mean_agreement(cam, _inner(maps, decoder.margin))
    others = [number for number in random.permutation(decoder.classes).tolist() if number != class_id]
    if others:
        rows["other_class"] = _mean_agreement(cam, result.visible_cams(others[:PERMUTATIONS]))
    return rows


def _inner(maps: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    return maps[:, margin : maps.shape[1] - margin, margin : maps.shape[2] - margin]


def _mean_agreement(cam: NDArray[np.float32], others: Sequence[NDArray[np.float32]] | NDArray[np.float32]) -> float:
    return float(np.mean([rank_correlation(cam, other) for other in others]))
