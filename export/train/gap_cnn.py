"""Replace a network's fully connected layers by a global average pool and one linear layer.

Zhou et al. 2016 (arXiv:1512.04150, section 2) do this to AlexNet, VGG and GoogLeNet.
"""

import copy

import torch
from torch import fx, nn

from camrt.errors import ExportError, UsageError
from camrt.export.error_text import first_line

EXAMPLE_SIZE = 224
"""Pixels of each side of the image that shows the maps' shapes."""


class GapCnn(nn.Module):
    """Convolutions, a global average pool and one linear layer."""

    def __init__(self, features: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K) of images (N, 3, H, W)."""
        maps = self.features(images)  # (N, C, h, w)
        logits: torch.Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


def to_gap_cnn(module: nn.Module, num_classes: int, *, last_conv: str | None = None) -> GapCnn:
    """Copy a network up to its last convolution, and add a global average pool and a new linear layer.

    The copy also keeps the layers after that convolution that leave the map's size as it is: normalisation, activation,
    a sum or concatenation. It ends before any pooling and before the next layer with weights. So VGG16 and AlexNet lose
    their last max pool, and the maps of VGG16 stay 14x14 at 224x224, as in the paper.

    Args:
        module: a network that torch.fx can trace; it is not changed. Its weights are copied. The linear layer's weights
            are new: train them.
        num_classes: K.
        last_conv: dotted name of the last convolution to keep (``features.28``, ``layer4.1.conv2``); None: the last
            one in ``module.features``, or without such a part the last of all.

    Raises:
        UsageError: there is no such convolution, or ``num_classes`` is below 1.
        ExportError: the network cannot be traced or run.
    """
    if num_classes < 1:
        raise UsageError(f"a classifier has at least one class, not {num_classes}")
    whole = copy.deepcopy(module).eval()
    try:
        traced = fx.symbolic_trace(whole)
    except (TypeError, ValueError, RuntimeError) as error:  # those of fx are kinds of the last two
        raise ExportError(
            f"torch.fx cannot trace {type(module).__name__} ({first_line(error)}); pass the part of it that holds the "
            "convolutions, or add a global average pool and an nn.Linear to that part yourself"
        ) from error
    convolutions = [node for node in traced.graph.nodes if isinstance(_layer(whole, node), nn.Conv2d)]
    last = _choose_convolution(convolutions, last_conv, type(module).__name__)
    first = _layer(whole, convolutions[0])
    assert isinstance(first, nn.Conv2d)
    example = torch.zeros(1, first.in_channels, EXAMPLE_SIZE, EXAMPLE_SIZE).to(first.weight)
    shapes = _ShapeRecorder(traced)
    try:
        with torch.no_grad():
            shapes.run(example)
    except RuntimeError as error:
        # Fully connected layers fail on images of another size than theirs. The convolutions have run by then.
        if last not in shapes.by_node:
            raise ExportError(
                f"{type(module).__name__} cannot run on an image of {EXAMPLE_SIZE}x{EXAMPLE_SIZE}: {first_line(error)}"
            ) from error
    end = _last_map_node(whole, last, shapes.by_node)
    _end_graph_at(traced.graph, end)
    features = fx.GraphModule(whole, traced.graph, class_name="Features")  # takes only the layers that are still used
    gap_cnn = GapCnn(features, shapes.by_node[end][1], num_classes).to(first.weight)
    return gap_cnn.train(module.training)


def _layer(module: nn.Module, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _choose_convolution(convolutions: list[fx.Node], name: str | None, network: str) -> fx.Node:
    names = [str(node.target) for node in convolutions]
    if not names:
        raise UsageError(f"{network} has no nn.Conv2d, so it has no maps to pool; pass a convolutional network")
    if name is None:
        in_features = [node for node in convolutions if str(node.target).startswith("features.")]
        return (in_features or convolutions)[-1]
    if name not in names:
        raise UsageError(f"{network} runs no convolution called {name!r}; the last ones are: {', '.join(names[-5:])}")
    return convolutions[len(names) - 1 - names[::-1].index(name)]


class _ShapeRecorder(fx.Interpreter):
    """Runs a traced network and records the shape of each tensor."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.by_node: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> object:  # torch calls the argument by this name
        """Run one node and record the shape of its result."""
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.by_node[n] = tuple(result.shape)
        return result


def _last_map_node(module: nn.Module, node: fx.Node, shapes: dict[fx.Node, tuple[int, ...]]) -> fx.Node:
    """Return the last node after a convolution that still gives a map of the same size."""
    while len(node.users) == 1:
        (after,) = node.users
        shape = shapes.get(after, ())
        if (
            len(shape) != 4
            or shape[2:] != shapes[node][2:]
            or isinstance(_layer(module, after), (nn.Conv2d, nn.Linear))
        ):
            break
        node = after
    return node


def _end_graph_at(graph: fx.Graph, end: fx.Node) -> None:
    """Make a node the graph's output, and remove what it does not need."""
    for output in graph.find_nodes(op="output"):
        graph.erase_node(output)
    graph.output(end)
    graph.eliminate_dead_code()
    graph.lint()
