"""Names of the colour maps."""

from typing import Final

COLORMAPS: Final = ("turbo", "jet", "inferno", "magma", "viridis", "plasma", "hot", "bone")
"""OpenCV has each of them as ``COLORMAP_<NAME>``."""
