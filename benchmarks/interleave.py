"""Time alternatives against each other on a machine that is never quiet."""

import time
from collections.abc import Callable, Mapping


def interleave(
    alternatives: Mapping[str, Callable[[], object]], rounds: int, *, turn: int = 1
) -> dict[str, list[float]]:
    """Call every alternative a turn a round, one after the other, so that whatever disturbs one disturbs all.

    Each is called once beforehand, unmeasured. Libraries whose threads spin for a while after a call slow down
    whoever comes next: with a ``turn`` of more than one call the first call of each turn is not counted.

    Returns: the seconds of every call that counts, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for call in alternatives.values():
        call()
    for _ in range(rounds):
        for name, call in alternatives.items():
            for number in range(turn):
                start = time.perf_counter()
                call()
                if number > 0 or turn == 1:
                    seconds[name].append(time.perf_counter() - start)
    return seconds
