"""CUDA on a machine that has a GPU: captured graphs, batches and precision against plain runs and the CPU."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import camrt
from camrt.runtime.inference.captured_runs import MAX_SIZES, PAGEABLE
from support.needs import has_cuda
from support.tiny_models import SIZE, write_class_maps, write_linear
from support.tolerances import WITHIN_BATCH

TF32, FP32 = {}, {"use_tf32": "0"}
FROM_CPU = 1e-5
"""Largest difference in fp32, as a share of the largest value."""


pytestmark = pytest.mark.skipif(not has_cuda(), reason="needs onnxruntime-gpu and an NVIDIA GPU")


@pytest.fixture(params=[write_linear, write_class_maps])
def path(request, tmp_path):
    return request.param(tmp_path / "model.onnx")


def frames(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8))


def largest_difference(results, expected):
    return max(
        float(np.abs(values - wanted).max() / np.abs(wanted).max())
        for result, other in zip(results, expected, strict=True)
        for values, wanted in ((result.logits, other.logits), (result.cams(), other.cams()))
    )


def test_replayed_graphs_give_the_results_of_plain_runs_and_of_the_cpu(path):
    captured = camrt.load(path, "cuda", provider_options=FP32)
    plain = camrt.load(path, "cuda", provider_options={**FP32, "enable_cuda_graph": "0"})
    cpu = camrt.load(path, "cpu")
    assert plain.remarks == ()
    assert all(remark.startswith(PAGEABLE) for remark in captured.remarks)
    batches = [frames(size, seed) for seed, size in enumerate((1, 2, 1, 3, 2, 1, 3))]
    results = [captured(batch) for batch in batches]  # compared at the end: none may change when the next one runs
    for batch, result in zip(batches, results, strict=True):
        assert largest_difference(result, plain(batch)) <= FROM_CPU
        assert largest_difference(result, cpu(batch)) <= FROM_CPU
    assert captured.graph_sizes == (1, 2, 3)
    assert plain.graph_sizes == ()


def test_several_threads_replay_more_sizes_than_have_a_graph(path):
    captured, cpu = camrt.load(path, "cuda", provider_options=FP32), camrt.load(path, "cpu")
    batches = [frames(1 + seed % (MAX_SIZES + 2), seed) for seed in range(60)]
    with ThreadPoolExecutor(8) as pool:
        for batch, result in zip(batches, pool.map(captured, batches), strict=True):
            assert largest_difference(result, cpu(batch)) <= FROM_CPU
    assert len(captured.graph_sizes) == MAX_SIZES


def test_auto_says_how_it_chose_between_the_gpu_and_the_cpu(path):
    model = camrt.load(path)
    assert model.provider in ("cuda", "cpu")
    assert any(remark.startswith(f"provider 'auto' chose {model.provider!r}: ") for remark in model.remarks)


@pytest.mark.parametrize(
    ("name", "options"), [("`cuda`, fp32 with TF32", TF32), ("`cuda`, fp32 with `use_tf32=0`", FP32)]
)
def test_a_frame_in_a_batch_has_the_maps_of_the_frame_alone(path, name, options):
    model = camrt.load(path, "cuda", provider_options=options)
    for size in (2, 3, 8):
        batch = frames(size)
        assert largest_difference(model(batch), [model(frame) for frame in batch]) <= WITHIN_BATCH[name]
