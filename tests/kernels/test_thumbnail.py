"""The thumbnail agrees with its NumPy twin, at every size and memory layout."""

import numpy as np
import pytest

from camrt import kernels
from camrt.kernels.reference import thumbnail_reference


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (36, 64), (35, 63), (480, 640), (1080, 1920), (721, 1283)])
def test_the_thumbnail_equals_its_twin(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    small = kernels.thumbnail(image)
    assert (small.shape, small.dtype) == ((9, 16), np.float32)
    np.testing.assert_allclose(small, thumbnail_reference(image), rtol=1e-6)


def test_every_memory_layout_gives_the_same_thumbnail():
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    expected = kernels.thumbnail(image)
    frozen = image.copy()
    frozen.setflags(write=False)
    for other in (image[::-1][::-1], image[:, ::-1].copy()[:, ::-1], np.asfortranarray(image), frozen):
        np.testing.assert_array_equal(kernels.thumbnail(other), expected)
    np.testing.assert_array_equal(kernels.thumbnail(image[:, ::-1]), thumbnail_reference(image[:, ::-1]))


def test_an_even_image_has_its_grey_level_everywhere():
    image = np.broadcast_to(np.uint8([10, 20, 60]), (480, 640, 3))
    np.testing.assert_array_equal(kernels.thumbnail(image), np.full((9, 16), 30, np.float32))
