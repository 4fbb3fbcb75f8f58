"""What the Transformer's layers are made of besides attention: embedding, positions, feed-forward, norms."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from transformer.models.transformer import config
from transformer.nn.dropout import dropout
from transformer.nn.precision import summed
from transformer.nn.remat import remat

_glorot = nnx.initializers.glorot_uniform()


def sinusoids(length: int, width: int) -> Float[np.ndarray, "T D"]:
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos of the same (Vaswani 2017, section 3.5)."""
    position, pair = np.arange(length)[:, None], np.arange(0, width, 2)[None, :]
    angle = position / 10_000 ** (pair / width)
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(length, -1)[:, :width].astype(np.float32)


class Embedding(nnx.Module):
    """Token embeddings times sqrt(D) (Vaswani 2017, section 3.4), so that tying keeps both ends in scale."""

    def __init__(self, vocabulary: int, width: int, *, rngs: nnx.Rngs):
        self.table = nnx.Param(jax.random.normal(rngs.params(), (vocabulary, width)) * width**-0.5)
        self.precision = "float32"  # a training's own; all that follows computes in that of what it is given

    def __call__(self, tokens: Int[Array, "*B"]) -> Float[Array, "*B D"]:
        return (self.table[...][tokens] * self.table.shape[-1] ** 0.5).astype(self.precision)


class Output(nnx.Module):
    """Logits by inner product with an embedding: its own, or a model's input embedding (Press and Wolf 2017).

    They are float32, whatever the hidden states.
    """

    def __init__(self, embedding: Embedding, *, bias: bool = False):
        self.embedding = embedding
        self.bias = nnx.Param(jnp.zeros(embedding.table.shape[0])) if bias else None

    def __call__(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        logits = summed(jnp.matmul, hidden, self.embedding.table[...].T.astype(hidden.dtype))
        return logits if self.bias is None else logits + jnp.broadcast_to(self.bias[...], logits.shape)


class Positions(nnx.Module):
    """Adds the position to each embedding: sinusoids, or learned vectors."""

    def __init__(self, kind: str, length: int, width: int, *, rngs: nnx.Rngs):
        self.length, self.width = length, width
        self.learned = (
            nnx.Param(jax.random.normal(rngs.params(), (length, width)) * 0.02) if kind == "learned" else None
        )

    def __call__(self, x: Float[Array, "B T D"], position: Int[Array, "B"] | None = None) -> Float[Array, "B T D"]:
        """Rows of x stand at 0..T-1; or, one token each (T = 1), at `position`."""
        table = sinusoids(self.length, self.width) if self.learned is None else self.learned[...]
        if position is None:
            return (x + table[None, : x.shape[1]]).astype(x.dtype)
        return (x + jnp.asarray(table)[position][:, None]).astype(x.dtype)


class FeedForward(nnx.Module):
    """Two linear maps with a non-linearity between (Vaswani 2017, section 3.3; swiglu: Shazeer 2020)."""

    def __init__(self, model: config.Transformer, *, rngs: nnx.Rngs):
        D, F = model.width, model.feedforward
        self.inner = nnx.Param(_glorot(rngs.params(), (D, F)))
        self.inner_bias = nnx.Param(jnp.zeros(F))
        self.gate = nnx.Param(_glorot(rngs.params(), (D, F))) if model.activation == "swiglu" else None
        self.outer = nnx.Param(_glorot(rngs.params(), (F, D)))
        self.outer_bias = nnx.Param(jnp.zeros(D))
        self.activation = model.activation
        self.dropout = model.feedforward_dropout

    def __call__(self, x: Float[Array, "B T D"], key: PRNGKeyArray | None = None) -> Float[Array, "B T D"]:
        # Biases are added in float32: backward they are sums over all tokens.
        inner = (x @ self.inner[...].astype(x.dtype) + self.inner_bias[...][None, None]).astype(x.dtype)
        if self.gate is not None:
            inner = jax.nn.silu(x @ self.gate[...].astype(x.dtype)) * inner
        else:
            inner = jax.nn.relu(inner) if self.activation == "relu" else jax.nn.gelu(inner)
        outer = dropout(inner, self.dropout, key) @ self.outer[...].astype(x.dtype)
        return (outer + self.outer_bias[...][None, None]).astype(x.dtype)


class Residual(nnx.Module):
    """x + dropout(f(x)) with the norm after (post, the paper's) or before f (pre), the norm in float32."""

    def __init__(self, model: config.Transformer, *, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(model.width, rngs=rngs)
        self.pre = model.norm == "pre"
        self.dropout = model.dropout

    def __call__(
        self,
        x: Float[Array, "B T D"],
        sublayer: Callable[[Array], tuple[Array, Any]],
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "B T D"], Any]:
        """The sub-layer returns its output and anything else (weights, a cache), which is handed through."""
        y, extra = sublayer(self.norm(x).astype(x.dtype) if self.pre else x)
        x = x + dropout(y, self.dropout, key)
        return x if self.pre else self.norm(x).astype(x.dtype), extra


def stack(make: Callable[[nnx.Rngs], nnx.Module], depth: int, rngs: nnx.Rngs) -> Any:
    """`depth` layers as one module whose parameters lead with an axis [L, ...]."""
    return nnx.vmap(make, in_axes=0, out_axes=0)(rngs.split(depth))


def unstack(layers: Any) -> list[Any]:
    """The layers of a stack one by one."""
    graph, parameters = nnx.split(layers)
    depth = jax.tree.leaves(parameters)[0].shape[0]
    return [nnx.merge(graph, jax.tree.map(lambda p, i=i: p[i], parameters)) for i in range(depth)]


def run(
    layers: nnx.Module,
    body: Callable[[Any, Array, PRNGKeyArray | None, Any], tuple[Array, Any]],
    x: Array,
    key: PRNGKeyArray | None,
    each: Any = None,
    *,
    unroll: bool = False,
    how: str = "none",
) -> tuple[Array, Any]:
    """Run a stack from the first layer to the last by one `lax.scan`.

    Args:
        layers: what `stack` made.
        body: (layer, x, key, each layer's own input) -> (x, what to collect).
        x: the input of the first layer.
        key: split over the layers; None for no dropout.
        each: a pytree that leads with [L, ...], handed to `body` layer by layer.
        unroll: XLA sees all layers at once; slower to compile, the same mathematics.
        how: what the backward pass computes again, as `remat` says.

    Returns:
        The last layer's output, and what was collected, stacked [L, ...].
    """
    graph, parameters = nnx.split(layers)
    depth = jax.tree.leaves(parameters)[0].shape[0]
    keys = None if key is None else jax.random.split(key, depth)

    def step(x: Array, layer: tuple[Any, Any, Any]) -> tuple[Array, Any]:
        parameters, key, own = layer
        return body(nnx.merge(graph, parameters), x, key, own)

    one = remat(step, how, unrolled=unroll)
    return jax.lax.scan(one, x, (parameters, keys, each), unroll=depth if unroll else 1)


def keys_for(key: PRNGKeyArray | None, count: int) -> list[PRNGKeyArray | None]:
    """Independent keys for the dropouts of one layer; all None where there is no key."""
    return [None] * count if key is None else list(jax.random.split(key, count))
