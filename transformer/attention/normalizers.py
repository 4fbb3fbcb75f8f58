"""How energies become weights.

Each function takes energies [*B T S] in float32 and a mask of the same shape, and returns weights in float32, which are
zero where the mask is false. A row without an allowed position is all zeros, never NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from transformer.attention import entmax as between
from transformer.attention.attend import masked_softmax
from transformer.attention.scores import Sizes, Start, Weights, none
from transformer.nn.dropout import random_bits
from transformer.plugins import Table


@dataclass(frozen=True)
class Normalizer:
    """A function from energies to weights; an entry of `NORMALIZERS`."""

    normalize: Callable[[Array, Array, float, Weights], Array]
    """(energies [*B T S], mask [*B T S], alpha, weights) -> [*B T S]; `alpha` is the setting, `weights` are its own
    parameters."""
    weights: Callable[[Sizes], dict[str, Start]] = none
    """Its parameters and how they are drawn; one set for each head. Those whose names end in "bias" do not decay."""
    draws: bool = False
    """Whether Gumbel noise is added to the energies in training. The largest of a row is then a sample of the softmax
    of its energies."""
    can_be_guided: bool = False
    """Whether cross-entropy can pull the weights to given alignments: all are above zero and their sum is bounded by
    one."""


def softmax(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: float, weights: Weights
) -> Float[Array, "*B T S"]:
    """exp(e_s) / sum_r exp(e_r) (Bahdanau 2015, equation 6)."""
    return masked_softmax(energies, mask)


def sparsemax(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: float, weights: Weights
) -> Float[Array, "*B T S"]:
    """[e_s - tau]_+, the point of the simplex that is nearest to the energies (Martins and Astudillo 2016, equation 2).

    Low energies have a weight of exactly zero.
    """
    return between.entmax(energies, mask, 2.0)


def entmax(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: float, weights: Weights
) -> Float[Array, "*B T S"]:
    """[(alpha - 1) e_s - tau]_+^(1 / (alpha - 1)) (Peters 2019): softmax at 1, sparsemax at 2."""
    return between.entmax(energies, mask, float(alpha))


def learned_entmax_weights(sizes: Sizes) -> dict[str, Start]:
    """a []. It starts at 0, which is an alpha of 1.5."""
    return {"alpha_bias": _zero}


def learned_entmax(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: float, weights: Weights
) -> Float[Array, "*B T S"]:
    """Entmax whose alpha is learned, 1 + sigmoid(a) (Correia 2019), and at least 1.001."""
    return between.entmax(energies, mask, 1.001 + 0.999 * jax.nn.sigmoid(weights["alpha_bias"]))


def sigmoid(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: float, weights: Weights
) -> Float[Array, "*B T S"]:
    """sigmoid(e_s - log n), n the number of allowed positions (Ramapuram 2024, section 2).

    Each weight is between 0 and 1, independently of the others. With the bias, the weights of energies near 0 sum to
    about one. In the paper n is the length of the sequence; here it is the number of positions that the row may attend
    to, which is also known in a search.
    """
    n = jnp.maximum(mask.sum(-1, keepdims=True), 1).astype(energies.dtype)
    return jnp.where(mask, jax.nn.sigmoid(energies - jnp.log(n)), 0)


def null(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: float, weights: Weights
) -> Float[Array, "*B T S"]:
    """exp(e_s) / (1 + sum_r exp(e_r)): softmax with a null key, whose energy and value are zero.

    The weight of the null key is missing from the sum. Known as softmax1 (Miller 2023, "Attention Is Off By One").
    """
    return _beside_null(energies, mask, jnp.float32(0))


def learned_null_weights(sizes: Sizes) -> dict[str, Start]:
    """e_0 []. It starts at 0."""
    return {"null_bias": _zero}


def learned_null(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: float, weights: Weights
) -> Float[Array, "*B T S"]:
    """exp(e_s) / (exp(e_0) + sum_r exp(e_r)): the energy e_0 of the null key is learned.

    The leaky attention of Mask-Align (Chen 2021, "Mask-Align: Self-Supervised Neural Word Alignment") has a
    learned null key and value; here e_0 is the same for all queries, and the value is zero.
    """
    return _beside_null(energies, mask, weights["null_bias"])


def hard(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: float, weights: Weights
) -> Float[Array, "*B T S"]:
    """1 for the largest energy and 0 for the others, ties broken by position, with the gradient of softmax.

    In training the energies have Gumbel noise, so that the position is a sample: hard attention (Xu 2015, section 4.1)
    by the straight-through Gumbel estimator (Jang 2017, section 2.2) at temperature 1. The gradient is biased.
    """
    return _largest(energies, mask)


@jax.custom_jvp
def _largest(energies: Array, mask: Array) -> Array:
    lowest = jnp.finfo(energies.dtype).min
    place = jnp.where(mask, energies, lowest).argmax(-1)
    return jnp.where(mask, jax.nn.one_hot(place, energies.shape[-1], dtype=energies.dtype), 0)


@_largest.defjvp
def _straight_through(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    soft = masked_softmax(*primals)
    change = soft * tangents[0]
    return _largest(*primals), change - soft * change.sum(-1, keepdims=True)


def gumbel(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*D"]:
    """Noise of the standard Gumbel distribution (Jang 2017, equation 1), the same for every sharding of the array."""
    uniform = ((random_bits(key, shape) >> 8).astype(jnp.float32) + 0.5) * 2**-24
    return -jnp.log(-jnp.log(uniform))


def _beside_null(energies: Array, mask: Array, null: Array) -> Array:
    lowest = jnp.finfo(energies.dtype).min
    every = jax.nn.logsumexp(jnp.where(mask, energies, lowest), -1, keepdims=True)
    return masked_softmax(energies, mask) * jax.nn.sigmoid(every - null)


def _zero(key: Array) -> Array:
    return jnp.zeros(())


NORMALIZERS: Table[Normalizer] = Table("normalizer", {
    "softmax": Normalizer(softmax, can_be_guided=True),
    "sparsemax": Normalizer(sparsemax),
    "entmax": Normalizer(entmax),
    "learned_entmax": Normalizer(learned_entmax, learned_entmax_weights),
    "sigmoid": Normalizer(sigmoid),
    "null": Normalizer(null, can_be_guided=True),
    "learned_null": Normalizer(learned_null, learned_null_weights, can_be_guided=True),
    "hard": Normalizer(hard, draws=True),
})  # fmt: skip
"""Every normalizer by name; a plugin adds its own here."""
