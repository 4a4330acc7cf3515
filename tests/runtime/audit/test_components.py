"""Components of the class map of a linear head."""

import numpy as np
import pytest

import camrt
from camrt.runtime.audit.components import (
    component_maps,
    contributions,
    principal_components,
    suspicious_components,
)
from support.tiny_models import SIZE, write_linear


def test_component_maps_add_up_to_the_class_map_of_the_model(tmp_path):
    model = camrt.load(write_linear(tmp_path / "model.onnx"), provider="cpu")
    random = np.random.default_rng(0)
    results = model(list(random.integers(0, 256, (12, SIZE, SIZE, 3), np.uint8)))
    pooled = np.stack([result.maps.mean(axis=(1, 2)) for result in results])
    for class_id in range(model.classes):
        weights = model.decoder.cam_weights[class_id]
        components = principal_components(pooled, weights)
        assert np.allclose(components @ components.T, np.eye(len(components)), atol=1e-9)
        for result, row in zip(results, pooled, strict=True):
            maps = component_maps(result.maps, weights, components)
            assert len(maps) == len(components) + 1
            np.testing.assert_allclose(maps.sum(axis=0), result.cam(class_id), atol=1e-5)
            parts = contributions(row[np.newaxis], weights, components)[0]
            np.testing.assert_allclose(maps[:-1].mean(axis=(1, 2)), parts, atol=1e-5)
            assert maps.sum(axis=0).mean() + model.decoder.cam_bias[class_id] == pytest.approx(
                result.logits[class_id], abs=1e-4
            )


def test_a_feature_that_few_images_of_the_class_have_is_a_suspect():
    random = np.random.default_rng(0)
    own, others = random.uniform(0, 1, (60, 6)), random.uniform(0, 1, (200, 6))
    own[:12, 4] += 8
    names = [str(number) for number in range(60)]
    found = suspicious_components(own, others, np.ones(6, np.float32), names)
    assert found[0]["share"] == pytest.approx(0.2)
    assert set(found[0]["images"]) <= set(names[:12])
    assert found[0]["logits"] > 4


@pytest.mark.parametrize("images", [1, 2, 7])
def test_few_images_have_no_suspicious_components(images):
    few = np.ones((images, 3))
    assert suspicious_components(few, np.ones((20, 3)), np.ones(3, np.float32), ["a"] * images) == []
    components = principal_components(few, np.ones(3, np.float32))
    assert components.shape == (0, 3)
    maps = component_maps(np.ones((3, 2, 2), np.float32), np.ones(3, np.float32), components)
    np.testing.assert_array_equal(maps, np.full((1, 2, 2), 3.0))
