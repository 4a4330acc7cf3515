"""Attention of the synthetic camera against an audit: a sticker in the scene is a drift, the scene alone is not."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

import camrt
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.runtime.maps.attention_reference import read_reference
from camrt.runtime.record import record
from camrt.runtime.sources.synthetic import SyntheticSource
from camrt.runtime.stream.live_session import LiveSession
from camrt.synthetic_scene import CLASSES, FPS, Scene, views_of

pytestmark = pytest.mark.process  # joblib asks the system for its cores
EVERY = 10
"""Every tenth frame of the camera is classified, so that minutes of the scene take seconds."""


class Stickered(SyntheticSource):
    """The synthetic camera, with a sticker in front of it for some time."""

    def __init__(self, seconds, *, sticker_s=(0.0, 0.0), seed=7):
        super().__init__(Scene(seed), frames=int(seconds * FPS), live=False)
        self._sticker_s = sticker_s

    def read(self):
        frame = super().read()
        if frame is None:
            return None
        self._next += EVERY - 1
        begin_s, end_s = self._sticker_s
        if not begin_s <= frame.time_s < end_s:
            return frame
        return replace(frame, image=with_sticker(frame.image))


def with_sticker(image):
    """Return an image with a white disc in the left lower corner: the network sees a circle there."""
    height, width = image.shape[:2]
    image = image.copy()
    cv2.circle(image, (int(0.15 * width), int(0.8 * height)), int(0.15 * height), (255, 255, 255), -1, cv2.LINE_AA)
    return image


class Log:
    def __init__(self):
        self.records = []

    def write(self, item):
        self.records.append(record(item))
        json.dumps(self.records[-1], allow_nan=False)

    def close(self):
        pass


@pytest.fixture(scope="module")
def demo():
    return camrt.load(DEMO_MODEL, provider="cpu", threads=1)


@pytest.fixture(scope="module")
def reference(demo, tmp_path_factory):
    images = [
        LabelledImage(f"{CLASSES[view.class_id]}/{number}", view.image, (Target(CLASSES[view.class_id]),))
        for number, view in enumerate(views_of(range(300, 310), 4))
    ]
    folder = tmp_path_factory.mktemp("audit") / "report"
    camrt.audit(demo, images, passes=0).write_report(folder)
    return read_reference(folder, demo.labels, demo.map_shape[1:])


def run(demo, reference, source):
    log = Log()
    session = LiveSession(demo, [source], listeners=[[log]], reference=reference)
    (outcome,) = session.run()
    assert outcome.frames == len(log.records)
    return log.records, session


@pytest.mark.slow
def test_the_scene_alone_is_no_drift(demo, reference):
    records, session = run(demo, reference, Stickered(240))
    assert len(records) == 240 * FPS / EVERY
    assert not any(one["attention"]["outside"] or one["attention"]["event"] for one in records)
    assert {one["label"] for one in records[-1]["attention"]["classes"]} == set(CLASSES)
    status = session.hub.streams[0].status()
    assert status.attention.drift == pytest.approx(records[-1]["attention"]["drift"], abs=1e-6)


@pytest.mark.slow
def test_a_sticker_is_an_event_within_ten_seconds_and_its_end_another_one(demo, reference):
    records, _ = run(demo, reference, Stickered(130, sticker_s=(30.0, 60.0)))
    events = [(one["attention"]["event"], one["time"]) for one in records if one["attention"]["event"]]
    assert [name for name, _ in events] == ["left", "returned"]
    assert 30 < events[0][1] <= 40
    assert events[1][1] > 60
    outside = [one["time"] for one in records if one["attention"]["outside"]]
    assert outside[0] == events[0][1]
    assert np.diff(outside).max() == pytest.approx(EVERY / FPS, abs=1e-5)  # times are rounded to microseconds


def test_without_a_reference_records_have_no_attention(demo):
    records, session = run(demo, None, Stickered(2))
    assert not any("attention" in one for one in records)
    assert session.hub.streams[0].status().attention is None
