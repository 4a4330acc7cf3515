"""Time alternatives against each other on a machine that is never quiet."""

import time
from collections.abc import Callable, Mapping


def interleave(alternatives: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Call every alternative once a round, one after the other, so that whatever disturbs one disturbs all.

    Each is called once beforehand, unmeasured.

    Returns: the seconds of every call, by name, one a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for call in alternatives.values():
        call()
    for _ in range(rounds):
        for name, call in alternatives.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds
