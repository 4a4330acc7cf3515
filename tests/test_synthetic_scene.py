"""Synthetic scenes: the seed determines every frame, and the ground truth matches the image."""

import numpy as np
import pytest

from camrt.synthetic_scene import CLASSES, FRAMES_PER_ACT, Scene, views_of

SIZE = (160, 120)


@pytest.fixture
def scene():
    return Scene(7, *SIZE)


def test_a_view_has_an_image_a_class_and_a_mask(scene):
    view = scene.view(0)
    assert view.image.shape == (120, 160, 3)
    assert view.image.dtype == np.uint8
    assert view.mask.shape == (120, 160)
    assert view.mask.dtype == bool
    assert 0 <= view.class_id < len(CLASSES)


def test_the_same_seed_gives_the_same_frames_in_any_order(scene):
    numbers = (0, 100, 5, 300, 100)
    again = Scene(7, *SIZE)
    for number in numbers:
        first, second = scene.view(number), again.view(number)
        assert np.array_equal(first.image, second.image)
        assert np.array_equal(first.mask, second.mask)
        assert first.class_id == second.class_id
    assert not np.array_equal(scene.view(0).image, Scene(8, *SIZE).view(0).image)


def test_every_class_comes_once_per_round():
    for seed in range(3):
        scene = Scene(seed, *SIZE)
        for round_number in range(2):
            acts = [round_number * len(CLASSES) + act for act in range(len(CLASSES))]
            class_ids = [scene.view(act * FRAMES_PER_ACT).class_id for act in acts]
            assert sorted(class_ids) == list(range(len(CLASSES)))
            for act, class_id in zip(acts, class_ids, strict=True):
                assert scene.view((act + 1) * FRAMES_PER_ACT - 1).class_id == class_id


def test_the_object_covers_between_half_a_percent_and_a_third():
    areas = [view.mask.mean() for view in views_of(range(4), 4)]
    assert min(areas) > 0.005
    assert max(areas) < 0.3


def test_object_and_background_move_smoothly(scene):
    views = [scene.view(number) for number in range(FRAMES_PER_ACT)]
    centers = np.array([np.argwhere(view.mask).mean(axis=0) for view in views])
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    assert steps.max() < 0.05 * SIZE[1]
    assert steps.sum() > 0.1 * SIZE[1]
    behind = [view.image[~(view.mask | views[0].mask)].mean(axis=0) for view in views]
    assert np.abs(np.diff(behind, axis=0)).max() < 10
    first, last = views[0], views[-1]
    outside = ~(first.mask | last.mask)
    assert np.abs(first.image[outside].astype(int) - last.image[outside]).mean() > 5


def test_the_mask_covers_the_object(scene):
    # The mean colour just inside the outline differs from the mean colour just outside.
    for act in range(len(CLASSES)):
        view = scene.view(act * FRAMES_PER_ACT)
        inside = np.pad(view.mask, 2)
        shrunk, grown = inside.copy(), inside.copy()
        for axis in (0, 1):
            for shift in (-2, 2):
                shrunk &= np.roll(inside, shift, axis)
                grown |= np.roll(inside, shift, axis)
        rim = (grown & ~inside)[2:-2, 2:-2]
        core = shrunk[2:-2, 2:-2]
        assert np.abs(view.image[core].mean(axis=0) - view.image[rim].mean(axis=0)).max() > 15


def test_views_of_gives_every_class_of_every_scene_equally_often():
    views = list(views_of(range(2), 3))
    assert len(views) == 2 * len(CLASSES) * 3
    assert np.array_equal(np.bincount([view.class_id for view in views]), [6] * len(CLASSES))
