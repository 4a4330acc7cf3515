"""See, live and on the device, where an image classifier looks.

``camrt.load`` opens a model file, ``camrt.LiveSession`` runs it on streams, and ``camrt.export`` (extra ``export``)
makes one. Names load on first use, so ``import camrt`` costs nothing and needs no ONNX Runtime.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from camrt.errors import CamrtError

if TYPE_CHECKING:
    from camrt.runtime.audit.audit import audit
    from camrt.runtime.audit.result import Audit
    from camrt.runtime.collect.collect import collect
    from camrt.runtime.collect.store import MapStore
    from camrt.runtime.evaluation.evaluate import evaluate
    from camrt.runtime.evaluation.evaluation import Evaluation
    from camrt.runtime.inference.model import Model, load
    from camrt.runtime.maps.result import Result
    from camrt.runtime.stream.live_session import LiveSession

# ONNX Runtime 1.32 sends usage data to its maker unless this is set before its library is loaded; later,
# `onnxruntime.disable_telemetry_events` is not enough. A value that the user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "Audit",
    "CamrtError",
    "Evaluation",
    "LiveSession",
    "MapStore",
    "Model",
    "Result",
    "__version__",
    "audit",
    "collect",
    "evaluate",
    "load",
]

_MODULES = {
    "Audit": "camrt.runtime.audit.result",
    "audit": "camrt.runtime.audit.audit",
    "Evaluation": "camrt.runtime.evaluation.evaluation",
    "evaluate": "camrt.runtime.evaluation.evaluate",
    "collect": "camrt.runtime.collect.collect",
    "MapStore": "camrt.runtime.collect.store",
    "LiveSession": "camrt.runtime.stream.live_session",
    "Model": "camrt.runtime.inference.model",
    "load": "camrt.runtime.inference.model",
    "Result": "camrt.runtime.maps.result",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'camrt' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
