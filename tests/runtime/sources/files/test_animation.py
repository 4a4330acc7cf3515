"""Animated PNG, WebP and AVIF are read as videos, with the times of their frames."""

import numpy as np
import pytest
from PIL import Image

from camrt.errors import SourceError
from camrt.runtime.sources import open_source


def write_animation(path, durations=(100, 300, 200), **options):
    frames = [Image.new("RGB", (16, 12), (80 * number, 40, 200)) for number in range(len(durations))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=list(durations), **options)
    return frames


@pytest.mark.parametrize("suffix", [".png", ".webp", ".avif"])
@pytest.mark.input_kind("video", "animated PNG, WebP and AVIF", "Pillow", "equal frames and times")
def test_an_animation_gives_its_frames_and_times(tmp_path, suffix):
    frames = write_animation(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    source = open_source(str(tmp_path / f"a{suffix}"))
    assert (source.live, source.frame_count, source.fps) == (False, 3, pytest.approx(5.0))
    read = list(iter(source.read, None))
    assert [frame.time_s for frame in read] == pytest.approx([0.0, 0.1, 0.4])
    assert [(frame.index, frame.file) for frame in read] == [(0, None), (1, None), (2, None)]
    for frame, expected in zip(read, frames, strict=True):
        assert np.abs(frame.image[..., ::-1].astype(int) - np.asarray(expected)).max() <= 2  # the loss of AVIF
    source.close()
    assert source.read() is None


def test_a_frame_without_a_duration_lasts_a_tenth_of_a_second(tmp_path):
    write_animation(tmp_path / "a.webp", (0, 0, 0))
    assert open_source(str(tmp_path / "a.webp")).fps == pytest.approx(10.0)


def test_a_cut_animation_gives_its_whole_frames_or_an_error(tmp_path):
    write_animation(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:-30])
    source = open_source(str(tmp_path / "a.png"))
    assert len(list(iter(source.read, None))) == source.frame_count < 3
    assert len(source.problems) == 1
    (tmp_path / "a.png").write_bytes(data[:60])
    with pytest.raises(SourceError, match=r"a\.png cannot be"):
        open_source(str(tmp_path / "a.png"))
