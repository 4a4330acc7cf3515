"""Fixtures of the source tests."""

import sys

import pytest


@pytest.fixture
def without_pyav(monkeypatch):
    """Return a function; after its call PyAV is not installed, as far as an import can tell."""
    return lambda: monkeypatch.setitem(sys.modules, "av", None)


@pytest.fixture(params=["PyAV", "OpenCV"])
def decoder(request, without_pyav):
    """Both ways to read a video: with PyAV, and as if PyAV was not installed."""
    if request.param == "OpenCV":
        without_pyav()
    return request.param
