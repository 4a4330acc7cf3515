"""Items and overlays for sinks."""

import numpy as np

from camrt.runtime.frames import Frame, Rendered, StreamItem
from camrt.runtime.maps.overlay import OverlayStyle


def gradient_image(height=48, width=64, *, shade=0):
    """Return a smooth BGR image, which lossy codecs change little. Its green values are ``shade``."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    image[..., 1] = shade
    image[..., 2] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    return image


def rendered(index=0, *, name="camera 0", image=None, result=None, file=None, page=None):
    """Return an overlay. By default it has no result, which most sinks do not need; ``file`` is that of an image."""
    image = gradient_image(shade=index * 10 % 256) if image is None else image
    name = name if file is None else str(file)
    return Rendered(StreamItem(Frame(image, index, index / 10, name, file=file, page=page), result, index), image)


def draw_shared(result, frame, *classes, **style):
    """Draw the maps of classes side by side with one value range, that of these and the best class.

    ``style`` are fields of `OverlayStyle`.
    """
    cams = [result.visible_cam(class_id) for class_id in (*classes, None)]
    value_range = float(np.min(cams)), float(np.max(cams))
    shared = OverlayStyle(normalization="range", value_range=value_range, **style)
    return np.hstack([result.draw(frame, class_id, style=shared) for class_id in classes])
