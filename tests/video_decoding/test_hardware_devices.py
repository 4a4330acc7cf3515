"""Decoders are chosen by name, refused where they do not work, and named where `auto` does not take one."""

import av
import pytest
from av.codec.hwaccel import hwdevices_available

from camrt.errors import MissingExtra, SourceError, UsageError
from camrt.runtime.sources import SourceOptions, open_source
from camrt.video_decoding.hardware_devices import check_decoding, choose_device, devices
from support.video_files import encode, scene


def unusable():
    """Return the name of a device that cannot be used here."""
    return next(device.name for device in devices() if device.reason)


def test_the_devices_are_those_of_ffmpeg_and_each_has_codecs_or_a_reason():
    assert [device.name for device in devices()] == hwdevices_available()
    for device in devices():
        assert device.codecs or device.reason
        for codec in device.codecs:
            assert device.name in [config.device_type.name for config in av.Codec(codec, "r").hardware_configs]


def test_a_device_is_chosen_or_refused():
    check_decoding("software")
    assert choose_device("software") == (None, "")
    name, remark = choose_device("auto")
    assert name in (None, *(device.name for device in devices() if not device.reason))
    assert (remark == "") == (name is not None)
    for device in devices():
        if not device.reason:
            assert choose_device(device.name) == (device.name, "")
    with pytest.raises(SourceError, match=f"^--decode {unusable()} cannot be used: .*; --decode software always"):
        choose_device(unusable())
    with pytest.raises(UsageError, match=r"^--decode gpu: use auto, software, or a device of this FFmpeg: "):
        choose_device("gpu")


def test_without_pyav_the_decoder_is_software(without_pyav, tmp_path):
    encode(tmp_path / "a.mp4", [scene(number) for number in range(3)])
    lines = []
    without_pyav()
    source = open_source(str(tmp_path / "a.mp4"), tell=lines.append, options=SourceOptions(decode="auto"))
    assert source.read() is not None
    assert lines == [f"{tmp_path}/a.mp4 is decoded in software: hardware needs PyAV (pip install 'camrt[video]')"]
    with pytest.raises(MissingExtra, match=r"^--decode cuda needs PyAV: pip install 'camrt\[video\]'$"):
        open_source(str(tmp_path / "a.mp4"), options=SourceOptions(decode="cuda"))
