"""Entmax: weights between those of softmax (alpha = 1) and of sparsemax (alpha = 2), with exact zeros.

With s = alpha - 1, the weights of energies z are

    p_i = [1 + s (z_i - lambda)]_+^(1/s),    lambda such that they sum to 1

(Peters et al. 2019, "Sparse Sequence-to-Sequence Models"; written so that s may be small: as s goes to 0, p_i goes to
exp(z_i - lambda)). Lambda is found by sorting where s is 1 (Martins and Astudillo 2016, algorithm 1) or 1/2
(Peters et al. 2019, algorithm 2), and by bisection otherwise. Functions take rows of energies in float32 and a mask of
the same shape; a row without an allowed position is all zeros.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float

Solver: TypeAlias = Callable[[Array, Array, Array], Array]
"""(energies [*B T S], mask [*B T S], s []) -> weights [*B T S]."""

HALVINGS = 25
"""Lambda lies in an interval of width log(S) at most, so that its error is below the resolution of float32."""
FAR = -2.0
"""Below the largest energy, times s. Energies from -1 on have no weight, and no effect on lambda."""


def entmax(energies: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"], alpha: Any) -> Float[Array, "*B T S"]:
    """Weights with gradients in closed form, also with respect to `alpha`, which is above 1 and at most 2.

    A number 1.5 or 2 is solved by sorting; an array, and any other number, by bisection.
    """
    exact = {1.5: _one_half, 2.0: _one}.get(alpha) if isinstance(alpha, float) else None
    return _solved(exact or _bisection, energies, mask, jnp.float32(alpha) - 1)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _solved(solve: Solver, energies: Array, mask: Array, s: Array) -> Array:
    return jnp.where(mask, solve(energies, mask, s), 0)


@partial(_solved.defjvp, symbolic_zeros=True)
def _derivative(solve: Solver, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """With lambda fixed, dp_i/dz_i = g_i = p_i^(1-s), and dp_i/ds = -p_i l_i^2 phi(s l_i), where l_i = -log p_i and
    phi(x) = (e^x - 1 - x) / x^2. Lambda then moves so that the sum stays 1 (Peters et al. 2019; Correia et al. 2019,
    proposition 1, in a form without differences of large numbers)."""
    (energies, mask, s), (by_energies, _, by_s) = primals, tangents
    weights = _solved(solve, energies, mask, s)
    support = weights > 0
    safe = jnp.where(support, weights, 1)
    slope = jnp.where(support, safe ** (1 - s), 0)
    change = jnp.zeros_like(weights)
    if type(by_energies) is not SymbolicZero:
        change = slope * by_energies
    if type(by_s) is not SymbolicZero:
        surprise = -jnp.log(safe)
        change -= by_s * safe * surprise**2 * _phi(s * surprise)
    share = slope / jnp.maximum(slope.sum(-1, keepdims=True), jnp.finfo(slope.dtype).tiny)
    return weights, change - share * change.sum(-1, keepdims=True)


def _phi(x: Array) -> Array:
    """(e^x - 1 - x) / x^2 for x >= 0."""
    small = x < 0.1
    large = jnp.where(small, 1, x)
    series = 1 / 2 + x / 6 * (1 + x / 4 * (1 + x / 5))
    return jnp.where(small, series, (jnp.expm1(large) - large) / large**2)


def _below_largest(energies: Array, mask: Array, s: Array) -> Array:
    """s times the energies, the largest of each row being 0, and FAR for those that are low or not allowed."""
    lowest = jnp.finfo(energies.dtype).min
    largest = jnp.where(mask, energies, lowest).max(-1, keepdims=True)
    return jnp.where(mask, jnp.maximum(s * (energies - largest), FAR), FAR)


def _one(energies: Array, mask: Array, s: Array) -> Array:
    """s = 1: the projection onto the simplex."""
    x = _below_largest(energies, mask, s)
    ordered, k = _ordered(x)
    return jnp.maximum(x - _last(ordered, (jnp.cumsum(ordered, -1) - 1) / k), 0)


def _one_half(energies: Array, mask: Array, s: Array) -> Array:
    """s = 1/2: from the mean and the sum of squares of the k largest, a quadratic equation for each k."""
    x = _below_largest(energies, mask, s)
    ordered, k = _ordered(x)
    mean = jnp.cumsum(ordered, -1) / k
    spread = jnp.cumsum(ordered**2, -1) / k - mean**2
    candidates = mean - jnp.sqrt(jnp.maximum(1 / k - spread, 0))
    return jnp.maximum(x - _last(ordered, candidates), 0) ** 2


def _ordered(x: Array) -> tuple[Array, Array]:
    """Rows in descending order, and the numbers 1 to S."""
    places = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    return jnp.flip(jnp.sort(x, -1), -1), jnp.broadcast_to(places, x.shape)


def _last(ordered: Array, candidates: Array) -> Array:
    """Candidate k is the threshold if exactly the k largest have a weight: the last one that does not exceed the kth
    largest."""
    size = (candidates <= ordered).sum(-1, keepdims=True)
    return jnp.take_along_axis(candidates, size - 1, -1)


def _bisection(energies: Array, mask: Array, s: Array) -> Array:
    """Any s: the sum falls as lambda rises. The largest weight lies between 1/S and 1, which bounds lambda."""
    x = _below_largest(energies, mask, s)

    def weights(threshold: Array) -> Array:  # s lambda
        return jnp.exp(jnp.log1p(jnp.maximum(x - threshold, -1)) / s)

    def halve(_: Any, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = (low + high) / 2
        above = weights(middle).sum(-1, keepdims=True) >= 1
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low = jnp.zeros_like(x[..., :1])
    high = low - jnp.expm1(-s * jnp.log(x.shape[-1]))
    low, _ = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
    found = weights(low)
    return found / jnp.maximum(found.sum(-1, keepdims=True), jnp.finfo(found.dtype).tiny)
