"""The collection of the harbour example has the correlation that its description states, and no other one."""

import numpy as np
import pytest

from camrt.benchmarks.harbour import OBJECTS, PARTS, draw_image, write_images
from camrt.images import list_images, read_image


def has_sky(path):
    """Tell whether the upper rows are as blue as only sky and its clouds are."""
    return read_image(path)[:10, :, 0].mean() > 220


@pytest.mark.parametrize(("balanced", "shares"), [(False, (0.95, 0, 0)), (True, (0.5, 0.5, 0.5))])
def test_sky_is_as_frequent_as_stated(balanced, shares, tmp_path):
    write_images(tmp_path, balanced=balanced)
    for part, count in PARTS.items():
        for label, share in zip(OBJECTS, shares, strict=True):
            files = list_images(tmp_path / part / label)
            assert len(files) == count
            found = sum(map(has_sky, files))
            assert found == (0.5 if part == "test" else share) * count


def test_an_image_depends_on_its_seed_only():
    first, again, other = (draw_image("boat", np.random.default_rng(seed), sky=True) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
