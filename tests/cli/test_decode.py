"""``--decode``: the decoder is named once for each video, and a device that does not work is refused."""

import pytest

from camrt.video_decoding.hardware_devices import devices
from support import http_camera
from support.command import camrt
from support.video_files import encode, scene
from support.videos import read_video

pytestmark = pytest.mark.process

UNUSABLE = next(device.name for device in devices() if device.reason)


def test_annotate_takes_auto_and_refuses_other_decoders(mobilenet, tmp_path):
    encode(tmp_path / "a.mp4", [scene(number) for number in range(12)])
    done = camrt("annotate", mobilenet, "a.mp4", "-o", "plain.mp4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "decoded" not in done.stderr
    done = camrt("annotate", mobilenet, "a.mp4", "-o", "auto.mp4", "--decode", "auto", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum("a.mp4 is decoded " in line for line in done.stderr.splitlines()) == 1
    for one, other in zip(*(read_video(tmp_path / name)[0] for name in ("plain.mp4", "auto.mp4")), strict=True):
        assert (one == other).all()
    for name, status in ((UNUSABLE, 1), ("gpu", 2)):
        done = camrt("annotate", mobilenet, "a.mp4", "-o", "no.mp4", "--decode", name, cwd=tmp_path)
        assert done.returncode == status
        assert len(done.stderr.splitlines()) == 1
        assert f"--decode {name}" in done.stderr
        assert not (tmp_path / "no.mp4").exists()


def test_live_names_the_decoder_of_each_source(mobilenet, shared_data, tmp_path):
    encode(tmp_path / "a.mp4", [scene(number) for number in range(12)])
    (tmp_path / "c.toml").write_text('source = ["a.mp4", "{}/endless"]\ndecode = "auto"\nframes = 5\noutput = "none"\n')
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as http:
        settings = (tmp_path / "c.toml").read_text().replace("{}", http)
        (tmp_path / "c.toml").write_text(settings)
        done = camrt("live", mobilenet, "--config", "c.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert sum("a.mp4 is decoded " in line for line in lines) == 1
    assert sum(" gives MJPG " in line and ", decoded " in line for line in lines) == 1
