"""Execution providers that are wheels of their own, which ONNX Runtime loads as plug-ins.

ONNX Runtime 1.23 and newer load them: https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/usage.html
"""

import importlib.util
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from camrt.errors import ProviderError, UsageError
from camrt.loading import load_undisturbed
from camrt.runtime.inference.providers import PROVIDERS, reason_of, why_not_loaded
from camrt.runtime.inference.shared_libraries import wheels_of


@dataclass(frozen=True, slots=True)
class Plugin:
    """A wheel with one execution provider."""

    package: str
    """Import package; it has ``get_library_path()``."""
    wheel: str
    """Distribution to install."""
    needs: str
    """The devices that it runs on."""


PLUGINS: Final = {
    "openvino": Plugin("onnxruntime_ep_openvino", "onnxruntime-ep-openvino", "an x86 processor"),
    "webgpu": Plugin("onnxruntime_ep_webgpu", "onnxruntime-ep-webgpu", "a GPU with a Vulkan, Metal or Direct3D driver"),
    "tensorrt-rtx": Plugin("onnxruntime_ep_nv_tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx", "an NVIDIA RTX GPU"),
}
"""camrt's name of each provider that is a plug-in; OpenVINO's also comes built into a wheel of ONNX Runtime."""
_THREADS: Final = "INFERENCE_NUM_THREADS"
_registered: set[str] = set()
_lock = threading.Lock()


def loads_plugins(runtime: ModuleType) -> bool:
    """Return whether this ONNX Runtime can load plug-ins."""
    return hasattr(runtime, "register_execution_provider_library")


def is_plugin(runtime: ModuleType, provider: str) -> bool:
    """Return whether a provider comes from an installed plug-in. If it is built in as well, the plug-in is not used."""
    if provider not in PLUGINS or not loads_plugins(runtime):
        return False
    built_in = PROVIDERS[provider] in runtime.get_available_providers() and provider not in _registered
    return not built_in and importlib.util.find_spec(PLUGINS[provider].package) is not None


def plugin_devices(runtime: ModuleType, provider: str) -> list[Any]:
    """Load an installed plug-in, once per process, and return the devices (``OrtEpDevice``) that it found.

    Raises:
        ProviderError: it cannot be loaded, or finds no device.
    """
    plugin = PLUGINS[provider]
    wheel = " and ".join(wheels_of(plugin.package)) or plugin.wheel
    with _lock:
        if provider not in _registered:
            library: Path | None = None
            try:
                library = Path(load_undisturbed(plugin.package).get_library_path())
                runtime.register_execution_provider_library(f"camrt {provider}", str(library))
            except Exception as error:  # the wheel's own errors, and ONNX Runtime's, which share no other root
                reason = library and why_not_loaded(library, provider)
                raise ProviderError(
                    f"provider {provider!r} cannot run: {reason or f'{wheel} cannot be loaded: {reason_of(error)}'}"
                ) from error
            _registered.add(provider)
    devices = [device for device in runtime.get_ep_devices() if device.ep_name == PROVIDERS[provider]]
    if not devices:
        raise ProviderError(
            f"provider {provider!r} cannot run: {wheel} finds no device here; it needs {plugin.needs}. Choose another "
            "one, or --provider auto"
        )
    return devices


def choose_device(
    provider: str, devices: Sequence[Any], threads: int, options: Mapping[str, str]
) -> tuple[Any, dict[str, str]]:
    """Return the device that the options name, by default the first, and the options for it.

    Args:
        provider: a key of `PLUGINS`.
        devices: from `plugin_devices`.
        threads: threads for OpenVINO on the processor.
        options: options of the user.

    Raises:
        ProviderError: there is no such device.
        UsageError: OpenVINO's plug-in would ignore an option, or cannot read it.
    """
    if provider != "openvino":
        return devices[0], dict(options)
    name = options.get("device_type", "CPU")
    by_name = {device.ep_metadata.get("ov_device"): device for device in reversed(devices)}
    if name not in by_name:
        raise ProviderError(
            f"provider 'openvino' cannot run: option device_type: Device {name} is not available; its plug-in found "
            f"only {', '.join(sorted(map(str, by_name)))}"
        )
    if ignored := ", ".join(sorted(options.keys() - {"device_type", "load_config"})):
        raise UsageError(
            f"OpenVINO's plug-in takes the options device_type and load_config; it would ignore {ignored}. Set "
            f'OpenVINO\'s own properties with the option load_config, as in {{"{name}": {{"PROPERTY": "VALUE"}}}}'
        )
    return by_name[name], {"load_config": json.dumps(_load_config(name, threads, options.get("load_config", "{}")))}


def _load_config(device: str, threads: int, text: str) -> dict[str, Any]:
    """Return OpenVINO's properties by device: those of the user, and on the processor camrt's. Raises: UsageError."""
    try:
        config = json.loads(text)
        properties = dict(config.get(device, {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f'option load_config, {text}, cannot be read: write a JSON object such as {{"{device}": {{"PROPERTY": '
            '"VALUE"}}'
        ) from error
    if _THREADS in properties:
        raise UsageError(f"camrt sets {_THREADS} from the number of threads; use --threads instead")
    if device == "CPU":
        # OpenVINO computes in bfloat16 where the processor has it; the built-in provider computes in float32.
        properties = {"INFERENCE_PRECISION_HINT": "f32", **properties, _THREADS: str(threads)}
    return {**config, device: properties}
