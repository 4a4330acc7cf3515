"""Page-locked host memory, which a GPU reads and writes without a copy in between.

ONNX Runtime allocates it for the devices of a registered library, and the library of its CUDA provider can be
registered: https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/usage.html. Sessions still use the
provider that is built in.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from camrt.errors import ProviderError
from camrt.runtime.inference.providers import PROVIDERS, onnxruntime
from camrt.runtime.inference.shared_libraries import provider_library

_lock: Final = threading.Lock()
_registered: Final[set[str]] = set()


def pinned_allocator() -> "Callable[[Sequence[int], np.dtype[Any]], Any]":
    """Return a function that allocates page-locked memory for CUDA: an ``OrtValue`` of a shape and a dtype.

    Raises:
        ProviderError: this ONNX Runtime cannot allocate it.
        Exception: an error of ONNX Runtime.
    """
    runtime = onnxruntime()
    if not hasattr(runtime, "OrtDeviceMemoryType"):
        raise ProviderError(f"ONNX Runtime {runtime.__version__} cannot allocate it")
    with _lock:
        if "cuda" not in _registered:
            runtime.register_execution_provider_library("camrt cuda", str(provider_library(runtime, "cuda")))
            _registered.add("cuda")
    for device in runtime.get_ep_devices():
        if device.ep_name == PROVIDERS["cuda"]:  # of several GPUs any: page-locked memory serves all of them
            info = device.memory_info(runtime.OrtDeviceMemoryType.HOST_ACCESSIBLE)
            if info is not None:
                return partial(runtime.OrtValue.ortvalue_from_shape_and_type, memory_info=info)
    raise ProviderError("the CUDA provider of this ONNX Runtime offers none")
