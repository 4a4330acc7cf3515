"""Affine functions between pooled numbers and logits: weights, bias, and the rounding inside."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from camrt.export.graph.data_movement import QdqPair

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dense:
    """Weights of a linear layer."""

    weights: F64
    """[K, C]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(K, C)."""
        return self.weights.shape

    def largest_row_sum(self) -> float:
        """Return the largest change of an output when every input changes by at most 1."""
        return float(np.abs(self.weights).sum(axis=1).max())


@dataclass(frozen=True, slots=True)
class Diagonal:
    """Factors that scale each channel by itself: no linear layer."""

    factors: F64
    """[C]; [1]: the same for every channel."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(C,) or (1,)."""
        return self.factors.shape

    def largest_row_sum(self) -> float:
        """Return the largest change of an output when every input changes by at most 1."""
        return float(np.abs(self.factors).max())


LinearMap = Dense | Diagonal


def _compose(second: LinearMap, first: LinearMap) -> LinearMap:
    """Return the map that applies ``first``, then ``second``."""
    if isinstance(second, Dense):
        return Dense(second.weights @ first.weights if isinstance(first, Dense) else second.weights * first.factors)
    if isinstance(first, Dense):
        return Dense(second.factors[:, None] * first.weights)
    return Diagonal(second.factors * first.factors)


def add_linear(first: LinearMap, second: LinearMap, sign: float) -> LinearMap | None:
    """Return first + sign * second; None: they are of different kinds."""
    if isinstance(first, Dense) and isinstance(second, Dense):
        return Dense(first.weights + sign * second.weights)
    if isinstance(first, Diagonal) and isinstance(second, Diagonal):
        return Diagonal(first.factors + sign * second.factors)
    return None


@dataclass(frozen=True, slots=True)
class Rounding:
    """A QDQ pair before or inside the affine function."""

    qdq_pair: QdqPair
    after: LinearMap
    """From the pair to the logits."""
    on_data: bool
    """The pair rounds the pooled numbers themselves: nothing comes before it."""


@dataclass(frozen=True, slots=True)
class Affine:
    """output = linear @ data + bias, all of it constant."""

    data: str
    """The input tensor, [N, C] with any number of axes of length 1."""
    linear: LinearMap
    bias: F64
    """[K], or [1] for every class."""
    weights_tensor: str | None = None
    """The tensor of the graph that holds `weights`, as [K, C], [C, K] or [K, C, 1, 1], where there is one."""
    weights_transposed: bool = False
    """`weights_tensor` is [C, K]."""
    roundings: tuple[Rounding, ...] = ()

    @property
    def is_layer(self) -> bool:
        """True with a linear layer, False with factors and addends only."""
        return isinstance(self.linear, Dense)

    @property
    def weights(self) -> F64:
        """[K, C] of the linear layer; only where `is_layer`."""
        assert isinstance(self.linear, Dense)
        return self.linear.weights

    @property
    def scales_nothing(self) -> bool:
        """True where ``linear`` is the identity; there may be a bias."""
        return isinstance(self.linear, Diagonal) and bool((self.linear.factors == 1).all())

    def gives(self, count: int) -> bool:
        """Tell whether the output can have ``count`` numbers.

        It has fewer where factors of the channels of a map come before the map is flattened.
        """
        numbers = len(self.weights) if isinstance(self.linear, Dense) else self.linear.factors.size
        return numbers in (1, count) and self.bias.size in (1, count)

    def as_layer(self, classes: int) -> "Affine":
        """Return the same function with a linear layer in place of factors."""
        if not isinstance(self.linear, Diagonal):
            return self
        factors = np.broadcast_to(self.linear.factors, classes)
        return replace(self, linear=Dense(np.diag(factors)), bias=np.broadcast_to(self.bias, classes))

    def rounding_bound(self, pooled: F64) -> float:
        """Return the largest change of a logit that rounding in the QDQ pairs can cause.

        A pair rounds to a multiple of its step, so it changes a number by at most half a step. Logit k changes by at
        most that times the sum of |after[k]|. A second pair on the same grid changes nothing.

        Args:
            pooled: (N, C), the pooled numbers; they give the step of a dynamic pair.
        """
        bounds = {}
        for rounding in self.roundings:
            step = rounding.qdq_pair.step
            if step is None:
                step = float(max(pooled.max(), 0) - min(pooled.min(), 0)) / 255
            bounds[step, rounding.after.shape] = step / 2 * rounding.after.largest_row_sum()
        return sum(bounds.values())

    def clip_pooled(self, pooled: F64) -> F64:
        """Clip pooled numbers to the ranges of the QDQ pairs on them, as the graph does."""
        for rounding in self.roundings:
            if rounding.on_data:
                pooled = np.clip(pooled, rounding.qdq_pair.low, rounding.qdq_pair.high)
        return pooled

    def then_scale(self, factor: F64, addend: F64) -> "Affine":
        """Return factor * self + addend, both [1] or one number a class."""
        unscaled = bool((factor == 1).all())
        scale = Diagonal(factor)
        return replace(
            self,
            linear=_compose(scale, self.linear),
            bias=factor * self.bias + addend,
            weights_tensor=self.weights_tensor if unscaled else None,
            roundings=tuple(replace(entry, after=_compose(scale, entry.after)) for entry in self.roundings),
        )

    def then_layer(self, weights: F64, bias: F64, weights_tensor: str | None, *, transposed: bool) -> "Affine":
        """Return weights @ self + bias.

        Args:
            weights: [K, C].
            bias: [K] or [1].
            weights_tensor: the graph's tensor of these weights.
            transposed: that tensor is [C, K].
        """
        layer = Dense(weights)
        return Affine(
            data=self.data,
            linear=_compose(layer, self.linear),
            bias=weights @ np.broadcast_to(self.bias, weights.shape[1]) + bias,
            weights_tensor=weights_tensor if self.scales_nothing else None,
            weights_transposed=transposed,
            roundings=tuple(replace(entry, after=_compose(layer, entry.after)) for entry in self.roundings),
        )

    def then_round(self, qdq_pairs: Sequence[QdqPair]) -> "Affine":
        """Return self followed by QDQ pairs."""
        on_data = self.scales_nothing and not self.roundings and not self.bias.any()
        new = tuple(Rounding(qdq_pair, Diagonal(np.ones(1)), on_data) for qdq_pair in qdq_pairs)
        return replace(self, roundings=self.roundings + new)
