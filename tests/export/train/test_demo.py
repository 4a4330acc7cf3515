"""The bundled model's training is reproducible, and the bundled model is accurate."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import camrt
from camrt.export.train.demo import FIRST_SEED, make_network, render, train
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.evaluation.evaluate import evaluate
from camrt.runtime.evaluation.scenes import labelled_scenes
from camrt.synthetic_scene import CLASSES


def weights_of(path):
    return [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]


@pytest.mark.slow
def test_seed_determines_the_weights(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        report = train(tmp_path / name, seed=seed, scenes=8, epochs=1)
        assert report.labels == CLASSES
    first, repeated, other = (weights_of(tmp_path / name) for name in "abc")
    assert all(np.array_equal(one, two) for one, two in zip(first, repeated, strict=True))
    assert not all(np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_training_frames_show_every_class_equally_often():
    images, targets = render(4)
    assert images.shape == (24, 3, 96, 128)
    assert np.array_equal(np.bincount(targets), [4] * len(CLASSES))
    assert all(not np.array_equal(one, two) for one, two in pairwise(images))


def test_bundled_model_has_the_kernels_of_the_network():
    bundled = {tuple(array.shape) for array in weights_of(DEMO_MODEL) if array.ndim == 4}
    trained = {tuple(weight.shape) for weight in make_network().state_dict().values() if weight.ndim == 4}
    assert trained <= bundled
    assert DEMO_MODEL.stat().st_size < 700_000


@pytest.mark.slow
def test_bundled_model_finds_objects_in_unseen_scenes():
    seeds = range(100, 104)
    assert max(seeds) < FIRST_SEED
    model = camrt.load(DEMO_MODEL, provider="cpu")
    found = evaluate(model, labelled_scenes(seeds, 3), metrics=("top1", "pointing_game"), baselines=())
    assert found.images == 4 * 6 * 3
    assert found.values["top1"] > 0.9
    assert found.values["pointing_game"] > 0.85
