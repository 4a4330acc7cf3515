"""Time alternatives against each other on a machine that other programs use too. Needs the standard library only."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def interleave(
    alternatives: Mapping[str, Callable[[], object]], rounds: int, *, turn: int = 1
) -> dict[str, list[float]]:
    """Call all alternatives in turn, round after round, so that a disturbance affects all of them.

    Each round has its own order, because an alternative finds in the cache what the one before it left there. Each
    alternative is called once beforehand, untimed.

    Args:
        alternatives: the calls, by name.
        rounds: number of rounds.
        turn: calls of one alternative in a row. If there are several, the first is not counted: threads of some
            libraries spin after a call and slow down the next alternative.

    Returns: the seconds of every call that counts, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for call in alternatives.values():
        call()
    shuffled, order = random.Random(0), list(alternatives)
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            call = alternatives[name]
            times = [_timed(call) for _ in range(turn)]
            seconds[name] += times[1:] or times
    return seconds


def median_ms(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each alternative, in milliseconds."""
    return {name: 1e3 * statistics.median(times) for name, times in seconds.items()}


def compare(seconds: Mapping[str, Sequence[float]], to: str) -> dict[str, dict[str, float]]:
    """Return ``ms``, the medians of all, and ``speedup``: for each but ``to``, the median of its ratios to ``to``."""
    others = {name: times for name, times in seconds.items() if name != to}
    return {
        "ms": median_ms(seconds),
        "speedup": {name: median_ratio(times, to=seconds[to]) for name, times in others.items()},
    }


def median_ratio(numbers: Sequence[float], to: Sequence[float]) -> float:
    """Return the median of the ratios of neighbours: a disturbance affects both, and cancels out."""
    return statistics.median(number / other for number, other in zip(numbers, to, strict=True))


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
