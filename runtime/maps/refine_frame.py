"""Classify a frame with the refinements of its maps, with the second pass that ``flip`` needs."""

from collections.abc import Callable

import cv2
import numpy as np

from camrt.images import Image
from camrt.runtime.maps.result import Result


def refine_frame(classify: Callable[[Image], Result], frame: Image, names: tuple[str, ...]) -> Result:
    """Classify a frame; its visible maps, heatmaps and boxes are refined.

    ``flip`` classifies the mirrored frame too, and averages both map outputs. Scores and logits stay those of the frame
    itself.

    Args:
        classify: a model.
        frame: uint8 (H, W, 3) BGR, not modified.
        names: as `camrt.runtime.maps.refinement.parse_refinements` returns them; empty: the plain map.

    Raises:
        UsageError: the head has no weights, and a refinement needs them.
    """
    result = classify(frame)
    if "flip" in names:
        mirrored = classify(np.asarray(cv2.flip(frame, 1), np.uint8))
        both = [one.decoder.decoded(one.maps) for one in (result, mirrored)]
        stages_ms = {name: result.stages_ms[name] + mirrored.stages_ms[name] for name in result.stages_ms}
        mean = (both[0] + both[1][:, :, ::-1]) * np.float32(0.5)
        result = result.with_maps(mean, stages_ms)
    return result.refined(names) if names else result
