"""Embedding, output layer, positions, feed-forward layer, normalisation and residual connection."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from transformer.nn.dropout import dropout
from transformer.nn.precision import Precision, summed

_glorot = nnx.initializers.glorot_uniform()

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=True),
    "gelu_exact": partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
}
"""Elementwise activations. gelu is the tanh approximation (Hendrycks and Gimpel 2016, section 2), gelu_exact the
normal distribution function itself; silu is x sigmoid(x)."""

NORMS: dict[str, type[nnx.LayerNorm] | type[nnx.RMSNorm]] = {"layer": nnx.LayerNorm, "rms": nnx.RMSNorm}
"""LayerNorm (Ba 2016), and RMSNorm, which neither centres nor shifts (Zhang and Sennrich 2019)."""

GATED = {"swiglu": jax.nn.silu}
"""Gated units act(x W) * (x V), by the activation of the gate (Shazeer 2020, equation 6)."""


def sinusoids(length: int, width: int) -> Float[np.ndarray, "T D"]:
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos of the same (Vaswani 2017, section 3.5)."""
    position, pair = np.arange(length)[:, None], np.arange(0, width, 2)[None, :]
    angle = position / 10_000 ** (pair / width)
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(length, -1)[:, :width].astype(np.float32)


class Embedding(nnx.Module):
    """Token embeddings times sqrt(D) (Vaswani 2017, section 3.4), so that a tied table has one scale at both ends;
    without `scaled` they are the rows of the table."""

    def __init__(
        self, vocabulary: int, width: int, *, rngs: nnx.Rngs, precision: Precision = "float32", scaled: bool = True
    ):
        self.table = nnx.Param(jax.random.normal(rngs.params(), (vocabulary, width)) * width**-0.5)
        self.precision = precision  # of the vectors returned; every later layer computes in its input's precision
        self.scaled = scaled

    def __call__(self, tokens: Int[Array, "*B"]) -> Float[Array, "*B D"]:
        rows = self.table[...][tokens]
        return (rows * self.table.shape[-1] ** 0.5 if self.scaled else rows).astype(self.precision)


class Output(nnx.Module):
    """Logits by inner product with an embedding: its own, or a model's input embedding (Press and Wolf 2017).

    Logits are float32 for hidden states of any precision.
    """

    def __init__(self, embedding: Embedding, *, bias: bool = False):
        self.embedding = embedding
        self.bias = nnx.Param(jnp.zeros(embedding.table.shape[0])) if bias else None

    def __call__(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        logits = summed(jnp.matmul, hidden, self.embedding.table[...].T.astype(hidden.dtype))
        return logits if self.bias is None else logits + jnp.broadcast_to(self.bias[...], logits.shape)


class Positions(nnx.Module):
    """Adds a vector for each position: `kind` sinusoidal (constant), or learned. Other kinds add nothing here."""

    def __init__(self, kind: str, length: int, width: int, *, rngs: nnx.Rngs):
        self.kind, self.length, self.width = kind, length, width
        self.learned = (
            nnx.Param(jax.random.normal(rngs.params(), (length, width)) * 0.02) if kind == "learned" else None
        )

    def __call__(self, x: Float[Array, "B T D"], position: Int[Array, "B T"] | None = None) -> Float[Array, "B T D"]:
        """Tokens of x are at positions 0..T-1 of their row; or each at its own `position`."""
        if self.kind not in ("sinusoidal", "learned"):
            return x
        table = sinusoids(self.length, self.width) if self.learned is None else self.learned[...]
        if position is None:
            return (x + table[None, : x.shape[1]]).astype(x.dtype)
        return (x + jnp.asarray(table)[position]).astype(x.dtype)


class FeedForward(nnx.Module):
    """Two linear maps with an activation between them (Vaswani 2017, section 3.3), or a gated unit (Shazeer 2020)."""

    def __init__(self, width: int, inner: int, activation: str = "relu", rate: float = 0.0, *, rngs: nnx.Rngs):
        """
        Args:
            width: of the input and the output, D.
            inner: width between the two maps, F.
            activation: an entry of `ACTIVATIONS` or `GATED`.
            rate: dropout after the activation.
            rngs: of the parameters.
        """
        self.inner = nnx.Param(_glorot(rngs.params(), (width, inner)))
        self.inner_bias = nnx.Param(jnp.zeros(inner))
        self.gate = nnx.Param(_glorot(rngs.params(), (width, inner))) if activation in GATED else None
        self.outer = nnx.Param(_glorot(rngs.params(), (inner, width)))
        self.outer_bias = nnx.Param(jnp.zeros(width))
        self.activation, self.rate = activation, rate

    def __call__(self, x: Float[Array, "B T D"], key: PRNGKeyArray | None = None) -> Float[Array, "B T D"]:
        # Biases are added in float32: their gradients are sums over all tokens.
        inner = (x @ self.inner[...].astype(x.dtype) + self.inner_bias[...][None, None]).astype(x.dtype)
        if self.gate is not None:
            inner = GATED[self.activation](x @ self.gate[...].astype(x.dtype)) * inner
        else:
            inner = ACTIVATIONS[self.activation](inner)
        outer = dropout(inner, self.rate, key) @ self.outer[...].astype(x.dtype)
        return (outer + self.outer_bias[...][None, None]).astype(x.dtype)


class Residual(nnx.Module):
    """A residual connection around a sub-layer f, its norm computed in float32.

    post-norm, the paper's: LayerNorm(x + dropout(f(x))); pre-norm: x + dropout(f(LayerNorm(x))). The caller writes
    `y = f(residual.enter(x))` and `x = residual.add(x, y, key)`.
    """

    def __init__(
        self, width: int, *, pre: bool, rate: float, kind: str = "layer", epsilon: float = 1e-6, rngs: nnx.Rngs
    ):
        """
        Args:
            width: of x, D.
            pre: pre-norm instead of post-norm.
            rate: dropout on the sub-layer's output.
            kind: an entry of `NORMS`.
            epsilon: added to the variance, or to the mean square, by the norm.
            rngs: of the parameters.
        """
        self.norm = NORMS[kind](width, epsilon=epsilon, rngs=rngs)
        self.pre, self.rate = pre, rate

    def enter(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """The input of the sub-layer."""
        return self.norm(x).astype(x.dtype) if self.pre else x

    def add(self, x: Float[Array, "B T D"], y: Float[Array, "B T D"], key: PRNGKeyArray | None) -> Array:
        """The output of the connection, y being the sub-layer's output."""
        x = x + dropout(y, self.rate, key)
        return x if self.pre else self.norm(x).astype(x.dtype)


def final_norm(width: int, kind: str = "layer", *, epsilon: float = 1e-6) -> nnx.LayerNorm | nnx.RMSNorm:
    """The last norm of a pre-norm stack. It is initialised with ones and zeros, without randomness."""
    return NORMS[kind](width, epsilon=epsilon, rngs=nnx.Rngs(0))
