"""Boxes keep their identity over time by overlap; scenes, heads and classes do not share identities."""

import pytest

from camrt.kernels import Box
from camrt.runtime.maps.box_tracks import KEPT_S, BoxTracker

SCENE = (0, None)


def box(x, y, side=20, score=1.0):
    return Box(x, y, x + side, y + side, score)


def follow(tracker, boxes, time_s, *, class_id=0, scene=SCENE, half_life_s=0.0):
    return tracker.follow(class_id, boxes, scene, time_s, half_life_s)


def numbers(tracked):
    return [one.number for one in tracked]


def test_moving_boxes_keep_their_identities_in_any_order():
    tracker = BoxTracker()
    assert numbers(follow(tracker, [box(0, 0), box(100, 100)], 0.0)) == [1, 2]
    for step in range(1, 30):
        boxes = [box(100 - 3 * step, 100), box(3 * step, 0)]
        assert numbers(follow(tracker, boxes, 0.1 * step)) == [2, 1]
    assert tracker.objects == 2


def test_the_greatest_overlap_takes_the_identity():
    tracker = BoxTracker()
    follow(tracker, [box(0, 0)], 0.0)
    assert numbers(follow(tracker, [box(8, 0), box(1, 0)], 0.1)) == [2, 1]


def test_a_box_that_jumps_is_another_object():
    tracker = BoxTracker()
    follow(tracker, [box(0, 0)], 0.0)
    assert numbers(follow(tracker, [box(15, 15)], 0.1)) == [2]


def test_a_short_gap_keeps_the_identity_and_a_long_one_does_not():
    tracker = BoxTracker()
    follow(tracker, [box(0, 0)], 0.0)
    assert follow(tracker, [], 0.3) == ()
    assert numbers(follow(tracker, [box(2, 0)], KEPT_S)) == [1]
    assert numbers(follow(tracker, [box(2, 0)], 2.1 * KEPT_S)) == [2]


def test_a_new_scene_another_head_and_another_class_are_other_objects():
    tracker = BoxTracker()
    assert numbers(follow(tracker, [box(0, 0)], 0.0)) == [1]
    assert numbers(follow(tracker, [box(0, 0)], 0.1, class_id=3)) == [2]
    assert numbers(follow(tracker, [box(0, 0)], 0.2)) == [1]
    assert numbers(follow(tracker, [box(0, 0)], 0.3, scene=(1, None))) == [3]
    assert numbers(follow(tracker, [box(0, 0)], 0.4, scene=(1, "other"))) == [4]


def test_trackers_of_two_cameras_do_not_share_identities():
    first, second = BoxTracker(), BoxTracker()
    follow(first, [box(0, 0), box(50, 50)], 0.0)
    assert numbers(follow(second, [box(50, 50)], 0.0)) == [1]


def test_after_a_half_life_the_old_edges_weigh_half():
    tracker = BoxTracker()
    follow(tracker, [box(0, 0)], 10.0, half_life_s=0.5)
    (smoothed,) = follow(tracker, [Box(8, 0, 28, 20, 0.5)], 10.5, half_life_s=0.5)
    assert smoothed == (4, 0, 24, 20, 0.5, 1)
    (later,) = follow(tracker, [Box(8, 0, 28, 20, 0.5)], 10.4, half_life_s=0.5)  # the clock jumped back
    assert later[:4] == (4, 0, 24, 20)


@pytest.mark.parametrize("x", [1, 3, 5])
def test_a_smoothed_box_has_pixels(x):
    tracker = BoxTracker()
    follow(tracker, [Box(0, 0, 2, 2, 1.0)], 0.0, half_life_s=1.0)
    (one,) = follow(tracker, [Box(x, 0, x + 1, 1, 1.0)], 1.0, half_life_s=1.0)
    assert one.x0 < one.x1
    assert one.y0 < one.y1
