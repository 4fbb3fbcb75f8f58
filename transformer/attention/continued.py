"""Self-attention that continues a given prefix: one normalizer over the prefix and the tokens after it.

For all tokens at once, the keys of both are concatenated, and `places` gives their positions. This module has the step
of a search, in which the hypotheses of a sentence share the prefix and have their own histories.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from transformer.attention.attend import weigh
from transformer.attention.mechanism import context_along_beam
from transformer.attention.multihead import MultiHead, with_bias
from transformer.attention.scores import SCORES


class Prefix(NamedTuple):
    """Keys and values of the prefix of each sentence; G heads of keys and values, see `attention.multihead`."""

    keys: Float[Array, "B G S P"]
    values: Float[Array, "B G S K"]
    mask: Bool[Array, "B S"]


def attend_after_prefix(
    attention: MultiHead,
    x: Float[Array, "B N D"],
    prefix: Prefix,
    keys: Float[Array, "B G N T P"],
    values: Float[Array, "B G N T K"],
    path: Bool[Array, "B N N T"] | None,
    written: Int[Array, "B"],
    change: Callable[[Array], Array] | None = None,
) -> tuple[Float[Array, "B N D"], Float[Array, "B H N R"]]:
    """The newest token of each of N hypotheses; see `Mechanism.attend_along_beam`.

    Args:
        attention: the layer's.
        x: the newest token.
        prefix: of each sentence.
        keys: of the tokens after it, the newest included.
        values: the same.
        path: which hypothesis wrote them.
        written: number of tokens after the prefix, without the newest.
        change: of the weights on the prefix, before they are used; None: they stay.

    Returns:
        The attended values, and the weights on the S tokens of the prefix and the T after it, R = S + T.
    """
    (B, N, _), S, T, mechanism = x.shape, prefix.keys.shape[-2], keys.shape[-2], attention.mechanism
    begin = prefix.mask.sum(-1, keepdims=True)
    position = jnp.broadcast_to(begin + written[:, None], (B, N))
    places = jnp.concatenate([jnp.broadcast_to(jnp.arange(S)[None], (B, S)), begin + jnp.arange(T)[None]], 1)
    query = with_bias(jnp.einsum("bnd,dhk->bhnk", x, attention.query[...].astype(x.dtype)), attention.query_bias)
    query, bias = attention._at(query, position, places, None)
    before, own = map(attention.for_queries, (prefix.keys, keys))
    of_prefix = mechanism._by_head(SCORES[mechanism.score].energies, mechanism.score_weights, query, before)
    every = jnp.concatenate([of_prefix, mechanism._own_energies(query, own, path)], -1)
    if bias is not None:
        every = every + bias
    mask = jnp.concatenate([prefix.mask, jnp.arange(T)[None] <= written[:, None]], 1)[:, None, None]
    visible, gain = mechanism._window(query, position, None, S + T, places)
    weights = weigh(every, mask if visible is None else mask & visible, mechanism._normalize)
    if gain is not None:
        weights = weights * gain
    if change is not None:
        weights = jnp.concatenate([change(weights[..., :S]), weights[..., S:]], -1)
    before, own = map(attention.for_queries, (prefix.values, values))
    used = weights.astype(values.dtype)
    context = jnp.einsum("bhns,bhsk->bhnk", used[..., :S], before)
    context = context + context_along_beam(used[..., S:], own, path)
    joined = jnp.einsum("bhnk,hkd->bnd", context, attention.output[...].astype(x.dtype))
    return with_bias(joined, attention.output_bias), weights
