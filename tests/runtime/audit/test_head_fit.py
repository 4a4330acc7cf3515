"""Heads without a shortcut, on features whose structure is known."""

import numpy as np
import pytest

from camrt.runtime.audit.head_fit import PENALTIES, RANKS, Group, Head, candidates

CLASSES, CHANNELS = 3, 12


def features(classes, random, *, shortcut):
    """Channels 0 to 2 are weak evidence for their class; channel 3 is the shortcut of class 2, the others are noise."""
    values = random.normal(0, 0.3, (len(classes), CHANNELS))
    values[np.arange(len(classes)), classes] += 1.0
    values[:, 3] = np.where(shortcut, 4.0, 0.0) + random.normal(0, 0.2, len(classes))
    return values


def biased():
    weights = np.zeros((CLASSES, CHANNELS))
    weights[0, 0] = weights[1, 1] = 3.0
    weights[2, 2], weights[2, 3] = 0.3, 3.0
    return Head(weights, np.array([0.0, 0.0, -3.0]))


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    classes = np.repeat(np.arange(CLASSES), 60)
    evident, plain = (features(classes, np.random.default_rng(1), shortcut=sign) for sign in (True, False))
    usual = features(classes, random, shortcut=classes == 2)
    return classes, evident, plain, usual


def test_every_candidate_ignores_the_shortcut_and_knows_the_class(data):
    classes, evident, plain, usual = data
    head = biased()
    assert (head.answers(usual) == classes).mean() > 0.9
    own = classes == 2
    assert (head.answers(plain[own]) == 2).mean() < 0.2
    groups = [Group(some, classes) for some in (usual, evident, plain)]
    found = candidates(head, evident, plain, groups)
    assert len(found) % len(PENALTIES) == 0
    random = np.random.default_rng(5)
    fresh = {sign: features(classes, random, shortcut=sign) for sign in (True, False)}
    for one in found:
        assert (one.answers(fresh[False]) == classes).mean() > 0.85
        same = one.answers(fresh[True]) == one.answers(np.where(np.arange(CHANNELS) == 3, 0, fresh[True]))
        assert same.mean() > 0.95


def test_the_projected_directions_have_no_weight(data):
    classes, evident, plain, usual = data
    found = candidates(biased(), evident, plain, [Group(usual, classes)])
    direction = (evident - plain).mean(axis=0)
    direction /= np.linalg.norm(direction)
    for one in found:
        np.testing.assert_allclose(one.weights @ direction, 0, atol=0.02)


def test_classes_without_images_keep_their_weights(data):
    classes, evident, plain, usual = data
    kept = classes != 1
    head = biased()
    groups = [Group(some[kept], classes[kept]) for some in (usual, evident, plain)]
    for one in candidates(head, evident[kept], plain[kept], groups):
        np.testing.assert_array_equal(one.weights[1], head.weights[1])
        assert one.bias[1] == head.bias[1]
        assert (one.weights[2] != head.weights[2]).any()


def test_a_single_direction_gives_candidates_of_rank_one(data):
    classes, _, plain, usual = data
    shifted = plain.copy()
    shifted[:, 3] += 4.0
    found = candidates(biased(), shifted, plain, [Group(usual, classes)])
    assert len(found) == len(PENALTIES)
    assert RANKS[0] == 1
