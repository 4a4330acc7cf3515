"""Scales of 8-bit weights, bias correction and folded preprocessing, against their definitions."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.quantize.fold_preprocessing import fold_preprocessing
from camrt.export.quantize.weight_scales import (
    channel_means,
    convolution_scales,
    correct_biases,
    least_squares_scales,
    round_weights,
)
from support.export_graphs import SIZE, random_images, session

LEVELS = 127


@given(hnp.arrays(np.float32, (3, 2, 3, 3), elements=st.floats(-4, 4, width=32)))
def test_scales_round_no_worse_than_those_of_the_largest_weight(weights):
    scales = least_squares_scales(weights, LEVELS)
    assert (scales > 0).all()
    rows = weights.reshape(3, -1).astype(np.float64)
    usual = np.abs(rows).max(axis=1) / LEVELS
    usual[usual == 0] = 1

    def error(steps):
        return ((round_weights(rows, steps, LEVELS) - rows) ** 2).sum(axis=1)

    assert (error(scales) <= error(usual) + 1e-30).all()


@given(hnp.arrays(np.int64, (4, 9), elements=st.integers(-127, 127)), st.floats(1e-4, 1.0))
def test_weights_on_a_grid_are_kept_exactly(numbers, step):
    weights = (numbers * np.float64(step)).astype(np.float64)
    scales = least_squares_scales(weights, LEVELS)
    np.testing.assert_allclose(round_weights(weights, scales, LEVELS), weights, rtol=1e-9, atol=1e-12)


def convolution(weights, *, groups=1, pads=0, bias=None, preprocessing=None):
    """Return a model: a model file's preprocessing, and a convolution on its result."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
    ]
    constants = {"weights": weights}
    if preprocessing is None:
        constants["one"] = np.ones((1, 3, 1, 1))
        nodes.append(helper.make_node("Mul", ["floats", "one"], ["data"]))
    else:
        std = np.array(preprocessing.std)
        constants["factor"] = (preprocessing.scale / std).reshape(1, 3, 1, 1)
        constants["offset"] = (-np.array(preprocessing.mean) / std).reshape(1, 3, 1, 1)
        data = "floats"
        if preprocessing.channels == "rgb":
            nodes[0].output[0] = "bgr"
            nodes.insert(1, helper.make_node("Gather", ["bgr", "order"], ["planes"], axis=1))
        nodes.append(helper.make_node("Mul", [data, "factor"], ["scaled"]))
        nodes.append(helper.make_node("Add", ["scaled", "offset"], ["data"]))
    inputs = ["data", "weights"]
    if bias is not None:
        constants["bias"] = bias
        inputs.append("bias")
    nodes.append(helper.make_node("Conv", inputs, ["maps"], group=groups, pads=[pads] * 4))
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    tensors.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), "order"))
    for number, node in enumerate(nodes):
        node.name = f"node_{number}"
    graph = helper.make_graph(
        nodes,
        "one convolution",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", len(weights), None, None])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def maps_of(model, images):
    return session(model).run(["maps"], {"image": images})[0].astype(np.float64)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("has_bias", [False, True])
def test_corrected_bias_removes_the_mean_rounding_error(groups, has_bias):
    random = np.random.default_rng(0)
    weights = random.normal(0, 1, (6, 3 // groups, 3, 3))
    model = convolution(weights, groups=groups, bias=random.normal(0, 1, 6) if has_bias else None)
    images = random_images(4)
    levels = 7  # few levels, so that there is an error to correct
    scales = convolution_scales(model, levels)
    means = channel_means(model, images)
    exact = maps_of(model, images).mean(axis=(0, 2, 3))
    coarse, corrected = onnx.ModelProto(), onnx.ModelProto()
    coarse.CopyFrom(model)
    corrected.CopyFrom(model)
    correct_biases(corrected, scales, means, levels, set())
    for changed in (coarse, corrected):
        tensor = next(entry for entry in changed.graph.initializer if entry.name == "weights")
        values = round_weights(weights.astype(np.float32), scales["weights"], levels)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), "weights"))
    before = np.abs(maps_of(coarse, images).mean(axis=(0, 2, 3)) - exact)
    after = np.abs(maps_of(corrected, images).mean(axis=(0, 2, 3)) - exact)
    assert after.max() < 0.2 * before.max()


def test_convolution_in_float_keeps_its_bias():
    model = convolution(np.random.default_rng(0).normal(0, 1, (2, 3, 3, 3)))
    before = model.SerializeToString()
    correct_biases(model, convolution_scales(model, 7), channel_means(model, random_images(1)), 7, {"node_3"})
    assert model.SerializeToString() == before


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_folded_convolution_reads_the_pixels(channels):
    preprocessing = Preprocessing(channels=channels)
    weights = np.random.default_rng(1).normal(0, 1, (4, 3, 3, 3))
    model = convolution(weights, bias=np.arange(4.0), preprocessing=preprocessing)
    images = random_images(3)
    expected = maps_of(model, images)
    folded = fold_preprocessing(model)
    assert folded is not None
    _, zero_point = folded
    assert zero_point == round(255 * np.mean(preprocessing.mean))
    np.testing.assert_allclose(maps_of(model, images), expected, atol=1e-4 * np.abs(expected).max())
    assert {tensor.name for tensor in model.graph.initializer}.isdisjoint({"factor", "offset", "weights", "order"})


def test_folding_keeps_the_border_if_all_channels_have_the_same_mean():
    """The mean must be a whole number of levels."""
    weights = np.random.default_rng(1).normal(0, 1, (4, 3, 3, 3))
    same = Preprocessing(mean=(0.4, 0.4, 0.4), std=(0.2, 0.3, 0.4))
    model = convolution(weights, pads=1, preprocessing=same)
    images = random_images(2)
    expected = maps_of(model, images)
    assert fold_preprocessing(model) == ("data", 102)
    np.testing.assert_allclose(maps_of(model, images), expected, atol=1e-4 * np.abs(expected).max())


def test_preprocessing_that_differs_from_place_to_place_is_not_folded():
    model = convolution(np.ones((1, 3, 1, 1)))
    uneven = np.linspace(0.5, 1.5, 3 * SIZE * SIZE, dtype=np.float32).reshape(1, 3, SIZE, SIZE)
    next(tensor for tensor in model.graph.initializer if tensor.name == "one").CopyFrom(
        numpy_helper.from_array(uneven, "one")
    )
    before = model.SerializeToString()
    assert fold_preprocessing(model) is None
    assert model.SerializeToString() == before
