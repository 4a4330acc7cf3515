"""The mosaic shows every camera in its place, under its name."""

import numpy as np
import pytest

from camrt.runtime.render.mosaic import Mosaic


@pytest.mark.parametrize(
    ("count", "columns", "shape"), [(1, 1, (720, 1280)), (2, 2, (720, 1280)), (3, 2, (720, 1280)), (5, 3, (720, 1278))]
)
def test_the_mosaic_shows_every_camera_in_its_place(count, columns, shape):
    mosaic = Mosaic([f"camera {number}" for number in range(count)])
    for number in range(count):
        mosaic.put(number, np.full((90, 160, 3), 40 + number, np.uint8))
    image = mosaic.image
    assert image.shape == (*shape, 3)
    for number in range(count):
        row, column = divmod(number, columns)
        middle = (2 * row + 1) * shape[0] // (2 * -(-count // columns)), (2 * column + 1) * shape[1] // (2 * columns)
        assert image[middle][0] == 40 + number
        title = image[row * shape[0] // -(-count // columns) + 2 :, middle[1] - 60 : middle[1] + 60][:30]
        assert title.max() > 200  # the name of the camera, in white
