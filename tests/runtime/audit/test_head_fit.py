"""Heads without a shortcut, on features whose structure is known."""

import numpy as np
import pytest

from camrt.runtime.audit.head_fit import Group, Head, without_evidence

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


def test_the_new_head_ignores_the_shortcut_and_knows_the_class(data):
    classes, evident, plain, usual = data
    head = biased()
    assert (head.answers(usual) == classes).mean() > 0.9
    own = classes == 2
    assert (head.answers(plain[own]) == 2).mean() < 0.2
    new = without_evidence(head, evident, plain, [Group(some, classes) for some in (usual, evident, plain)], 0.1)
    random = np.random.default_rng(5)
    fresh = {sign: features(classes, random, shortcut=sign) for sign in (True, False)}
    assert (new.answers(fresh[False]) == classes).mean() > 0.85
    same = new.answers(fresh[True]) == new.answers(np.where(np.arange(CHANNELS) == 3, 0, fresh[True]))
    assert same.mean() > 0.98


def test_the_removed_directions_have_no_weight(data):
    classes, evident, plain, usual = data
    new = without_evidence(biased(), evident, plain, [Group(usual, classes)], 0.1)
    direction = (evident - plain).mean(axis=0)
    np.testing.assert_allclose(new.weights @ direction / np.linalg.norm(direction), 0, atol=0.02)


def test_equal_images_change_no_direction(data):
    classes, _, plain, usual = data
    new = without_evidence(biased(), plain, plain, [Group(usual, classes)], 0.1)
    assert np.isfinite(new.weights).all()
    assert (new.answers(usual) == classes).mean() > 0.9


def test_classes_without_images_keep_their_weights(data):
    classes, evident, plain, usual = data
    kept = classes != 1
    head = biased()
    groups = [Group(some[kept], classes[kept]) for some in (usual, evident, plain)]
    new = without_evidence(head, evident[kept], plain[kept], groups, 0.1)
    np.testing.assert_array_equal(new.weights[1], head.weights[1])
    assert new.bias[1] == head.bias[1]
    assert (new.weights[2] != head.weights[2]).any()
