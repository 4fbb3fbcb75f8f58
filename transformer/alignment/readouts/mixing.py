"""How much of each source token is left in the states that predict the target, through all layers.

An attention mixes its inputs, and the residual connection keeps a part of the state that enters it. If each layer is
summarised by a matrix of shares whose rows sum to 1, the shares of the source tokens in any state are products of these
matrices. For the encoder (Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", equation 1), with R_0
the identity:

    R_l = M_l R_(l-1)

The decoder's states mix source and target. With C_l the shares of the source tokens and P_l those of the tokens of the
prefix, C_0 zero, P_0 the identity, M_l the shares of the self-attention, A_l those of the attention to the source, and
r_l those of its residual connection (Ferrando et al. 2022, "Towards Opening the Black Box of Neural Machine
Translation: Source and Target Interpretations of the Transformer"):

    C_l = r_l M_l C_(l-1) + A_l R        P_l = r_l M_l P_(l-1)

The rows of C and P together sum to 1. Rollout takes half of the mean attention of the heads and half of the residual
connection: M = W/2 + I/2, A = W/2, r = 1/2. (Where the weights of a row sum to w, not to 1, the shares are w and 1
out of w + 1.) ALTI+ measures the shares: see `contributions`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from transformer.models.interface import Summands


class Trace(NamedTuple):
    """The attentions of a forward pass, each list from the first layer to the last."""

    encoder: list[Summands]
    decoder: list[Summands]
    cross: list[Summands]


class Shares(NamedTuple):
    """Shares in the output of an attention with its residual connection; each row of both together sums to 1."""

    attended: Float[Array, "B T N"]
    """The share of each position."""
    residual: Float[Array, "B T"]
    """The share of the residual connection; zero if it is counted as the position itself."""


def rollout(trace: Trace) -> Float[Array, "B L 1 T S"]:
    """Shares of the source tokens in the state after each decoder layer, by attention weights."""
    return _mix(trace, halves)


def alti(trace: Trace) -> Float[Array, "B L 1 T S"]:
    """Shares of the source tokens in the state after each decoder layer, by what the vectors contribute (ALTI+)."""
    return _mix(trace, contributions)


def halves(layer: Summands, own: bool) -> Shares:
    """The mean of the heads' weights, and 1 for the residual connection, normalised: half each if the weights sum to 1.

    Args:
        layer: an attention.
        own: a self-attention, whose residual connection is the position itself.
    """
    weights = layer.weights.mean(1)
    kept = 1 / (weights.sum(-1) + 1)
    if own:
        return Shares((weights + jnp.eye(weights.shape[-1])[None]) * kept[..., None], jnp.zeros_like(kept))
    return Shares(weights * kept[..., None], kept)


def contributions(layer: Summands, own: bool) -> Shares:
    """Shares by how near each summand is to the output (Ferrando et al. 2022, "Measuring the Mixing of Contextual
    Information in the Transformer").

    The share of a summand z of the output y is max(0, |y|_1 - |y - z|_1), divided by the sum of this over all summands.
    Where a norm follows, y and z are taken after it: with the standard deviation, or the root mean square, of the whole
    it is linear. Its bias is left out, because it belongs to no summand.

    Args:
        layer: an attention.
        own: a self-attention, whose residual connection is added to the summand of the position itself.
    """
    gain, rms_gain = layer.gain, layer.rms_gain

    def of_sentence(layer: Summands) -> Shares:
        parts, residual = jnp.einsum("htn,hnd->tnd", layer.weights, layer.values), layer.residual
        assert residual is not None
        if own:
            here = jnp.arange(len(residual))
            parts, residual = parts.at[here, here].add(residual), jnp.zeros_like(residual)
        if gain is not None:
            scale = gain[None] / jnp.maximum((parts.sum(1) + residual).std(-1, keepdims=True), 1e-6)
            parts = (parts - parts.mean(-1, keepdims=True)) * scale[:, None]
            residual = (residual - residual.mean(-1, keepdims=True)) * scale
        if rms_gain is not None:
            size = jnp.sqrt(((parts.sum(1) + residual) ** 2).mean(-1, keepdims=True))
            scale = rms_gain[None] / jnp.maximum(size, 1e-6)
            parts, residual = parts * scale[:, None], residual * scale
        total = parts.sum(1) + residual
        size = jnp.abs(total).sum(-1)
        near = jnp.maximum(0, size[:, None] - jnp.abs(total[:, None] - parts).sum(-1))
        kept = jnp.maximum(0, size - jnp.abs(total - residual).sum(-1))
        every = jnp.maximum(near.sum(-1) + kept, 1e-30)
        return Shares(near / every[:, None], kept / every)

    # Sentence by sentence: each needs an array [T, N, D].
    shares: Shares = jax.lax.map(of_sentence, layer._replace(gain=None, rms_gain=None))
    return shares


def _mix(trace: Trace, shares: Callable[[Summands, bool], Shares]) -> Float[Array, "B L 1 T S"]:
    B, _, T, S = trace.cross[0].weights.shape
    source = jnp.broadcast_to(jnp.eye(S)[None], (B, S, S))
    for layer in trace.encoder:
        source = shares(layer, True).attended @ source
    mixed, after = jnp.zeros((B, T, S)), []
    for own, cross in zip(trace.decoder, trace.cross, strict=True):
        attended, residual = shares(cross, False)
        mixed = residual[..., None] * (shares(own, True).attended @ mixed) + attended @ source
        after.append(mixed)
    return jnp.stack(after, axis=1)[:, :, None]
