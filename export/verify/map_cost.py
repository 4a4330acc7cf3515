"""What the maps of a head cost that is asked about each cell: the model file with them and without, on this device."""

import statistics
import time
from collections.abc import Mapping

from onnx import ModelProto

from camrt.export.graph import session as ort
from camrt.export.graph.graph import Graph
from camrt.export.graph.synthetic_images import Pictures
from camrt.model_file import LOGITS, SCORES

ROUNDS = 9
LONGEST_S = 3.0
"""No new round after that long; three there are in any case."""


def measure_cost(model: ModelProto, pictures: Pictures) -> Mapping[str, float]:
    """Time a model file on one picture, whole and without its maps, in turns.

    Returns: medians in milliseconds, ``ms`` and ``ms_without_maps``.
    """
    without = Graph(model).copy()
    without.prune([output for output in model.graph.output if output.name in (SCORES, LOGITS)])
    sessions = {
        "ms": ort.open_session(model, "the new graph"),
        "ms_without_maps": ort.open_session(without.model, "the new graph"),
    }
    times: dict[str, list[float]] = {name: [] for name in sessions}
    begin = time.perf_counter()
    for index in range(ROUNDS + 1):
        if index > 3 and time.perf_counter() - begin > LONGEST_S:
            break
        for name, session in sessions.items():
            start = time.perf_counter()
            ort.run(session, None, pictures[:1], "the new graph")
            if index:  # the first run prepares
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}
