"""Contact sheets: images in rows."""

import numpy as np
import pytest

from camrt.errors import UsageError
from camrt.runtime.render.contact_sheet import contact_sheet


def test_images_fill_rows_from_the_top_left():
    images = [np.full((level, level * 4 // 3, 3), level, np.uint8) for level in (6, 21, 30)]
    sheet = contact_sheet(images, 2, (8, 6))
    assert sheet.shape == (12, 16, 3)
    assert (sheet[:6, :8] == 6).all()
    assert (sheet[:6, 8:] == 21).all()
    assert (sheet[6:, :8] == 30).all()
    assert not sheet[6:, 8:].any()


def test_an_image_of_another_shape_is_not_distorted():
    sheet = contact_sheet([np.full((20, 20, 3), 200, np.uint8)], 1, (12, 6))
    assert (sheet[:, 3:9] == 200).all()
    assert not sheet[:, :3].any()
    assert not sheet[:, 9:].any()


def test_a_sheet_without_images_raises_usage_error():
    with pytest.raises(UsageError, match="at least one"):
        contact_sheet([], 2, (8, 6))
