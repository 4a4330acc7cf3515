"""A named provider is used or reported as an error with a fix, with the wheel of the test environment."""

import os
import sys
from pathlib import Path

import pytest
from numpy._core import _multiarray_umath

import camrt
from camrt.errors import ProviderError, UsageError
from camrt.runtime.inference.plugins import PLUGINS, loads_plugins
from camrt.runtime.inference.providers import PROVIDERS, logged_error, onnxruntime, reason_of
from camrt.runtime.inference.session import is_installed
from camrt.runtime.inference.shared_libraries import missing_libraries, needed_libraries, wheels_of
from support.command import refusal, succeeds
from support.tiny_models import write_linear

LACKING = [name for name in PROVIDERS if not is_installed(onnxruntime(), name)]
"""The providers that the wheel of the test environment does not have."""
EXTRAS = {"cuda": "gpu", "tensorrt": "gpu"}


@pytest.fixture
def model(tmp_path):
    return write_linear(tmp_path / "m.onnx")


@pytest.mark.parametrize("provider", LACKING)
def test_provider_that_the_wheel_lacks_is_an_error(model, provider):
    with pytest.raises(ProviderError, match=f"provider '{provider}' cannot run: onnxruntime.* has only .*CPU"):
        camrt.load(model, provider=provider)


@pytest.mark.parametrize("provider", [name for name in EXTRAS if name in LACKING])
def test_error_names_the_extra_to_install_and_the_wheel_to_remove(model, provider):
    with pytest.raises(ProviderError) as error:
        camrt.load(model, provider=provider)
    wheel = wheels_of("onnxruntime")[0].split()[0]
    assert f"pip uninstall -y {wheel}, then pip install 'camrt[{EXTRAS[provider]}]'" in str(error.value)


@pytest.mark.parametrize("provider", [name for name in PLUGINS if name in LACKING])
def test_error_names_the_plug_in_to_install(model, provider):
    with pytest.raises(ProviderError) as error:
        camrt.load(model, provider=provider)
    if loads_plugins(onnxruntime()):
        assert str(error.value).endswith(f"; pip install {PLUGINS[provider].wheel}")
    else:  # ONNX Runtime before 1.23
        assert "--provider auto" in str(error.value) or "pip install 'camrt[openvino]'" in str(error.value)


def test_options_need_a_named_provider_that_has_options(model):
    message = r"provider options \(device_id\) need an explicit --provider; they cannot be used with 'auto'"
    with pytest.raises(UsageError, match=message):
        camrt.load(model, provider_options={"device_id": "0"})
    with pytest.raises(UsageError, match="'cpu' has no options; leave out device_id"):
        camrt.load(model, provider="cpu", provider_options={"device_id": "0"})
    with pytest.raises(UsageError, match="camrt sets num_of_threads from the number of threads; use --threads instead"):
        camrt.load(model, provider="openvino", provider_options={"num_of_threads": "1"})
    assert camrt.load(model, provider="cpu", provider_options={}).provider_options == {}


@pytest.mark.process
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["device_id"], "--provider-option device_id: write NAME=VALUE"),
        (["=0"], "--provider-option =0: write NAME=VALUE"),
        (["a=1", "a=2"], "--provider-option a is given twice"),
    ],
)
def test_malformed_option_is_a_usage_error(model, entries, message):
    flags = [part for entry in entries for part in ("--provider-option", entry)]
    assert message in refusal("inspect", model, "--provider", "cuda", *flags, status=2)


@pytest.mark.process
def test_bench_accepts_options_for_one_provider_only(model):
    flags = ("--provider", "cpu", "cuda", "--provider-option", "device_id=0")
    assert "--provider-option works with one provider at a time" in refusal("bench", model, *flags, status=2)


@pytest.mark.process
def test_help_names_every_provider():
    text = " ".join(succeeds("live", "--help").split())
    *others, last = PROVIDERS
    expected = (
        f"auto (default) picks the fastest provider that keeps the maps; {', '.join(others)} or {last} is used or"
    )
    assert expected in text


def test_the_wheel_of_the_imported_onnxruntime_is_reported():
    (wheel,) = wheels_of("onnxruntime")
    name, version = wheel.split()
    assert name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
    assert version == onnxruntime().__version__
    assert wheels_of("no_such_package") == []


def test_wheel_later_on_the_path_is_not_reported(tmp_path, monkeypatch):
    information = tmp_path / "onnxruntime_other-9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-other\nVersion: 9\n")
    (information / "RECORD").write_text("onnxruntime/__init__.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert wheels_of("onnxruntime") == ["onnxruntime-other 9"]


@pytest.mark.process
def test_dependencies_of_a_library_are_listed(tmp_path):
    library = Path(_multiarray_umath.__file__)
    assert any(name.startswith("libc.so") for name in needed_libraries(library))
    assert missing_libraries(library) == []
    (tmp_path / "none.so").write_bytes(b"\x7fELF\x02\x01" + bytes(10))
    assert needed_libraries(tmp_path / "none.so") == needed_libraries(tmp_path / "nowhere.so") == {}


def test_reason_has_no_source_locations_of_onnxruntime():
    text = (
        "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime/core/a.cc:136 "
        "ns::A::A(std::unique_ptr<B>&, C&) /onnxruntime/core/b.cc:28 auto ns::F(G&&, H<I ...>&&) [with bool t = false; "
        "H<I> = J] [OpenVINO-EP] Exception while Reading network: Exception from src/c.cpp:27:\n"
        "cam_weights not found\n\n"
    )
    assert reason_of(RuntimeError(text)) == "Exception while Reading network: cam_weights not found"
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(RuntimeError("x" * 1000)) == "x" * 300 + "..."


def test_error_in_the_log_is_returned_and_not_printed(capfd):
    runtime = onnxruntime()

    def attempt():
        runtime.set_default_logger_severity(3)
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        runtime.InferenceSession(b"no model", options, providers=["CPUExecutionProvider"])

    assert logged_error(attempt) is None  # it raises, and logs nothing
    line = b"\x1b[1;31m2026-11-25 [E:onnxruntime:Default, a.cc:1 Create] /o/a.cc:12 void f(int) [ERROR] no GPU\n"
    assert logged_error(lambda: os.write(2, line)) == "no GPU"
    assert capfd.readouterr().err == ""


@pytest.mark.process
@pytest.mark.skipif(not loads_plugins(onnxruntime()), reason="this ONNX Runtime loads no plug-ins")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise OSError('libopenvino is missing')", "libopenvino is missing"),
        ("def get_library_path():\n    raise FileNotFoundError('the library is gone')", "the library is gone"),
        ("def get_library_path():\n    return '/nowhere/plugin.so'", "/nowhere/plugin.so"),
        ("def get_library_path():\n    return __file__", "Failed to load library"),
        ("", "get_library_path"),
    ],
)
def test_a_damaged_plug_in_is_an_error_and_auto_goes_on_without_it(model, tmp_path, monkeypatch, code, reason):
    plugin = PLUGINS["openvino"]
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / f"{plugin.package}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, plugin.package, raising=False)
    with pytest.raises(ProviderError) as error:
        camrt.load(model, provider="openvino")
    assert str(error.value).startswith(f"provider 'openvino' cannot run: {plugin.wheel} cannot be loaded: ")
    assert reason in str(error.value)
    automatic = camrt.load(model)
    assert automatic.provider != "openvino"
    assert str(error.value) in automatic.remarks
    monkeypatch.delitem(sys.modules, plugin.package, raising=False)
