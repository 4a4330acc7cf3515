"""Import C++ extension modules without interruption by a signal. Needs only Python."""

import importlib
import signal
import threading
from types import FrameType, ModuleType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def load_undisturbed(name: str) -> ModuleType:
    """Import a module; Ctrl-C and SIGTERM take effect after the import.

    An interrupted import of onnx ends in a segmentation fault; ONNX Runtime reports that it is not installed.

    Raises:
        ImportError: as `importlib.import_module` does.
        KeyboardInterrupt: a signal arrived; the module is loaded.
    """
    if threading.current_thread() is not threading.main_thread():  # signals go to the main thread
        return importlib.import_module(name)
    pending: list[int] = []

    def postpone(number: int, _: FrameType | None) -> None:
        pending.append(number)

    handlers = {int(number): handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, postpone)
    try:
        return importlib.import_module(name)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in pending:
            handlers[number](number, None)
