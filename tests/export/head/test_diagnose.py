"""Unsupported heads: the message names the node, its problem and what to do, and nothing is written."""

import numpy as np
import onnx
import pytest

from camrt.errors import HeadNotFound
from camrt.export import attach
from support.export_graphs import CHANNELS, CLASSES, Net


def mean_of_everything(net):
    return net.op(
        "MatMul", net.op("Flatten", net.op("ReduceMean", net.features(), keepdims=1)), net.weights(1, CLASSES)
    )


def _attention(net):
    """[N, C, 4, 4] as 16 tokens [N, 16, C], each a mixture of all tokens."""
    cells = net.op("Reshape", net.features(), net.const(np.array([0, CHANNELS, 16])))
    tokens = net.op("Transpose", cells, perm=[0, 2, 1])
    attention = net.op("Softmax", net.op("MatMul", tokens, net.op("Transpose", tokens, perm=[0, 2, 1])), axis=-1)
    return net.op("MatMul", attention, tokens)


def attention_over_cells(net):
    """The 12 tokens that remain form no square, and the image is one."""
    bounds = [net.const(np.array([value], np.int64)) for value in (0, 12, 1)]
    part = net.op("Slice", _attention(net), *bounds)
    return net.gemm(net.op("Gather", part, net.const(np.array(3, np.int64)), axis=1))


def two_tokens(net):
    tokens = _attention(net)
    first, second = (net.op("Gather", tokens, net.const(np.array(index, np.int64)), axis=1) for index in (0, 1))
    return net.gemm(net.op("Mul", first, second))


def embedding(net):
    return net.pooled()


def class_numbers(net):
    return net.op("ArgMax", net.gemm(net.pooled()), axis=1, keepdims=1)


def softmax_over_the_batch(net):
    return net.op("Softmax", net.gemm(net.pooled()), axis=0)


REFUSED = {
    embedding: r"global average pool of the output of Relu node.*export it with its classifier",
    class_numbers: r"ArgMax node.*scores are gone",
    softmax_over_the_batch: r"Softmax node.*axis 0",
    mean_of_everything: r"ReduceMean node.*axes \[0, 1, 2, 3\].*mixes the images",
    attention_over_cells: r"Gather node.*attention.*'relu\d+'.*attention",
    two_tokens: r"attention.*'matmul\d+': Gather node.*does not treat every cell alike",
}


@pytest.mark.parametrize("head", REFUSED, ids=lambda head: head.__name__)
def test_unsupported_head_is_refused(head, tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", head(net))
    with pytest.raises(HeadNotFound, match=REFUSED[head]):
        attach(source, tmp_path / "out.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


def boxes(net):
    return net.op("Reshape", net.features(6), net.const(np.array([0, 16, 6], np.int64)))


def masks(net):
    return net.op("Conv", net.features(), net.weights(CLASSES, CHANNELS, 1, 1), net.weights(CLASSES))


def masks_with_channels_last(net):
    return net.op("Softmax", net.op("Transpose", masks(net), perm=[0, 2, 3, 1]), axis=-1)


def masks_by_unpooling(net):
    """SegNet."""
    indices = f"indices{len(net.nodes)}"
    features = net.features()
    net.nodes.append(
        onnx.helper.make_node("MaxPool", [features], ["small", indices], kernel_shape=[2, 2], strides=[2, 2])
    )
    large = net.op("MaxUnpool", "small", indices, kernel_shape=[2, 2], strides=[2, 2])
    return net.op("Softmax", net.op("Conv", large, net.weights(CLASSES, CHANNELS, 1, 1)), axis=1)


NO_CLASSIFIERS = {
    boxes: (["N", 16, 6], r"shape \[N, 16, 6\].*detectors"),
    masks: (["N", CLASSES, 4, 4], r"shape \[N, 4, 4, 4\].*each pixel or cell, like segmentation"),
    masks_with_channels_last: (["N", 4, 4, CLASSES], r"shape \[N, 4, 4, 4\].*segmentation"),
    masks_by_unpooling: (["N", CLASSES, 4, 4], r"shape \[N, 4, 4, 4\].*segmentation"),
}


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("network", NO_CLASSIFIERS, ids=lambda network: network.__name__)
@pytest.mark.input_kind(
    "model",
    "detector, segmentation network (SegNet), sequence model",
    "its output's shape",
    "refused: the reason and what camrt needs",
)
def test_network_that_gives_no_scores_of_images_is_refused(network, stated, tmp_path):
    net = Net()
    output = network(net)
    shape, message = NO_CLASSIFIERS[network]
    source = net.save(tmp_path / "in.onnx", output, **{output: shape if stated else None})
    with pytest.raises(HeadNotFound, match=message + r".*needs an output \[N, K\]"):
        attach(source, tmp_path / "out.onnx")


def by_l2(net, vector):
    """torch.nn.functional.normalize."""
    norm = net.op("Clip", net.op("ReduceL2", vector, axes=[1], keepdims=1), net.const(np.float32(1e-12)))
    return net.op("Div", vector, net.op("Expand", norm, net.op("Shape", vector)))


def by_squares(net, vector):
    total = net.op("ReduceSum", net.op("Mul", vector, vector), net.const(np.array([1])), keepdims=1)
    return net.op("Div", vector, net.op("Sqrt", total))


def by_lp_normalization(net, vector):
    return net.op("LpNormalization", vector, axis=1, p=2)


@pytest.mark.parametrize("normalize", [by_l2, by_squares, by_lp_normalization], ids=lambda step: step.__name__)
@pytest.mark.input_kind("model", "embedding of length 1 (faces, retrieval)", "-", "refused: what camrt needs")
def test_embedding_is_refused(normalize, tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", normalize(net, net.gemm(net.pooled())))
    with pytest.raises(HeadNotFound, match=r"vector of length 1, an embedding.*export the network with its classifier"):
        attach(source, tmp_path / "out.onnx")


def test_scores_that_are_divided_by_their_sum_are_no_embedding(tmp_path):
    net = Net()
    scores = net.op("Relu", net.gemm(net.pooled()))
    total = net.op("ReduceSum", scores, net.const(np.array([1])), keepdims=1)
    share = net.op("Div", scores, net.op("Add", total, net.const(np.float32(1))))
    source = net.save(tmp_path / "in.onnx", share)
    assert attach(source, tmp_path / "out.onnx", activation="none").head == "per_position"


@pytest.mark.input_kind("model", "attention-pooling head", "-", "refused: what camrt would need")
def test_attention_pooling_is_refused_with_what_would_be_needed(tmp_path):
    """Each token has a weight that the softmax over all tokens gives it."""
    net = Net()
    cells = net.op("Reshape", net.features(), net.const(np.array([0, CHANNELS, 16])))
    tokens = net.op("Transpose", cells, perm=[0, 2, 1])
    weights = net.op("Softmax", net.op("MatMul", tokens, net.weights(CHANNELS, 1)), axis=1)
    pooled = net.op("MatMul", net.op("Transpose", weights, perm=[0, 2, 1]), tokens)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.squeeze(pooled, [1])))
    with pytest.raises(HeadNotFound, match=r"pools the tokens by attention.*weights of its own.*does not read them"):
        attach(source, tmp_path / "out.onnx")


def test_each_output_without_a_head_is_named(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.op("Identity", net.pooled(), to="first"), class_numbers(net))
    with pytest.raises(HeadNotFound, match=r"(?s)none of the 2 outputs.*'first'.*'argmax\d+'"):
        attach(source, tmp_path / "out.onnx")
