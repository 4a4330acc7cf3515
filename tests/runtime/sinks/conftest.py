"""Fixtures of the sink tests."""

import sys

import pytest


@pytest.fixture(params=["PyAV", "OpenCV"])
def writer(request, monkeypatch):
    """Both ways to write a video: with PyAV, and as if PyAV was not installed."""
    if request.param == "OpenCV":
        monkeypatch.setitem(sys.modules, "av", None)
    return request.param
