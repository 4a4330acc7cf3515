"""The camera of a Raspberry Pi is set to the requested mode; picamera2 itself needs a Raspberry Pi."""

import numpy as np

from camrt.runtime.sources import SourceOptions
from camrt.runtime.sources.cameras.devices import CameraMode, Picamera
from camrt.video_decoding.capture import mode_of


class Picamera2:
    """The calls of ``picamera2.Picamera2`` that camrt makes. The camera rounds its width to a multiple of 32."""

    def create_video_configuration(self, *, main, controls):
        width, height = main["size"]
        return {"main": {**main, "size": (width // 32 * 32, height)}, "controls": controls}

    def configure(self, configuration):
        self.configuration = configuration

    def camera_configuration(self):
        return self.configuration

    def start(self):
        pass

    def capture_array(self, name, wait):
        width, height = self.configuration[name]["size"]
        return np.zeros((height, width, 3), np.uint8)

    def wait(self, job, timeout):
        return job

    def stop(self):
        pass

    def close(self):
        pass


def test_size_and_rate_are_options_and_what_the_camera_gives_is_its_mode():
    for options, mode, rate in (
        (SourceOptions(), "1280x720 at 30 fps", 30.0),
        (SourceOptions(size=(820, 616), fps=15.0), "800x616 at 15 fps", 15.0),
    ):
        camera = Picamera(Picamera2, CameraMode.requested(options), 5.0)
        assert mode_of(camera) == mode
        width, height = map(int, mode.split()[0].split("x"))
        assert camera.read()[1].shape == (height, width, 3)
        assert camera._camera.configuration["controls"] == {"FrameRate": rate}
        camera.release()
