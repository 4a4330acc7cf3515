"""A hub of two cameras that the tests feed, and its server."""

import threading

import pytest

import camrt
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.serve import Server
from camrt.runtime.serve.server import Address
from camrt.runtime.stream.hub import Hub
from support.desktop import eventually
from support.serving import Served
from support.sources import StillSource
from support.tiny_models import LABELS, model_info, write_linear

NAMES = ('the "door"', "yard\\left\nhere")
LONG_LABEL = "pneumonoultramicroscopicsilicovolcanoconiosis, a disease of the lungs"


@pytest.fixture(scope="package")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    labels = (f'an "{LABELS[0]}"', f"a\\{LABELS[1]}", LABELS[2], LONG_LABEL)
    return camrt.load(write_linear(folder / "model.onnx", info=model_info(labels=labels)), provider="cpu")


@pytest.fixture
def hub(model, request):
    """A hub whose overlays are transparent, so that grey frames stay grey; its parameter names the sources."""
    sources = [StillSource(name) for name in getattr(request, "param", NAMES)]
    return Hub(model, SettingsStore(DisplaySettings(alpha=0.0)), sources)


@pytest.fixture
def served(hub):
    threads = set(threading.enumerate())
    server = Server(hub, Address("127.0.0.1", 0))
    yield Served(None, server.url)
    server.stop()
    server.stop()
    assert eventually(lambda: set(threading.enumerate()) <= threads)
