"""Each key does what the list of keys says."""

from camrt.runtime.maps.overlay import COLORMAPS, OverlayStyle
from camrt.runtime.render.display_settings import KEYS, View


def test_every_listed_key_changes_the_view():
    for key in KEYS:
        view = View(OverlayStyle())
        view.press(key)
        assert view != View(OverlayStyle()), key


def test_m_goes_through_every_colour_map_and_comes_back():
    view = View(OverlayStyle())
    seen = []
    for _ in COLORMAPS:
        seen.append(view.style.colormap)
        view.press("m")
    assert sorted(seen) == sorted(COLORMAPS)
    assert view.style == OverlayStyle()


def test_other_keys_do_nothing():
    view = View(OverlayStyle())
    view.press("x")
    assert view == View(OverlayStyle())
