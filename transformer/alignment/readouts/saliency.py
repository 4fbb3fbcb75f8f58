"""How the log-probability of a target token changes with the embeddings of the source.

Ding et al. 2019, "Saliency-driven Word Alignment Interpretation for Neural Machine Translation": the saliency of a
source token is the product of its embedding and the gradient with respect to it (section 4.1), which is also the
derivative with respect to a factor of 1 before the embedding. The gradient of a probability differs from that of its
logarithm by one factor for the whole row. A negative value means that the token makes the word less likely.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.alignment.readouts.shares import shares
from transformer.nn.losses import cross_entropy

STEPS = 16
"""Points of the integral."""
SAMPLES = 8
"""Noisy embeddings that are averaged (Ding et al. 2019: 30)."""
NOISE = 0.15
"""Standard deviation of the noise, as a share of the range of the sentence's embeddings (Ding et al. 2019, section
5)."""
CHUNK = 512
"""Tokens whose logits are held at once."""


def gradient_input(model: Any, source: Array, target_in: Array, target_out: Array) -> Float[Array, "B T S"]:
    """Gradient times input, at the embeddings as they are."""
    saliency, embedded = _saliency(model, source, target_in, target_out), model.embed(source)
    return saliency(embedded, embedded)


def integrated(model: Any, source: Array, target_in: Array, target_out: Array) -> Float[Array, "B T S"]:
    """Integrated gradients from embeddings of zero (Sundararajan et al. 2017, equation 1), by the midpoint rule.

    A row sums to the difference between the log-probability with the source's embeddings and with embeddings of zero.
    """
    saliency = _saliency(model, source, target_in, target_out)
    embedded = model.embed(source)

    def add(step: Array, total: Array) -> Array:
        return total + saliency((step + 0.5) / STEPS * embedded, embedded)

    return jax.lax.fori_loop(0, STEPS, add, _zeros(source, target_in)) / STEPS


def smooth_gradient(model: Any, source: Array, target_in: Array, target_out: Array) -> Float[Array, "B T S"]:
    """SmoothGrad (Smilkov et al. 2017): the mean saliency under normal noise on the embeddings.

    The gradient is that at the noisy embeddings; its factor is the embedding without noise, because noise times
    gradient would dominate. Each sample's rows become shares before they are averaged, as in the code of Ding et al.
    2019.
    """
    saliency = _saliency(model, source, target_in, target_out)
    embedded, real = model.embed(source), (source != 0)[..., None]
    high = jnp.where(real, embedded, -jnp.inf).max((1, 2), keepdims=True)
    low = jnp.where(real, embedded, jnp.inf).min((1, 2), keepdims=True)

    def add(sample: Array, total: Array) -> Array:
        key = jax.random.fold_in(jax.random.key(0), sample)
        # The same noise for every sentence: a read-out does not depend on the sentence's position in a batch.
        noise = jax.random.normal(key, embedded.shape[1:])[None] * NOISE * (high - low)
        found = saliency(embedded + noise.astype(embedded.dtype), embedded)
        return total + shares(jnp.where(source[:, None] != 0, found, 0))

    return jax.lax.fori_loop(0, SAMPLES, add, _zeros(source, target_in)) / SAMPLES


def _zeros(source: Int[Array, "B S"], target_in: Int[Array, "B T"]) -> Float[Array, "B T S"]:
    return jnp.zeros((*target_in.shape, source.shape[1]))


def _saliency(model: Any, source: Array, target_in: Array, target_out: Array) -> Callable[[Array, Array], Array]:
    """A function from embeddings [B, S, X], and the factors of the gradient at them, to the saliency [B, T, S]."""

    def hidden(embedded: Array) -> Array:
        states: Array = model.decode(model.encode(source, embedded=embedded), target_in)[0]
        return states

    def loss(states: Array) -> Array:
        return cross_entropy(model.output, states, target_out, chunk=CHUNK)[0]

    def saliency(embedded: Array, factors: Array) -> Array:
        states, pull = jax.vjp(hidden, embedded)
        # The loss of a token depends on its own state only: one gradient suffices for all rows.
        by_state = -jax.grad(loss)(states)

        def row(t: Array) -> Array:
            here = jnp.arange(states.shape[1]) == t
            (by_embedding,) = pull(jnp.where(here[None, :, None], by_state, 0))
            return (by_embedding * factors).sum(-1).astype(jnp.float32)

        return jax.lax.map(row, jnp.arange(states.shape[1])).swapaxes(0, 1)

    return saliency
