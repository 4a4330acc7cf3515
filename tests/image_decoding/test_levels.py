"""Values of more than 8 bits become bytes without a loss of their range."""

import numpy as np
import pytest

from camrt.image_decoding.levels import to_bytes


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_smallest_depth_that_holds_the_maximum_is_used(bits):
    values = np.array([0, 2 ** (bits - 1), 2**bits - 1], np.uint16)
    levels, remark = to_bytes(values)
    assert levels.tolist() == [0, 128, 255]
    assert remark == ("" if bits == 16 else f"read as {bits} bits in 16")


def test_stated_bits_win():
    levels, remark = to_bytes(np.array([0, 256, 4095], np.uint16), 12)
    assert (levels.tolist(), remark) == ([0, 16, 255], "")


def test_values_above_the_stated_bits_are_white():
    assert to_bytes(np.array([4095, 5000], np.uint16), 12)[0].tolist() == [255, 255]


@pytest.mark.parametrize(
    ("values", "levels", "remark"),
    [
        (np.array([0.0, 0.5, 1.0]), [0, 128, 255], "its values were read as 0 to 1"),
        (np.array([0.0, 128.0, 255.0]), [0, 128, 255], "its values were read as 0 to 255"),
        (np.array([20.0, 30.0, 40.0]), [0, 128, 255], "its values, 20 to 40, were stretched to 0 to 255"),
        (np.array([-1.0, 0.0, 1.0]), [0, 128, 255], "its values, -1 to 1, were stretched to 0 to 255"),
        (np.array([-1024, 0, 1024]), [0, 128, 255], "its values, -1024 to 1024, were stretched to 0 to 255"),
        (np.array([0, 2**31], np.uint32), [0, 255], "its values, 0 to 2147483648, were stretched to 0 to 255"),
        (
            np.array([np.nan, 0.0, 1.0]),
            [0, 0, 255],
            "its values were read as 0 to 1; NaN and infinite values are black",
        ),
        (np.array([np.nan, np.inf]), [0, 0], "it has no finite value and is black"),
        (np.array([-7, -7]), [0, 0], "its values, -7 to -7, were stretched to 0 to 255"),
        (np.array([False, True]), [0, 255], ""),
        (np.array([3, 9], np.uint8), [3, 9], ""),
    ],
)
def test_other_values_are_stretched_and_that_is_said(values, levels, remark):
    made, said = to_bytes(values)
    assert (made.dtype, made.tolist(), said) == (np.uint8, levels, remark)
