"""Display settings are validated and replaced as a whole. Each one is a flag, a TOML key and an API field."""

import threading
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from camrt.cli.config import ConfigurableParser
from camrt.cli.display_flags import add_display_flags, names, settings_of
from camrt.errors import UsageError
from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.serve.settings import Change, Settings, change, controls
from camrt.runtime.serve.settings import settings_of as api_settings
from camrt.runtime.stream.hub import Hub
from camrt.runtime.stream.hub_viewer import HubViewer
from support.sources import StillSource

OTHER = {
    "head": "size",
    "classes": (2, 1),
    "colormap": "jet",
    "alpha": 0.25,
    "alpha_by_value": False,
    "threshold": 0.125,
    "boxes": True,
    "refine": "clamp,ivr",
    "normalize": "minmax",
    "smooth": 1.5,
    "fade": True,
}
"""Another value for each setting."""
FIELDS = [one.name for one in fields(DisplaySettings)]


@pytest.fixture
def model(name, model, two_heads):
    """The model of the runtime's tests; for the head, one that has two."""
    return two_heads if name == "head" else model


def as_text(name):
    value = OTHER[name]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f'"{",".join(map(str, value))}"'
    return f'"{value}"' if isinstance(value, str) else str(value)


def parse(*words):
    parser = ConfigurableParser()
    parser.add_config_flag()
    add_display_flags(parser)
    return parser.parse_args(words)


def test_the_other_values_differ_from_the_defaults_and_cover_every_field():
    assert list(OTHER) == FIELDS == list(names())
    assert all(getattr(DisplaySettings(), name) != value for name, value in OTHER.items())


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_has_a_flag(name, model):
    flag, value = f"--{name.replace('_', '-')}", OTHER[name]
    if isinstance(value, bool):
        words = [flag if value else f"--no-{flag[2:]}"]
    else:
        words = [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    assert settings_of(parse(*words), model, live=False) == replace(DisplaySettings(), **{name: value})


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_has_a_key_in_the_settings_file(name, model, tmp_path):
    file = tmp_path / "camrt.toml"
    file.write_text(f"{name.replace('_', '-')} = {as_text(name)}\n")
    settings = settings_of(parse("--config", str(file)), model, live=True)
    assert settings == replace(DisplaySettings.defaults(live=True), **{name: OTHER[name]})


@pytest.mark.parametrize("name", FIELDS)
def test_the_api_reads_and_changes_each_setting(name, model):
    hub = Hub(model, SettingsStore(DisplaySettings()), [StillSource()])
    value = list(OTHER[name]) if isinstance(OTHER[name], tuple) else OTHER[name]
    change(hub, Change(**{name: value}))
    assert hub.settings.current == replace(DisplaySettings(), **{name: OTHER[name]})
    assert getattr(api_settings(hub), name) == value
    assert Settings.model_fields[name].description
    assert [one.name for one in controls()] == FIELDS


@pytest.mark.parametrize("name", FIELDS)
def test_a_changed_setting_redraws_a_still_image(name, model):
    hub = Hub(model, SettingsStore(DisplaySettings()), [StillSource()])
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    hub.streams[0].write(StreamItem(Frame(image, 0, 0.0, "still"), model(image), 0))
    viewer = HubViewer(hub, hud=False)
    viewer.draw(0)
    assert not viewer.changed(0)
    version = hub.wait(-1, 0.0)
    hub.settings.update(**{name: OTHER[name]})
    assert hub.wait(version, 0.0) != version
    assert viewer.changed(0)
    viewer.draw(0)
    assert not viewer.changed(0)


def test_the_settings_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        DisplaySettings().alpha = 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"colormap": "rainbow"}, "no colour map 'rainbow'; known: turbo"),
        ({"alpha": 1.5}, r"alpha 1.5 must be within \[0, 1\]"),
        ({"threshold": -0.1}, r"threshold -0.1 must be within \[0, 1\]"),
        ({"smooth": -1.0}, "half-life in seconds"),
        ({"smooth": float("inf")}, "half-life in seconds"),
        ({"smooth": float("nan")}, "half-life in seconds"),
        ({"normalize": "log"}, "write shared, minmax, relu_max, running, or two numbers"),
        ({"normalize": "1,2,3"}, "or two numbers"),
        ({"normalize": "3,1"}, "the first less than the second"),
        ({"normalize": "nan,1"}, "two numbers from -1e\\+30 to 1e\\+30"),
        ({"normalize": "-1e308,1e308"}, "two numbers from -1e\\+30 to 1e\\+30"),
    ],
)
def test_invalid_values_raise_usage_error(wrong, message):
    store = SettingsStore(DisplaySettings())
    with pytest.raises(UsageError, match=message):
        DisplaySettings(**wrong)
    with pytest.raises(UsageError, match=message):
        store.update(**wrong, boxes=True)
    assert store.current == DisplaySettings()


def test_settings_that_do_not_fit_the_model_raise_usage_error():
    with pytest.raises(UsageError, match="no class 4; the model has 0 to 3"):
        DisplaySettings(classes=(1, 4)).check(4, probabilities=True, weights=True)
    with pytest.raises(UsageError, match="the scores of this model are logits"):
        DisplaySettings(fade=True).check(4, probabilities=False, weights=True)


def test_two_threads_change_two_settings_without_a_lost_change():
    store = SettingsStore(DisplaySettings(alpha=0.0, threshold=0.0))

    def step(name):
        for number in range(1, 501):
            store.update(**{name: number / 500})

    threads = [threading.Thread(target=step, args=(name,)) for name in ("alpha", "threshold")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (store.current.alpha, store.current.threshold) == (1.0, 1.0)
