"""A signal in the middle of a native import waits until it is done."""

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


def test_ctrl_c_comes_when_the_module_is_loaded(module):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        load_undisturbed(module("interrupted", SIGNALLED.format(name="SIGINT")))
    assert sys.modules["interrupted"].loaded
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_with_a_handler_of_its_own_reaches_it(module, monkeypatch):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append((number, "terminated" in sys.modules)))
    try:
        assert load_undisturbed(module("terminated", SIGNALLED.format(name="SIGTERM"))).loaded
        assert seen == [(signal.SIGTERM, True)]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_loads_as_well(module):
    name = module("quiet", "import threading\nwhere = threading.current_thread().name")
    found = []
    thread = threading.Thread(target=lambda: found.append(load_undisturbed(name).where), name="worker")
    thread.start()
    thread.join()
    assert found == ["worker"]


def test_what_is_missing_is_an_import_error():
    with pytest.raises(ImportError, match="no_such_module"):
        load_undisturbed("no_such_module")
