"""System calls that fail."""

import os
from contextlib import contextmanager


@contextmanager
def failing(monkeypatch, name, error):
    """Let ``os.<name>`` raise ``error``, a number or an exception, within the block."""

    def fail(*_arguments, **_options):
        raise OSError(error, os.strerror(error)) if isinstance(error, int) else error

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        yield
