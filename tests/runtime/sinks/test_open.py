"""Each output path opens the right sink, or raises an error that says what to do."""

import pytest

from camrt.errors import UsageError
from camrt.runtime.sinks import EventSink, ImageSink, VideoSink, open_events, open_output
from camrt.runtime.sinks.disk_full import PausingSink
from camrt.runtime.sources.synthetic import SyntheticSource
from camrt.synthetic_scene import Scene

OPTIONS = {"rotation": None, "overwrite": False, "tell": lambda _: None}


@pytest.mark.parametrize(
    ("name", "kind"), [("a.mp4", VideoSink), ("a.AVI", VideoSink), ("out", ImageSink), ("folder.mp4", ImageSink)]
)
def test_an_output_is_a_video_by_its_suffix_or_a_folder_of_images(tmp_path, name, kind):
    (tmp_path / "folder.mp4").mkdir()
    sink = open_output(tmp_path / name, SyntheticSource(Scene(0), live=False), threads=1, **OPTIONS)
    assert isinstance(sink, kind)
    sink.close()


def test_an_unknown_suffix_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"a video ends in \.mp4 .*; for images name a folder"):
        open_output(tmp_path / "a.png", SyntheticSource(Scene(0)), threads=1, **OPTIONS)


def test_outputs_of_a_live_source_pause_on_a_full_disk_and_the_standard_output_does_not(tmp_path):
    source = SyntheticSource(Scene(0), live=True)
    for sink in (
        open_output(tmp_path / "a.mp4", source, threads=1, **OPTIONS),
        open_events(str(tmp_path / "a.jsonl"), source, **OPTIONS),
    ):
        assert isinstance(sink, PausingSink)
        sink.close()
    assert isinstance(open_events("-", source, **OPTIONS), EventSink)
