"""Record the class activation maps of a network with a linear head while its owner runs it, without hooks inside it."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
_TOLERANCE: Final = 2e-2
"""Largest difference of the pooled maps from the linear layer's input, in shares of the largest; AMP rounds."""
_MEANS: Final = (aten.mean, aten._adaptive_avg_pool2d, aten.adaptive_avg_pool2d, aten.avg_pool2d)
_PRODUCTS: Final = (aten.addmm, aten.mm, aten.linear)


@dataclass(frozen=True, slots=True)
class RecordedHead:
    """The pooled maps and the linear layer of one run."""

    features: torch.Tensor
    """(N, C, h, w)."""
    weight: torch.Tensor
    """(K, C)."""
    logits: torch.Tensor
    """(N, K)."""

    def maps(self, classes: torch.Tensor) -> torch.Tensor:
        """Return the map of one class for each image: float32 (n, h, w), of the first n images.

        Args:
            classes: (n,) class numbers.
        """
        count = len(classes)
        rows = self.weight[classes].float()
        # Not a matrix product: automatic mixed precision, which may be active here, would round it.
        return (self.features[:count].float() * rows[:, :, None, None]).sum(dim=1)


class MapRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch has no types here
    """Watches the operators of a network that runs: averages over maps, and the linear layers that read them.

    It sees plain torch, automatic mixed precision and replicas; `torch.compile` hides the operators, so a compiled
    network must run eagerly meanwhile.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pooled: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._products: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        if operator in _MEANS and args[0].ndim == 4 and _is_global(func, args, result):
            self._pooled.append((args[0].detach(), result.detach()))
        elif operator is aten.addmm:
            self._products.append((args[1].detach(), args[2].detach().t(), result.detach()))
        elif operator is aten.mm:
            self._products.append((args[0].detach(), args[1].detach().t(), result.detach()))
        elif operator is aten.linear:
            self._products.append((args[0].detach(), args[1].detach(), result.detach()))
        return result

    def head(self) -> RecordedHead | None:
        """Return the last linear layer that reads the mean of maps; None: the network has no such head."""
        for entry, weight, output in reversed(self._products):
            for features, pooled in reversed(self._pooled):
                if entry.shape != pooled.shape[:2]:
                    continue
                scale = float(entry.abs().max()) or 1.0
                if float((entry.float() - pooled.reshape(entry.shape).float()).abs().max()) <= _TOLERANCE * scale:
                    return RecordedHead(features, weight, output)
        return None


def _is_global(func: Any, args: Any, result: torch.Tensor) -> bool:
    if func.overloadpacket is aten.mean:
        return len(args) > 1 and {axis % 4 for axis in args[1]} == {2, 3}
    return tuple(result.shape[2:]) == (1, 1)
