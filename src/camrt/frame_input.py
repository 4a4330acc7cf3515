"""Turn what a caller passes for a frame into uint8 (H, W, 3) BGR, or say why it cannot be one."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from camrt.errors import UsageError
from camrt.images import Image

_WANTED = "a frame must be uint8 (H, W, 3) in BGR order"


def as_frames(frames: Any) -> tuple[list[Image], bool]:
    """Return frames as uint8 (H, W, 3) BGR, and whether the caller passed a single one.

    Args:
        frames: see `camrt.Model.__call__`.

    Raises:
        UsageError: something is no frame, or its meaning is not plain.
    """
    if isinstance(frames, np.ndarray) and frames.ndim == 4:
        return [as_frame(frame) for frame in frames], False
    if isinstance(frames, np.ndarray) or _is_single(frames):
        return [as_frame(frames)], True
    return [as_frame(frame) for frame in frames], False


def as_frame(frame: Any) -> Image:
    """Return one frame as uint8 (H, W, 3) BGR; an array that is one already is returned as it is.

    Grey arrays (H, W) and (H, W, 1) become colour, of BGRA (H, W, 4) the alpha is dropped, and a PIL image is converted
    from its own mode.

    Raises:
        UsageError: it is no frame, or its meaning is not plain.
    """
    if _is_from(frame, "PIL.") and hasattr(frame, "getbands"):
        from camrt.image_decoding.pillow_pixels import bytes_of

        frame = bytes_of(frame)[0]
    if not isinstance(frame, np.ndarray):
        raise UsageError(_explain(frame))
    if not frame.size:
        raise UsageError(f"a frame of shape {frame.shape} is empty")
    channels = 1 if frame.ndim == 2 else frame.shape[2] if frame.ndim == 3 else 0
    if frame.dtype != np.uint8 or channels not in (1, 3, 4):
        raise UsageError(_explain_array(frame))
    if channels == 3:
        return frame
    code = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(frame), code), np.uint8)


def _is_single(frames: Any) -> bool:
    """Tell whether a value is no collection of frames."""
    return isinstance(frames, (str, bytes)) or not isinstance(frames, Iterable) or _is_from(frames, "PIL.", "torch")


def _is_from(value: Any, *modules: str) -> bool:
    """Tell whether the type of a value, or one that it derives from, is of a module; nothing is imported."""
    return any(kind.__module__.startswith(modules) for kind in type(value).__mro__)


def _explain(frame: Any) -> str:
    if frame is None:
        return "the frame is None; cv2.imread returns None for a file that is missing or that it cannot read"
    if isinstance(frame, (str, bytes)) or hasattr(frame, "__fspath__"):
        return f"{_WANTED}, not a path; read the file first: cv2.imread({str(frame)!r})"
    if _is_from(frame, "torch"):
        return (
            f"{_WANTED}, not a torch tensor of shape {tuple(frame.shape)}; for RGB bytes (3, H, W): "
            "tensor.permute(1, 2, 0).flip(-1).contiguous().numpy()"
        )
    return f"{_WANTED}, not {type(frame).__name__}"


def _explain_array(frame: "np.ndarray[Any, Any]") -> str:
    text = f"{_WANTED}, not {frame.dtype} {frame.shape}"
    if frame.ndim == 4:
        return f"{text}; a batch (N, H, W, 3) is passed by itself, not in a list"
    if frame.ndim == 3 and frame.shape[0] in (1, 3, 4) and frame.shape[2] not in (1, 3, 4):
        text += "; for channels first: np.ascontiguousarray(frame.transpose(1, 2, 0))"
    if np.issubdtype(frame.dtype, np.floating):
        return f"{text}; for values from 0 to 1: (frame * 255).round().astype(np.uint8)"
    if frame.dtype == np.uint16:
        return f"{text}; for 16 bits: (frame >> 8).astype(np.uint8), for 12 bits: (frame >> 4).astype(np.uint8)"
    if frame.dtype == np.bool_:
        return f"{text}; for a mask: frame.astype(np.uint8) * 255"
    return text
