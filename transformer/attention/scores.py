"""Compatibility of queries with keys: what attention mechanisms differ in.

Letters: Q width of a query, M width of the memory, A width of a hidden layer, P width of a projected key. Leading axes
(batch, heads) are free. `weights` are a score's own parameters, by name, in the query's precision; energies are summed
in float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from transformer.nn.precision import summed, widened
from transformer.plugins import Table

Weights: TypeAlias = Mapping[str, Array]
Start: TypeAlias = Callable[[PRNGKeyArray], Array]
"""Draws the initial value of a parameter from a key."""


class Sizes(NamedTuple):
    """Sizes that determine the shapes of the parameters of a score or a window."""

    query: int
    """Q."""
    memory: int
    """M."""
    hidden: int
    """A."""
    positions: int
    """Longest source that `location` scores, in tokens."""


def nothing(memory: Float[Array, "*B S M"], weights: Weights) -> Float[Array, "*B S M"]:
    """The memory itself as keys."""
    return memory


def none(sizes: Sizes) -> dict[str, Start]:
    """No parameters."""
    return {}


@dataclass(frozen=True)
class Score:
    """A function that compares queries with keys; an entry of `SCORES`."""

    energies: Callable[[Array, Array, Weights], Array]
    """(query [*B T Q], keys [*B S P], weights) -> [*B T S]."""
    weights: Callable[[Sizes], dict[str, Start]] = none
    """Its parameters and how they are drawn; one set for each head."""
    project: Callable[[Array, Weights], Array] = nothing
    """(memory [*B S M], weights) -> keys [*B S P]: everything that does not depend on the query, computed once
    for each sentence."""
    equal_widths: bool = False
    """Whether queries and memory must have equal widths."""
    pointwise: bool = False
    """Whether an energy depends only on its query and its key, not on their positions; a search is then faster."""


def matrix(rows: int, columns: int) -> Start:
    """Uniform, with a variance of 2 / (rows + columns) (Glorot and Bengio 2010)."""
    return lambda key: jax.nn.initializers.glorot_uniform()(key, (rows, columns))


def vector(width: int) -> Start:
    """Normal of variance 1 / width."""
    return lambda key: jax.random.normal(key, (width,)) * width**-0.5


def dot(query: Float[Array, "*B T K"], keys: Float[Array, "*B S K"], weights: Weights) -> Float[Array, "*B T S"]:
    """h_t · h_s (Luong 2015, section 3.1, "dot")."""
    return summed(partial(jnp.einsum, "...tk,...sk->...ts"), query, keys)


def scaled_dot(query: Float[Array, "*B T K"], keys: Float[Array, "*B S K"], weights: Weights) -> Float[Array, "*B T S"]:
    """Inner product over sqrt(K), so that its variance does not grow with K (Vaswani 2017, equation 1)."""
    return dot(query * query.shape[-1] ** -0.5, keys, weights)


def general_weights(sizes: Sizes) -> dict[str, Start]:
    """W_a [Q, M]."""
    return {"bilinear": matrix(sizes.query, sizes.memory)}


def general_keys(memory: Float[Array, "*B S M"], weights: Weights) -> Float[Array, "*B S Q"]:
    """W_a h_s: with it, h_t · W_a h_s (Luong 2015, section 3.1, "general") is an inner product."""
    return memory @ weights["bilinear"].T


def additive_weights(sizes: Sizes) -> dict[str, Start]:
    """W_a [Q, A], U_a [M, A], v_a [A]."""
    return {
        "query": matrix(sizes.query, sizes.hidden),
        "memory": matrix(sizes.memory, sizes.hidden),
        "vector": vector(sizes.hidden),
    }


def additive_keys(memory: Float[Array, "*B S M"], weights: Weights) -> Float[Array, "*B S A"]:
    """U_a h_s."""
    return memory @ weights["memory"]


def additive(query: Float[Array, "*B T Q"], keys: Float[Array, "*B S A"], weights: Weights) -> Float[Array, "*B T S"]:
    """v_a · tanh(W_a s + U_a h) (Bahdanau 2015, appendix A.1.2)."""
    # The gradient of each is a sum over the other's positions, in float32 like all sums.
    asked, keys = widened((query @ weights["query"], keys))
    inner = (asked[..., :, None, :] + keys[..., None, :, :]).astype(query.dtype)
    return summed(jnp.matmul, jnp.tanh(inner), weights["vector"])


def concat_weights(sizes: Sizes) -> dict[str, Start]:
    """W_a [Q + M, A], v_a [A]."""
    return {"matrix": matrix(sizes.query + sizes.memory, sizes.hidden), "vector": vector(sizes.hidden)}


def concat_keys(memory: Float[Array, "*B S M"], weights: Weights) -> Float[Array, "*B S A"]:
    """The product of h_s with its rows of W_a."""
    return memory @ weights["matrix"][-memory.shape[-1] :]


def concat(query: Float[Array, "*B T Q"], keys: Float[Array, "*B S A"], weights: Weights) -> Float[Array, "*B T S"]:
    """v_a · tanh(W_a [h_t; h_s]) (Luong 2015, section 3.1, "concat").

    The same function as `additive`: a matrix times a concatenation is the sum of its two halves' products. They differ
    only in the initial values of the matrix (its fan-in is Q + M).
    """
    halves = {"query": weights["matrix"][: query.shape[-1]], "vector": weights["vector"]}
    return additive(query, keys, halves)


def location_weights(sizes: Sizes) -> dict[str, Start]:
    """W_a [Q, positions]."""
    return {"positions": matrix(sizes.query, sizes.positions)}


def location_keys(memory: Float[Array, "*B S M"], weights: Weights) -> Float[Array, "*B S 0"]:
    """Keys of width 0: the score depends only on the number of keys."""
    return memory[..., :0]


def location(query: Float[Array, "*B T Q"], keys: Float[Array, "*B S 0"], weights: Weights) -> Float[Array, "*B T S"]:
    """a_t = softmax(W_a h_t) (Luong 2015, section 3.1, "location"): the energies depend only on the query.

    W_a has `positions` columns; source tokens beyond them get the lowest energy, and therefore no weight.
    """
    S, known = keys.shape[-2], weights["positions"].shape[-1]
    energies = summed(jnp.matmul, query, weights["positions"][:, : min(S, known)])
    beyond = [(0, 0)] * (energies.ndim - 1) + [(0, max(0, S - known))]
    return jnp.pad(energies, beyond, constant_values=jnp.finfo(energies.dtype).min)


def cosine_weights(sizes: Sizes) -> dict[str, Start]:
    """The key strength's vector [Q] and bias []. It starts near 5, because a softmax of cosines is almost flat."""
    return {"strength": vector(sizes.query), "strength_bias": lambda key: jnp.float32(5.0)}


def cosine_keys(memory: Float[Array, "*B S M"], weights: Weights) -> Float[Array, "*B S M"]:
    """The memory, each state scaled to length 1."""
    return _unit(memory)


def cosine(query: Float[Array, "*B T K"], keys: Float[Array, "*B S K"], weights: Weights) -> Float[Array, "*B T S"]:
    """beta_t cos(query, key): content-based addressing (Graves 2014, equations 5 and 6).

    The key strength beta_t > 0 sharpens or flattens the focus; it is softplus of a linear map of the query.
    """
    strength = jax.nn.softplus(summed(jnp.matmul, query, weights["strength"]) + weights["strength_bias"])
    return strength[..., None] * dot(_unit(query), keys, weights)


def _unit(x: Float[Array, "*B N D"]) -> Float[Array, "*B N D"]:
    # The gradient at zero is zero, not NaN.
    wide = widened(x)
    return (wide * jax.lax.rsqrt(jnp.maximum(jnp.sum(wide * wide, -1, keepdims=True), 1e-12))).astype(x.dtype)


SCORES: Table[Score] = Table("score", {
    "dot": Score(dot, equal_widths=True, pointwise=True),
    "scaled_dot": Score(scaled_dot, equal_widths=True, pointwise=True),
    "general": Score(dot, general_weights, general_keys, pointwise=True),
    "additive": Score(additive, additive_weights, additive_keys, pointwise=True),
    "concat": Score(concat, concat_weights, concat_keys, pointwise=True),
    "location": Score(location, location_weights, location_keys),
    "cosine": Score(cosine, cosine_weights, cosine_keys, equal_widths=True, pointwise=True),
})  # fmt: skip
"""Every score by name; a plugin adds its own here."""
