"""Runs with fixed buffers, as captured CUDA graphs need them, on the CPU: the same code without a graph behind it."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import camrt
from camrt.benchmarks.bench import FramesFromMemory
from camrt.errors import ProviderError
from camrt.runtime.doctor.providers import describe_graphs
from camrt.runtime.inference import captured_runs
from camrt.runtime.inference.capture_gate import CaptureGate
from camrt.runtime.inference.captured_runs import MAX_BATCH, MAX_SIZES, GraphCapture
from camrt.runtime.inference.model import Model
from camrt.runtime.inference.pinned_memory import pinned_allocator
from camrt.runtime.inference.providers import onnxruntime
from camrt.runtime.inference.session import open_session
from camrt.runtime.stream.live_session import LiveSession
from support import REPOSITORY
from support.needs import has_cuda
from support.tiny_models import SIZE, write_class_maps, write_linear
from support.tolerances import WITHIN_BATCH

RANDOM = np.random.default_rng(5)


def frames(count):
    return list(RANDOM.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8))


def captured(path, *, device="cpu", number=0, reopen=None, host_allocator=None):
    """Open a model file whose runs use fixed buffers on a device."""
    opened = open_session(path, "cpu", 1)
    reopen = reopen or (lambda: open_session(path, "cpu", 1).session)
    opened = replace(opened, capture=GraphCapture(device, number, reopen, host_allocator))
    return Model(path, opened, 1, camrt.load(path, "cpu").info, {})


def assert_equal(results, expected):
    for result, wanted in zip(results, expected, strict=True):
        for name in ("scores", "logits"):
            assert np.array_equal(getattr(result, name), getattr(wanted, name))
        for class_id in range(len(wanted.scores)):
            assert np.array_equal(result.cam(class_id), wanted.cam(class_id))


def allocate(shape, dtype):
    return onnxruntime().OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cpu", 0)


@pytest.fixture
def host_memory_is_faster(monkeypatch):
    """Which memory is faster is measured: here the one of the allocator, as on a GPU."""
    times = itertools.count(0, -1)
    monkeypatch.setattr(captured_runs, "_shortest_s", lambda *_: next(times))


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


def test_results_are_the_same_through_memory_of_an_allocator(path, plain, host_memory_is_faster):
    allocated = []

    def counted(shape, dtype):
        allocated.append(tuple(shape))
        return allocate(shape, dtype)

    model = captured(path, host_allocator=lambda: counted)
    batches = [frames(1 + index % 3) for index in range(30)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(model, batches))
    for batch, result in zip(batches, results, strict=True):
        assert_equal(result, plain(batch))
    # For each graph of each size the image and three outputs: nothing else crosses, such as weights of the head.
    maps = next(shape for shape in allocated if len(shape) == 4 and shape[1] != SIZE)
    assert len(allocated) == 3 * 2 * 4
    assert set(allocated) == {(size, *shape) for size in (1, 2, 3) for shape in ((SIZE, SIZE, 3), (4,), maps[1:])}
    assert model.remarks == ()


def test_doctor_says_how_much_memory_graphs_take_at_most(path, plain):
    model = captured(path)
    result = model(frames(1)[0])
    most = 2 * sum(range(25, 33)) * (SIZE * SIZE * 3 + 4 * (4 + 4 + int(np.prod(model.map_shape))))
    assert model.graph_bytes_limit == most
    assert len(result.scores) == 4
    assert describe_graphs(model) == [
        "captures CUDA graphs for up to 8 batch sizes of at most 32 images; the buffers of this model's graphs take at "
        f"most {most / 1e6:.0f} MB of the GPU's memory"
    ]
    assert describe_graphs(plain) == []
    assert plain.graph_bytes_limit == 0
    failed = captured(path, device="cuda", number=99)
    assert describe_graphs(failed) == list(failed.remarks)
    assert failed.graph_bytes_limit == 0


def test_slower_memory_of_an_allocator_is_not_used(path, plain, monkeypatch):
    times = itertools.count()
    monkeypatch.setattr(captured_runs, "_shortest_s", lambda *_: next(times))
    model = captured(path, host_allocator=lambda: allocate)
    batch = frames(2)
    assert_equal(model(batch), plain(batch))
    assert all(graph._host == {} for free in model._runs._free.values() for graph in free.queue)


def no_allocator():
    raise ProviderError("the library cannot be registered")


def fails(shape, dtype):
    raise MemoryError("no page-locked memory is left")


def allocate_copies(shape, dtype):
    """Return a value that gives copies of its memory: what is written to them is lost."""
    value = allocate(shape, dtype)
    value.numpy = lambda: np.zeros(shape, dtype)
    return value


@pytest.mark.parametrize(
    ("host_allocator", "reason"),
    [
        (no_allocator, "the library cannot be registered"),
        (lambda: fails, "no page-locked memory is left"),
        (lambda: allocate_copies, "a replay gives other "),
    ],
)
def test_host_memory_that_does_not_work_is_one_remark(path, plain, host_allocator, reason):
    model = captured(path, host_allocator=host_allocator)
    for size in (1, 2, 3, 1):
        batch = frames(size)
        assert_equal(model(batch), plain(batch))
    (remark,) = model.remarks
    assert remark.startswith(f"page-locked memory is not used: {reason}")
    assert model.graph_sizes == (1, 2, 3)


def write_fails_on_white(path):
    """Write a network that fails on a white image: it looks up a value at the image's first pixel divided by 255."""
    network = onnx.load(write_linear(path))
    network.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    network.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    nodes = [
        helper.make_node("ReduceMin", ["pixels"], ["darkest"], keepdims=0),
        helper.make_node("Floor", ["darkest"], ["white"]),
        helper.make_node("Cast", ["white"], ["index"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["index", "one"], ["indices"]),
        helper.make_node("Gather", ["zero", "indices"], ["nothing"]),
        helper.make_node("Add", ["raw", "nothing"], ["logits"]),
    ]
    at = next(index for index, node in enumerate(network.graph.node) if node.op_type == "Gemm")
    network.graph.node[at].output[:] = ["raw"]
    for offset, node in enumerate(nodes, 1):
        network.graph.node.insert(at + offset, node)
    onnx.save(network, path)
    return path


WHITE = np.full((SIZE, SIZE, 3), 255, np.uint8)


def test_a_graph_that_fails_later_is_a_remark_and_no_frame_is_lost(tmp_path, plain_linear):
    """The replacement is a network that never fails, as a session without graphs is on a GPU."""
    good = plain_linear.path
    model = captured(write_fails_on_white(tmp_path / "fails.onnx"), reopen=lambda: open_session(good, "cpu", 1).session)
    assert model.graph_sizes == (1,)
    assert model.remarks == ()
    images = [*frames(20), WHITE, *frames(20), WHITE, *frames(20)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(model, images))
    assert_equal(results, plain_linear(images))
    (remark,) = model.remarks
    assert remark.startswith("CUDA graphs are not used: ")
    assert "indices element out of data bounds" in remark
    assert model.graph_sizes == ()


@pytest.fixture
def plain_linear(tmp_path):
    return camrt.load(write_linear(tmp_path / "good.onnx"), "cpu", threads=1)


def test_a_session_tells_once_that_graphs_stopped_working(tmp_path, plain_linear):
    model = captured(
        write_fails_on_white(tmp_path / "fails.onnx"),
        reopen=lambda: open_session(plain_linear.path, "cpu", 1).session,
    )
    images = [*frames(4), WHITE, *frames(4)]
    told = []
    session = LiveSession(model, [FramesFromMemory(images, len(images))])
    (summary,) = session.run(on_remark=told.append)
    assert summary.frames == len(images)
    assert told == list(model.remarks)
    assert len(told) == 1


def test_a_capture_waits_for_copies_and_copies_wait_for_a_capture():
    gate, order = CaptureGate(), []
    first_copy, captures = threading.Event(), threading.Event()

    def capture():
        with gate.capturing():
            order.append("capture")
            captures.set()

    def copy():
        first_copy.wait(10)
        with gate.copying():
            order.append("second copy")

    threads = [threading.Thread(target=work) for work in (capture, copy)]
    with gate.copying(), gate.copying():  # several threads may copy at once
        for thread in threads:
            thread.start()
        assert not captures.wait(0.1)
        first_copy.set()
        order.append("first copy")
    for thread in threads:
        thread.join(10)
    assert order[0] == "first copy"
    assert sorted(order[1:]) == ["capture", "second copy"]


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
            assert np.abs(values - wanted).max() <= WITHIN_BATCH["`cpu`, fp32"] * np.abs(wanted).max()


def test_the_documents_state_the_tolerance_of_each_provider():
    lines = (REPOSITORY / "docs" / "providers.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    stated = {row[0]: row[1] for row in rows if len(row) == 3 and row[0] in WITHIN_BATCH}
    assert {name: float(text) for name, text in stated.items()} == WITHIN_BATCH


def test_page_locked_memory_without_a_gpu_is_one_remark(path, plain):
    """With any wheel: one has no library for CUDA, the other cannot load it, or finds no device."""
    if has_cuda():
        pytest.skip("this machine has a GPU; test_cuda.py runs there")
    model = captured(path, host_allocator=pinned_allocator)
    batch = frames(2)
    assert_equal(model(batch), plain(batch))
    (remark,) = model.remarks
    assert remark.startswith("page-locked memory is not used: ")
    assert "onnxruntime_providers_cuda" in remark or "CUDA" in remark
