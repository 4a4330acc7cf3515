"""Runs with fixed buffers, as captured CUDA graphs need them, on the CPU: the same code without a graph behind it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import camrt
from camrt.errors import ProviderError
from camrt.runtime.inference.captured_runs import MAX_BATCH, MAX_SIZES, GraphCapture
from camrt.runtime.inference.model import Model
from camrt.runtime.inference.session import open_session
from support.tiny_models import SIZE, write_class_maps, write_linear

RANDOM = np.random.default_rng(5)


def frames(count):
    return list(RANDOM.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8))


def captured(path, *, device="cpu", number=0, reopen=None):
    """Open a model file whose runs use fixed buffers on a device."""
    opened = open_session(path, "cpu", 1)
    reopen = reopen or (lambda: open_session(path, "cpu", 1).session)
    opened = replace(opened, capture=GraphCapture(device, number, reopen))
    return Model(path, opened, 1, camrt.load(path, "cpu").info, {})


def assert_equal(results, expected):
    for result, wanted in zip(results, expected, strict=True):
        for name in ("scores", "logits"):
            assert np.array_equal(getattr(result, name), getattr(wanted, name))
        for class_id in range(len(wanted.scores)):
            assert np.array_equal(result.cam(class_id), wanted.cam(class_id))


@pytest.fixture(params=[write_linear, write_class_maps])
def path(request, tmp_path):
    return request.param(tmp_path / "model.onnx")


@pytest.fixture
def plain(path):
    return camrt.load(path, "cpu", threads=1)


def test_outputs_equal_those_of_plain_runs_for_each_batch_size_in_any_order(path, plain):
    model = captured(path)
    for size in (1, 2, 1, 3, 2, 3, 1):
        batch = frames(size)
        assert_equal(model(batch), plain(batch))
    assert model.graph_sizes == (1, 2, 3)
    assert model.remarks == plain.remarks == ()
    assert plain.graph_sizes == ()


def test_a_result_stays_as_it_was_when_the_next_frames_run(path, plain):
    model = captured(path)
    batches = [frames(size) for size in (1, 2, 1, 1, 2, 2)]
    results = [model(batch) for batch in batches]
    for batch, result in zip(batches, results, strict=True):
        assert_equal(result, plain(batch))


def test_several_threads_get_the_results_of_their_own_frames(path, plain):
    model = captured(path)
    batches = [frames(1 + index % 3) for index in range(60)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(model, batches))
    for batch, result in zip(batches, results, strict=True):
        assert_equal(result, plain(batch))


def test_batches_beyond_the_bounds_run_without_buffers_of_their_own(path, plain):
    model = captured(path)
    for size in (MAX_BATCH + 1, *range(1, MAX_SIZES + 3), MAX_BATCH + 1, 1):
        batch = frames(size)
        assert_equal(model(batch), plain(batch))
    assert model.graph_sizes == tuple(range(1, MAX_SIZES + 1))


def test_a_capture_that_fails_is_a_remark_and_the_model_is_opened_again(path, plain):
    opened_again = []

    def reopen():
        opened_again.append(open_session(path, "cpu", 1).session)
        return opened_again[-1]

    model = captured(path, device="cuda", number=99, reopen=reopen)
    (remark,) = model.remarks
    assert remark.startswith("CUDA graphs are not used: ")
    with ThreadPoolExecutor(4) as pool:
        batches = [frames(size) for size in (1, 2, 1, 2)]
        for batch, result in zip(batches, pool.map(model, batches), strict=True):
            assert_equal(result, plain(batch))
    assert model.graph_sizes == ()
    assert len(opened_again) == 1


def test_a_model_that_cannot_be_opened_again_is_an_error_when_it_is_loaded(path):
    def reopen():
        raise ProviderError("the device is gone")

    with pytest.raises(ProviderError, match="the device is gone"):
        captured(path, device="cuda", number=99, reopen=reopen)


def test_replays_that_give_other_outputs_are_not_used(tmp_path):
    """A network that adds noise gives other logits each time, as a replay that reads an old image would."""
    path = write_linear(tmp_path / "model.onnx")
    network = onnx.load(path)
    for node in network.graph.node:
        node.output[:] = ["without noise" if name == "logits" else name for name in node.output]
    noise = helper.make_node("RandomNormalLike", ["without noise"], ["noise"], dtype=TensorProto.FLOAT)
    add = helper.make_node("Add", ["without noise", "noise"], ["logits"])
    at = next(index for index, node in enumerate(network.graph.node) if node.op_type == "Gemm") + 1
    for offset, node in enumerate((noise, add)):
        network.graph.node.insert(at + offset, node)
    onnx.save(network, path)
    model = captured(path)
    (remark,) = model.remarks
    assert remark.startswith("CUDA graphs are not used: a replay gives other ")
    assert model.graph_sizes == ()
    assert np.isfinite(model(frames(1)[0]).logits).all()


# Largest difference of a frame's logits and maps within a batch from those of the frame alone, as a share of the
# largest value; docs/providers.md states it for each provider. Only the CPU can be tested on any machine.
BATCH_TOLERANCE = {"cpu": 1e-5}


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("open_file", [partial(camrt.load, provider="cpu"), captured])
def test_a_frame_in_a_batch_has_the_maps_of_the_frame_alone(path, open_file, size):
    model = open_file(path)
    batch = frames(size)
    for frame, result in zip(batch, model(batch), strict=True):
        alone = model(frame)
        for values, wanted in [
            (result.logits, alone.logits),
            *((result.cam(k), alone.cam(k)) for k in range(model.classes)),
        ]:
            assert np.abs(values - wanted).max() <= BATCH_TOLERANCE["cpu"] * np.abs(wanted).max()
