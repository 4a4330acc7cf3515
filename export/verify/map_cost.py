"""Measure the time that per-cell class maps add: run the model with and without them."""

import statistics
import time
from collections.abc import Mapping

from onnx import ModelProto

from camrt.export.graph.graph import Graph
from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.synthetic_images import Images
from camrt.model_file import LOGITS, SCORES

MAX_ROUNDS = 9
MIN_ROUNDS = 3
TIME_LIMIT_S = 3.0
"""After this time no new round starts, except for the minimum."""


def measure_map_cost(model: ModelProto, images: Images) -> Mapping[str, float]:
    """Time a model file on the first image, whole and without its maps, in turns.

    Returns: medians in milliseconds, ``ms`` and ``ms_without_maps``.
    """
    without_maps = Graph(model).copy()
    without_maps.prune([output for output in model.graph.output if output.name in (SCORES, LOGITS)])
    sessions = {
        "ms": open_session(model, "the new graph"),
        "ms_without_maps": open_session(without_maps.model, "the new graph"),
    }
    times: dict[str, list[float]] = {name: [] for name in sessions}
    begin = time.perf_counter()
    for index in range(MAX_ROUNDS + 1):
        if index > MIN_ROUNDS and time.perf_counter() - begin > TIME_LIMIT_S:
            break
        for name, session in sessions.items():
            start = time.perf_counter()
            run_session(session, None, images[:1], "the new graph")
            if index:  # the first round warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}
