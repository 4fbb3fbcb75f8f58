"""The rest of a layer, without attention, in NumPy: normalisation, residual connection and feed-forward network.

Letters: N tokens, D width of the model, F inner width of the feed-forward network.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from transformer.explain.numbers import activate, array


@dataclass(frozen=True)
class Norm:
    """LayerNorm (Ba 2016): each token's numbers get mean 0 and variance 1, then a learned scale and shift."""

    mean: Float[np.ndarray, "N"]
    deviation: Float[np.ndarray, "N"]
    """Standard deviation: the root of the variance plus a small constant."""
    scale: Float[np.ndarray, "D"]
    shift: Float[np.ndarray, "D"]
    output: Float[np.ndarray, "N D"]
    """(x - mean) / deviation * scale + shift."""


@dataclass(frozen=True)
class Residual:
    """The residual connection around a sub-layer f.

    post-norm: LayerNorm(x + f(x)), as in the paper (Vaswani 2017, section 3.1); pre-norm: x + f(LayerNorm(x)).
    """

    before: Float[np.ndarray, "N D"]
    """x."""
    entry: Norm | None
    """The norm of x, which the sub-layer reads; None with post-norm, where it reads x."""
    total: Float[np.ndarray, "N D"]
    """x + f."""
    norm: Norm | None
    """The norm of the sum; None with pre-norm."""

    @property
    def after(self) -> Float[np.ndarray, "N D"]:
        """The output."""
        return self.total if self.norm is None else self.norm.output


@dataclass(frozen=True)
class FeedForward:
    """Two linear maps with an activation between them (Vaswani 2017, section 3.3)."""

    activation: str
    inner: Float[np.ndarray, "N F"]
    """x W_1 + b_1."""
    gate: Float[np.ndarray, "N F"] | None
    """x V of a gated unit, whose activation multiplies the inner numbers (Shazeer 2020); None elsewhere."""
    hidden: Float[np.ndarray, "N F"]
    """After the activation."""
    output: Float[np.ndarray, "N D"]
    """hidden W_2 + b_2."""


def normalise(norm: Any, x: Float[np.ndarray, "N D"]) -> Norm:
    """A LayerNorm of the model, computed."""
    mean = x.mean(-1)
    deviation = np.sqrt(((x - mean[:, None]) ** 2).mean(-1) + norm.epsilon)
    scale, shift = array(norm.scale), array(norm.bias)
    return Norm(mean, deviation, scale, shift, (x - mean[:, None]) / deviation[:, None] * scale + shift)


def entered(residual: Any, x: Float[np.ndarray, "N D"]) -> Norm | None:
    """The norm before a sub-layer; None with post-norm."""
    return normalise(residual.norm, x) if residual.pre else None


def added(residual: Any, x: Float[np.ndarray, "N D"], entry: Norm | None, y: Float[np.ndarray, "N D"]) -> Residual:
    """The connection around a sub-layer, y being the sub-layer's output."""
    return Residual(x, entry, x + y, None if residual.pre else normalise(residual.norm, x + y))


def feed_forward(module: Any, x: Float[np.ndarray, "N D"]) -> FeedForward:
    """A feed-forward network of the model, computed."""
    inner = x @ array(module.inner) + array(module.inner_bias)
    gate = None if module.gate is None else x @ array(module.gate)
    hidden = activate(module.activation, inner) if gate is None else activate(module.activation, gate) * inner
    output = hidden @ array(module.outer) + array(module.outer_bias)
    return FeedForward(module.activation, inner, gate, hidden, output)
