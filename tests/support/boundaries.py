"""Fail a test that starts a process or uses the network without the marker that allows it.

`make quick` selects tests by their markers, so a missing marker would slow it down. Python's audit events see every
thread and every library of this process. They do not see connections that native code opens, as FFmpeg does.
"""

import ipaddress
import multiprocessing.util
import sys

import pytest

_SPECIAL = {"rtsp_server.py": "rtsp", "playwright": "browser", "Xvfb": "window"}
"""A word of a command, and the marker that a test needs to start it."""
_MARKERS = {"process", *_SPECIAL.values()}
_PROCESSES = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system"}
_running: list[pytest.Item] = []
"""The running test, if there is one."""


def install():
    """Check every audit event of this process from now on."""
    sys.addaudithook(_audit)
    spawn = multiprocessing.util.spawnv_passfds

    def audited(path, arguments, descriptors):
        _require_process([path, *arguments])
        return spawn(path, arguments, descriptors)

    multiprocessing.util.spawnv_passfds = audited  # the only way to a process that raises no audit event


def enter(item):
    """Check the events of ``item`` and its fixtures against its markers, until `leave`."""
    _running.append(item)


def leave():
    """Allow everything again."""
    _running.clear()


def _audit(event, arguments):
    if not _running:
        return
    if event in _PROCESSES:
        _require_process(arguments)
    elif event == "socket.connect" and isinstance(arguments[1], tuple):  # a string is a socket of this machine
        _require_loopback(arguments[1][0])
    elif event == "socket.getaddrinfo" and _address(arguments[0]) is None:
        _require_loopback(arguments[0])


def _require_process(command):
    words = str(command)
    marker = next((marker for word, marker in _SPECIAL.items() if word in words), "process")
    if not _has(_MARKERS if marker == "process" else {marker}):
        _fail(f"starts a process: {words[:300]}", marker)


def _require_loopback(host):
    address = _address(host)
    if host not in (None, "", "localhost") and not (address and address.is_loopback) and not _has(_MARKERS):
        _fail(f"uses the network: {host}", "process")


def _address(host):
    try:
        return ipaddress.ip_address(host)
    except ValueError:  # a host name or nothing
        return None


def _has(markers):
    return any(marker.name in markers for marker in _running[0].iter_markers())


def _fail(action, marker):
    pytest.fail(f"The test {action}. Mark it with @pytest.mark.{marker} (see pyproject.toml).", pytrace=False)
