"""A change of the head while streams run: scores, maps, classes and filter follow, and batches have one head."""

import threading
from dataclasses import replace

import numpy as np
import pytest

import camrt
from camrt.errors import UsageError
from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.maps.result import Result
from camrt.runtime.maps.temporal_filter import TemporalFilter
from camrt.runtime.record import record
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.render.hud import Hud
from camrt.runtime.render.renderer import Renderer, shown_classes
from camrt.runtime.serve.prometheus import metrics
from camrt.runtime.serve.settings import Change, change
from camrt.runtime.stream.live_session import LiveSession
from support.desktop import eventually
from support.sources import StillSource
from support.tiny_models import write_linear

IMAGES = list(np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), np.uint8))


class Listener:
    """Keeps all items of a stream."""

    def __init__(self):
        self.items = []

    def write(self, item):
        self.items.append(item)

    def close(self):
        pass


def run_with_switch(session, listeners):
    """Run a session of endless sources; select the head "size" after five items of each, and stop after five more."""
    runner = threading.Thread(target=session.run)
    runner.start()
    try:
        assert eventually(lambda: all(len(one.items) > 5 for one in listeners))
        session.settings.update(head="size")
        counts = [len(one.items) for one in listeners]
        assert eventually(lambda: all(len(one.items) > count + 5 for one, count in zip(listeners, counts, strict=True)))
    finally:
        session.stop()
        runner.join()


@pytest.mark.parametrize("sources", [1, 2])
@pytest.mark.parametrize("live", [True, False])
def test_every_item_has_the_result_of_one_head_for_its_frame(two_heads, sources, live):
    listeners = [Listener() for _ in range(sources)]
    streams = [StillSource(f"s{n}", live=live, images=IMAGES, period_s=0.002) for n in range(sources)]
    settings = DisplaySettings(classes=(3,), smooth=0.0, normalize="running")
    session = LiveSession(
        two_heads,
        streams,
        settings=settings,
        listeners=[[one] for one in listeners],
        every_camera_frame=False,
    )
    run_with_switch(session, listeners)
    models = {name: two_heads.with_head(name) for name in two_heads.heads}
    for listener in listeners:
        heads = [item.result.decoder.head for item in listener.items]
        assert heads == sorted(heads)  # kind before size, and never back
        assert set(heads) == {"kind", "size"}
        for item in listener.items:
            head = item.result.decoder.head
            expected = models[head](item.frame.image)
            np.testing.assert_allclose(item.result.logits, expected.logits, rtol=1e-4, atol=1e-5)
            assert item.result.scores.shape == expected.scores.shape
            assert item.classes == ((3,) if head == "kind" else (expected.class_id,)) or item.classes == (
                item.result.class_id,  # between the change of the head and that of the settings
            )
            described = record(item)
            assert described["head"] == head
            assert {row["label"] for row in described["top"]} <= set(models[head].labels)
    assert session.settings.current.classes == ()
    assert session.hub.model.head_name == "size"


def test_a_still_and_a_frozen_image_are_classified_again(two_heads):
    """No further frame comes, so the shown one gets the result of the new head."""
    session = LiveSession(
        two_heads, [StillSource(count=1, live=False, images=IMAGES)], watched=True, settings=DisplaySettings()
    )
    stream = session.hub.streams[0]
    runner = threading.Thread(target=session.run)
    runner.start()
    try:
        assert eventually(lambda: stream.newest is not None)
        for head in ("size", "kind"):
            session.settings.update(head=head)
            shown = stream.newest
            assert shown.result.decoder.head == head
            np.testing.assert_array_equal(shown.result.logits, two_heads.with_head(head)(IMAGES[0]).logits)
        session.hub.pause(True)
        session.settings.update(head="size")
        assert stream.newest.result.decoder.head == "size"
        assert stream.status().frames == 1
    finally:
        session.stop()
        runner.join()


def test_another_head_clears_the_classes_unless_they_are_replaced_too(two_heads):
    session = LiveSession(two_heads, [StillSource()], settings=DisplaySettings(classes=(3, 1)))
    settings = session.settings
    assert settings.current.head == "kind"
    settings.update(head="kind", alpha=0.5)
    assert settings.current.classes == (3, 1)
    settings.update(head="size")
    assert settings.current.classes == ()
    settings.update(head="kind", classes=(3,))
    assert settings.current.classes == (3,)
    with pytest.raises(UsageError, match="no class 3; the model has 0 to 2"):
        settings.update(head="size", classes=(3,))
    with pytest.raises(UsageError, match="no head 'age'; the model has kind, size"):
        settings.update(head="age")
    assert (settings.current.head, settings.current.classes) == ("kind", (3,))
    assert session.hub.model.head_name == "kind"
    change(session.hub, Change(head="size"))
    assert session.hub.model.head_name == settings.current.head == "size"


def test_a_model_with_one_head_refuses_the_name_of_one(model):
    with pytest.raises(UsageError, match="no head 'size'; the model has one head, which has no name"):
        LiveSession(model, [StillSource()], settings=DisplaySettings(head="size"))
    assert LiveSession(model, [StillSource()]).settings.current.head is None


def test_a_session_can_start_with_another_head(two_heads):
    listener = Listener()
    source = StillSource(count=2, live=False, images=IMAGES)
    LiveSession(two_heads, [source], settings=DisplaySettings(head="size"), listeners=[[listener]]).run()
    source = StillSource(count=2, live=False, images=IMAGES)
    session = LiveSession(two_heads.with_head("size"), [source], listeners=[[listener]])
    session.run()
    assert [item.result.decoder.head for item in listener.items] == ["size"] * 4
    assert session.settings.current.head == "size"


def test_classes_of_another_head_are_not_drawn(two_heads):
    result = two_heads(IMAGES[0])
    assert shown_classes(result, DisplaySettings(classes=(2,))) == (2,)
    assert shown_classes(result, DisplaySettings(head="kind", classes=(2,))) == (2,)
    assert shown_classes(result, DisplaySettings(head="size", classes=(2,))) == (result.class_id,)


def test_the_filter_mixes_no_maps_of_two_heads_although_their_shapes_are_equal(two_heads):
    first = two_heads(IMAGES[0])
    other = Result(
        replace(first.decoder, head="other"),
        scores=first.scores,
        logits=first.logits,
        maps=first.maps + 10,
        placement=first.placement,
        stages_ms={},
    )
    temporal = TemporalFilter()
    temporal.smooth(first, 0, 0.0, 5.0)
    temporal.update_range(first.cams() - 1000, 0.0)
    smoothed = temporal.smooth(other, 0, 0.01, 5.0)
    np.testing.assert_array_equal(smoothed.maps, other.maps)
    low, high = temporal.update_range(smoothed.cams(), 0.01)
    assert (low, high) == (smoothed.cams().min(), smoothed.cams().max())
    again = temporal.smooth(other.with_maps(other.maps + 4), 0, 0.01, 5.0)
    np.testing.assert_allclose(again.maps, other.maps, rtol=1e-6)


def test_the_record_names_the_head_of_a_file_with_several_only(model, two_heads):
    listeners = [Listener(), Listener()]
    for one, listener in zip((model, two_heads), listeners, strict=True):
        LiveSession(one, [StillSource(count=1, live=False)], listeners=[[listener]]).run()
    one, several = (record(listener.items[0]) for listener in listeners)
    assert "head" not in one
    assert several == {**several, "head": "kind"}


def test_the_caption_names_the_head(two_heads):
    image = np.full((240, 320, 3), 90, np.uint8)
    result = two_heads(image)
    item = StreamItem(Frame(image, 0, 0.0, "grey"), result, 0)
    with_text, expected = (render(item, hud=hud) for hud in (True, False))
    text = f"kind, looking for: {result.label(result.class_id)}  {result.scores[result.class_id]:.2f}"
    Hud(320, 240).caption(expected, text)
    np.testing.assert_array_equal(with_text[200:], expected[200:])


def render(item, *, hud):
    renderer = Renderer(hud=hud, provider=None, threads=1)
    return renderer.render(item, DisplaySettings()).image.copy()


def test_metrics_count_the_classes_of_each_head(two_heads):
    session = LiveSession(two_heads, [StillSource(live=True, images=IMAGES, period_s=0.002)], every_camera_frame=False)
    listener = session.hub.streams[0]
    runner = threading.Thread(target=session.run)
    runner.start()
    try:
        assert eventually(lambda: listener.status().classified > 3)
        session.settings.update(head="size")
        assert eventually(lambda: any(one.head == "size" for one in listener.status().classes))
    finally:
        session.stop()
        runner.join()
    text = metrics(session.hub, 0)
    assert 'class_id="' in text
    assert 'head="kind"' in text
    assert 'head="size"' in text


@pytest.mark.parametrize("sources", [1, 2])
def test_a_newer_model_takes_over_while_streams_run(model, sources, tmp_path):
    newer = camrt.load(write_linear(tmp_path / "newer.onnx", seed=1), provider="cpu")
    listeners = [Listener() for _ in range(sources)]
    streams = [StillSource(f"s{n}", live=True, images=IMAGES[:1], period_s=0.002) for n in range(sources)]
    session = LiveSession(model, streams, settings=DisplaySettings(smooth=0.5), listeners=[[one] for one in listeners])
    runner = threading.Thread(target=session.run)
    runner.start()
    try:
        assert eventually(lambda: all(len(one.items) > 5 for one in listeners))
        session.replace_model(newer)
        expected = newer(IMAGES[0])
        for one in listeners:
            assert eventually(lambda one=one: np.array_equal(one.items[-1].result.scores, expected.scores))
            np.testing.assert_allclose(one.items[-1].result.cams(), expected.cams(), rtol=1e-4, atol=1e-5)
    finally:
        session.stop()
        runner.join()


def test_a_model_of_other_classes_does_not_take_over(model, two_heads):
    session = LiveSession(model, [StillSource(count=1, live=False)])
    with pytest.raises(UsageError, match="has other classes than"):
        session.replace_model(two_heads)
    assert session.hub.model is model
