"""The monitor of attention: ranges are read from a report, drifts leave them and come back, odd maps do not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from camrt.errors import UsageError
from camrt.geometry import Placement
from camrt.runtime.maps.attention import STATISTICS, centre_share, entropy, map_distance
from camrt.runtime.maps.attention_drift import HALF_LIFE_S, DriftMonitor
from camrt.runtime.maps.attention_reference import AttentionReference, read_reference
from camrt.runtime.maps.decoder import MapDecoder
from camrt.runtime.maps.result import Result

LABELS = ("anchor", "boat")
SIDE = 8
MEAN_MAP = np.outer(np.hanning(SIDE), np.hanning(SIDE)).astype(np.float32)
CORNER = np.full((SIDE, SIDE), -1, np.float32)
CORNER[:2, :2] = 5


def usual(seed):
    """Return a map of the object near the centre, as in the audit."""
    noise = np.random.default_rng(seed).normal(0, 0.05, MEAN_MAP.shape)
    return (4 * MEAN_MAP + noise).astype(np.float32)


def entry(number=0, label="anchor"):
    statistics = [
        [centre_share(cam), entropy(cam), map_distance(cam, MEAN_MAP)] for cam in (usual(seed) for seed in range(60))
    ]
    levels = np.percentile(statistics, (1, 50, 99), axis=0)
    ranges = {key: dict(zip(("p1", "p50", "p99"), levels[:, at], strict=True)) for at, key in enumerate(STATISTICS)}
    return {"class_id": number, "class": label, "images": 60, "mean_map": MEAN_MAP.tolist(), **ranges}


def write(path, *entries):
    path.write_text(json.dumps({"reference": entries}))
    return path


@pytest.fixture
def reference(tmp_path):
    return read_reference(write(tmp_path / "report.json", entry()), LABELS, (SIDE, SIDE))


def result(cam, class_id=0, labels=LABELS):
    scores = np.full(len(labels), 0.1, np.float32)
    scores[class_id] = 0.9
    placement = Placement(64, 64, (0, 0, 64, 64), (0.0, 0.0, 1.0, 1.0))
    maps = np.stack([cam] * len(labels))
    decoder = MapDecoder(labels, None, np.zeros(len(labels), np.float32))
    return Result(decoder, scores=scores, logits=scores, maps=maps, placement=placement, stages_ms={})


def test_usual_maps_stay_inside_and_another_place_leaves_within_ten_seconds_and_returns(reference):
    monitor = DriftMonitor(reference)
    states = []
    for frame in range(10 * 120):
        time_s = frame / 10
        cam = CORNER if 40 <= time_s < 60 else usual(1000 + frame)
        states.append(monitor.observe(result(cam), time_s))
    outside = [one.outside for one in states]
    assert not any(outside[:400])
    assert max(one.drift for one in states[:400]) < 0.8
    assert outside.index(True) < 500
    assert all(outside[500:600])
    assert outside.index(False, 600) < 600 + 10 * 4 * HALF_LIFE_S
    assert not any(outside[-100:])
    assert [(one.class_id, one.label) for one in states[-1].classes] == [(0, "anchor")]
    assert states[550].classes[0].drift == pytest.approx(states[550].drift)


def test_a_single_odd_map_is_no_drift(reference):
    monitor = DriftMonitor(reference)
    for frame in range(400):
        cam = CORNER if frame % 20 == 7 else usual(frame)
        assert not monitor.observe(result(cam), frame / 10).outside


def test_the_speed_of_the_model_does_not_matter(reference):
    drifts = []
    for rate in (2, 25):
        monitor = DriftMonitor(reference)
        for frame in range(8 * rate + 1):
            seen = monitor.observe(result(CORNER), frame / rate)
        drifts.append(seen.drift)
    assert drifts[0] == pytest.approx(drifts[1])


def test_maps_without_evidence_other_classes_and_other_maps_do_not_count(reference):
    monitor = DriftMonitor(reference)
    small = np.ones((4, 4), np.float32)
    for frame, one in enumerate(
        [
            result(CORNER, class_id=1),  # it has no reference
            result(CORNER, labels=("other", "boat")),  # another head
            result(small),
        ]
    ):
        seen = monitor.observe(one, 2.0 * frame)
        assert (seen.drift, seen.outside, seen.classes) == (pytest.approx(0.2**0.5), False, [])


def test_maps_without_positive_evidence_count_only_by_their_place(reference):
    monitor = DriftMonitor(reference)
    for time_s in range(30):
        seen = monitor.observe(result(np.full_like(CORNER, np.nan)), time_s)
    assert seen.drift == pytest.approx(0.2**0.5)
    for time_s in range(30, 60):
        seen = monitor.observe(result(MEAN_MAP - 2), time_s)
    assert np.isfinite(seen.drift)
    assert not seen.outside


def test_a_clock_that_jumps_is_a_second_at_most(reference):
    monitor = DriftMonitor(reference)
    for time_s in (1000.0, 10.0, 10.1, 90_000.0):
        seen = monitor.observe(result(CORNER), time_s)
    assert not seen.outside


def test_refinements_and_smoothing_do_not_change_the_statistics(reference):
    cam = usual(7)
    plain, refined = result(cam), result(cam).refined(("ivr",))
    first, second = (DriftMonitor(reference) for _ in range(2))
    for time_s in (0.0, 0.5):
        values = first.observe(plain, time_s), second.observe(refined, time_s)
    assert values[0] == values[1]


def test_a_constant_statistic_has_a_range_of_some_width(reference):
    one = reference.classes[0]
    level = one.median
    narrow = AttentionReference({0: replace(one, low=level, high=level)})
    assert np.isfinite(narrow.classes[0].deviations(level + 0.01)).all()
    assert np.abs(narrow.classes[0].deviations(level + 0.01)).max() <= 0.51


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "cup"}, "of a model with other classes: 'cup' is not class 0"),
        ({"class_id": 2}, "of a model with other classes"),
        ({"class_id": -1}, "of a model with other classes"),
        ({"mean_map": [[0.5] * 7] * 7}, "maps of 7 x 7 cells, this one has 8 x 8"),
        ({"mean_map": [0.5]}, "a mean map is damaged"),
        ({"centre": {"p1": 0}}, "no report of camrt audit with a reference"),
        ({"entropy": {"p1": 0, "p50": None, "p99": 1}}, "no report of camrt audit with a reference"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(change, message, tmp_path):
    path = write(tmp_path / "report.json", entry() | change)
    with pytest.raises(UsageError, match=message):
        read_reference(path, LABELS, (SIDE, SIDE))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no report of camrt audit"),
        ("[]", "no report of camrt audit"),
        ('{"findings": []}', "no report of camrt audit"),
        ('{"reference": []}', "no class has enough right answers"),
    ],
)
def test_other_files_are_refused(text, message, tmp_path):
    (tmp_path / "report.json").write_text(text)
    for path in (tmp_path, tmp_path / "report.json"):
        with pytest.raises(UsageError, match=message):
            read_reference(path, LABELS, (SIDE, SIDE))
    with pytest.raises(UsageError, match="there is no report at"):
        read_reference(tmp_path / "missing.json", LABELS, (SIDE, SIDE))
