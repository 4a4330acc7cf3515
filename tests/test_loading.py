"""A signal during the import of an extension module takes effect after the import."""

import signal
import sys
import threading

import pytest

from camrt.loading import load_undisturbed

SIGNALLED = """
import os, signal
os.kill(os.getpid(), signal.{name})
sum(range(10))  # the handler runs between two instructions
loaded = True
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in ("interrupted", "terminated", "quiet"):
        sys.modules.pop(name, None)


def test_ctrl_c_takes_effect_after_the_import(module):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        load_undisturbed(module("interrupted", SIGNALLED.format(name="SIGINT")))
    assert sys.modules["interrupted"].loaded
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_reaches_its_own_handler_after_the_import(module, monkeypatch):
    calls = []
    before = signal.signal(signal.SIGTERM, lambda number, _: calls.append((number, "terminated" in sys.modules)))
    try:
        assert load_undisturbed(module("terminated", SIGNALLED.format(name="SIGTERM"))).loaded
        assert calls == [(signal.SIGTERM, True)]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_can_import(module):
    name = module("quiet", "import threading\nthread = threading.current_thread().name")
    threads = []
    thread = threading.Thread(target=lambda: threads.append(load_undisturbed(name).thread), name="worker")
    thread.start()
    thread.join()
    assert threads == ["worker"]


def test_a_missing_module_raises_import_error():
    with pytest.raises(ImportError, match="no_such_module"):
        load_undisturbed("no_such_module")
