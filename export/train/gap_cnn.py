"""The surgery of the method itself: fully connected layers out, a global average pool and one linear layer in.

Zhou et al. 2016 (arXiv:1512.04150, section 2) do this to AlexNet, VGG and GoogLeNet.
"""

import copy

import torch
from torch import fx, nn

from camrt.errors import ExportError, UsageError

EXAMPLE_SIZE = 224
"""Pixels of the picture that is sent through to see the maps' shapes."""


class GapCnn(nn.Module):
    """Convolutions, a global average pool and one linear layer."""

    def __init__(self, features: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K) of pictures (N, 3, H, W)."""
        maps = self.features(pictures)  # (N, C, h, w)
        logits: torch.Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


def to_gap_cnn(module: nn.Module, num_classes: int, *, last_conv: str | None = None) -> GapCnn:
    """Copy a network up to its last convolution and put a global average pool and a new linear layer on it.

    Kept after that convolution is what changes neither the map's size nor comes after another layer with weights of
    its own: normalisation, activation, the sum or the concatenation that it takes part in. Pooling is not: VGG16 and
    AlexNet lose their last max pool, so the maps of VGG16 stay 14x14 at 224x224, as in the paper.

    Args:
        module: a network that torch.fx can trace; it is not changed. Its weights are copied, the linear layer's are
            new and have to be trained.
        num_classes: K.
        last_conv: dotted name of the last convolution to keep (``features.28``, ``layer4.1.conv2``); None: the last
            one in ``module.features`` where there is such a part, otherwise the last of all.

    Raises:
        UsageError: there is no such convolution.
        ExportError: the network cannot be traced or run.
    """
    if num_classes < 1:
        raise UsageError(f"num_classes={num_classes} must be at least 1")
    whole = copy.deepcopy(module).eval()
    try:
        traced = fx.symbolic_trace(whole)
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise ExportError(
            f"torch.fx cannot trace {type(module).__name__} ({str(error).splitlines()[0]}); pass the part of it that "
            "holds the convolutions, or put a global average pool and an nn.Linear on that part yourself"
        ) from error
    convolutions = [node for node in traced.graph.nodes if isinstance(_layer(whole, node), nn.Conv2d)]
    last = _choose(convolutions, last_conv, type(module).__name__)
    first = _layer(whole, convolutions[0])
    assert isinstance(first, nn.Conv2d)
    example = torch.zeros(1, first.in_channels, EXAMPLE_SIZE, EXAMPLE_SIZE).to(first.weight)
    shapes = _Shapes(traced)
    try:
        with torch.no_grad():
            shapes.run(example)
    except RuntimeError as error:
        # Fully connected layers fail on pictures of another size than theirs; what is kept has been run by then.
        if last not in shapes.of:
            cause = str(error).split("\n", 1)[0]
            raise ExportError(f"{type(module).__name__} cannot run on a picture: {cause}") from error
    end = _follow(whole, last, shapes.of)
    _cut(traced.graph, end)
    features = fx.GraphModule(whole, traced.graph, class_name="Features")  # takes only the layers that are still used
    result = GapCnn(features, shapes.of[end][1], num_classes).to(first.weight)
    return result.train(module.training)


def _layer(module: nn.Module, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _choose(convolutions: list[fx.Node], name: str | None, network: str) -> fx.Node:
    names = [str(node.target) for node in convolutions]
    if not names:
        raise UsageError(f"{network} has no nn.Conv2d, so there are no maps to pool")
    if name is None:
        inside = [node for node in convolutions if str(node.target).startswith("features.")]
        return (inside or convolutions)[-1]
    if name not in names:
        raise UsageError(f"{network} runs no convolution called {name!r}; its last ones are: {', '.join(names[-5:])}")
    return convolutions[len(names) - 1 - names[::-1].index(name)]


class _Shapes(fx.Interpreter):
    """Runs a traced network and notes the shape of each tensor."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.of: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> object:  # torch calls the argument by this name
        """Run one node."""
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.of[n] = tuple(result.shape)
        return result


def _follow(module: nn.Module, node: fx.Node, shapes: dict[fx.Node, tuple[int, ...]]) -> fx.Node:
    """Return the last node behind a convolution that still gives its map."""
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


def _cut(graph: fx.Graph, end: fx.Node) -> None:
    """Let a graph end at a node."""
    for output in graph.find_nodes(op="output"):
        graph.erase_node(output)
    graph.output(end)
    graph.eliminate_dead_code()
    graph.lint()
