"""Load modules that are written in C++, undisturbed. Needs nothing but Python."""

import importlib
import signal
import threading
from types import FrameType, ModuleType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def load_undisturbed(name: str) -> ModuleType:
    """Import a module; Ctrl-C and SIGTERM meanwhile count when it is loaded.

    Interrupted half-way, onnx takes the process with it (a segmentation fault), and ONNX Runtime calls itself missing.

    Raises:
        ImportError: as `importlib.import_module` does.
        KeyboardInterrupt: the module is loaded, and was to be interrupted.
    """
    if threading.current_thread() is not threading.main_thread():  # signals go to the main thread
        return importlib.import_module(name)
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    ours = {int(number): handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}
    for number in ours:
        signal.signal(number, hold)
    try:
        return importlib.import_module(name)
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for caught in held:
            ours[caught](caught, None)
