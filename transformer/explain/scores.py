"""The scores and the windows of attention in NumPy, as their papers write them, with the numbers in between.

Letters: N queries of width Q, M positions of the memory, P width of the two vectors that are multiplied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from transformer.explain.numbers import sigmoid

FORMULAS = {
    "scaled_dot": "q · k / sqrt(K)",
    "dot": "q · k",
    "general": "q · k', k' = W_a k",
    "additive": "v_a · tanh(q' + k'), q' = W_a q, k' = U_a k",
    "concat": "v_a · tanh(W_a [q; k]) = v_a · tanh(q' + k'), q' and k' being the products with W_a's parts",
    "location": "q · k', k' = column j of W_a for source position j",
    "cosine": "beta q' · k', q' = q / |q|, k' = k / |k|, beta = softplus(w · q + b)",
}
"""The scores that can be explained. q' is `Comparison.left` and k' is `Comparison.right`."""
WINDOWS = ("global", "local_m", "local_p")
"""The windows that can be explained."""


@dataclass(frozen=True)
class Comparison:
    """How a score compares queries with keys: a product of two vectors, and a factor.

    The product is left · right, or vector · tanh(left + right) if there is a vector.
    """

    left: Float[np.ndarray, "N P"]
    """The transformed query."""
    right: Float[np.ndarray, "M P"]
    """The transformed keys."""
    vector: Float[np.ndarray, " P"] | None
    """v_a."""
    factor: Float[np.ndarray, "N"] | None
    """Multiplies the product: 1 / sqrt(K), or beta of each query."""
    products: Float[np.ndarray, "N M"]
    energies: Float[np.ndarray, "N M"]
    """The products times the factor; -inf beyond the reach of the score."""


def compare(
    score: str,
    query: Float[np.ndarray, "N Q"],
    memory: Float[np.ndarray, "M W"],
    weights: Mapping[str, np.ndarray],
) -> Comparison:
    """The energies of each query with each position.

    Args:
        score: one of `FORMULAS`.
        query: q.
        memory: k.
        weights: the score's own parameters, by name.
    """
    M, vector, factor = len(memory), None, None
    left, right = query, memory
    if score == "scaled_dot":
        factor = np.full(len(query), query.shape[-1] ** -0.5)
    elif score == "general":
        right = memory @ weights["bilinear"].T
    elif score == "additive":
        left, right, vector = query @ weights["query"], memory @ weights["memory"], weights["vector"]
    elif score == "concat":
        W_a, Q = weights["matrix"], query.shape[-1]
        left, right, vector = query @ W_a[:Q], memory @ W_a[Q:], weights["vector"]
    elif score == "location":
        columns = weights["positions"].T[:M]
        right = np.concatenate([columns, np.zeros((M - len(columns), columns.shape[1]))])
    elif score == "cosine":
        factor = np.log1p(np.exp(query @ weights["strength"] + weights["strength_bias"]))
        left, right = _unit(query), _unit(memory)
    products = left @ right.T if vector is None else np.tanh(left[:, None] + right[None]) @ vector
    energies = products if factor is None else products * factor[:, None]
    if score == "location":
        energies = np.where(np.arange(M) < weights["positions"].shape[1], energies, -np.inf)
    return Comparison(left, right, vector, factor, products, energies)


@dataclass(frozen=True)
class Cut:
    """A window over the positions."""

    centre: Float[np.ndarray, "N"]
    """p_t: the position in the middle."""
    seen: Bool[np.ndarray, "N M"]
    """Whether a position is at most D from the centre."""
    gain: Float[np.ndarray, "N M"] | None
    """A Gaussian around the centre, which multiplies the weights after the softmax."""


def cut(
    window: str,
    query: Float[np.ndarray, "N Q"],
    position: Int[np.ndarray, "N"],
    length: int | None,
    width: int,
    half_width: int,
    weights: Mapping[str, np.ndarray],
) -> Cut | None:
    """The window of each query; None if it is global.

    Args:
        window: one of `WINDOWS`.
        query: q.
        position: of the queries in their own sequence.
        length: tokens of the memory without padding; None while it is still growing.
        width: M, with padding.
        half_width: D.
        weights: the window's own parameters, by name.
    """
    if window == "global":
        return None
    if window == "local_m":
        centre = np.asarray(position if length is None else np.minimum(position, length - 1), np.float64)
    else:
        assert length is not None
        centre = length * sigmoid(np.tanh(query @ weights["centre"]) @ weights["centre_vector"])
    distance = np.arange(width)[None] - centre[:, None]
    gain = None if window == "local_m" else np.exp(-(distance**2) / (2 * (half_width / 2) ** 2))
    return Cut(centre, np.abs(distance) <= half_width, gain)


def parameters(weights: Any, head: int | None = None) -> dict[str, np.ndarray]:
    """The parameters of a score or a window by name; of one head if each has its own."""
    plain = {name: np.asarray(weight[...], np.float64) for name, weight in weights.items()}
    return plain if head is None else {name: weight[head] for name, weight in plain.items()}


def _unit(x: Float[np.ndarray, "N P"]) -> Float[np.ndarray, "N P"]:
    return x / np.sqrt(np.maximum((x * x).sum(-1, keepdims=True), 1e-12))
