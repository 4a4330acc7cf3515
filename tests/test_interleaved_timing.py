"""Alternatives are timed in turn, and compared with their neighbours in time."""

import pytest

from camrt.interleaved_timing import compare, interleave, median_ratio


def test_alternatives_take_turns_in_changing_order():
    calls = []
    seconds = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=20)
    assert calls[:2] == ["a", "b"]  # this time is not measured
    turns = {tuple(calls[i : i + 2]) for i in range(2, 42, 2)}
    assert turns == {("a", "b"), ("b", "a")}
    assert {name: len(times) for name, times in seconds.items()} == {"a": 20, "b": 20}


def test_the_first_call_of_a_longer_turn_is_not_counted():
    calls = []
    seconds = interleave({"a": lambda: calls.append("a")}, rounds=5, turn=4)
    assert (len(calls), len(seconds["a"])) == (1 + 5 * 4, 5 * 3)


def test_a_ratio_compares_neighbours_so_that_a_disturbance_of_both_cancels_out():
    seconds = {"slow": [2.0, 20.0, 2.2], "fast": [1.0, 10.0, 1.1]}
    assert median_ratio(seconds["slow"], to=seconds["fast"]) == pytest.approx(2)
    assert compare(seconds, to="fast") == {
        "ms": {"slow": pytest.approx(2200), "fast": pytest.approx(1100)},
        "speedup": {"slow": pytest.approx(2)},
    }
