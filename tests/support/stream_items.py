"""Stream items of grey frames."""

import numpy as np

from camrt.runtime.frames import Frame, StreamItem


def classified(model, level, index, *, size=(48, 64), **fields):
    """Return the item of a grey frame, as a pipeline makes it; ``fields`` are further fields of the item."""
    frame = Frame(np.full((*size, 3), level, np.uint8), index, index / 10, "grey")
    return StreamItem(frame, model(frame.image), index, **fields)


def without_signal(level, index):
    """Return the item of a lost source."""
    frame = Frame(np.full((48, 64, 3), level, np.uint8), index, index / 10, "grey", lost="the cable came off")
    return StreamItem(frame, None, index)
