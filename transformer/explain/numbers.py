"""The functions of a textbook, in NumPy and double precision, and their comparison with the model's own numbers."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from transformer.errors import TransformerError


def array(value: Any) -> np.ndarray:
    """A parameter or an array of JAX as numbers of NumPy."""
    return np.asarray(value[...], np.float64)


def softmax(energies: Float[np.ndarray, "*N M"]) -> Float[np.ndarray, "*N M"]:
    """exp(z_j) / sum_i exp(z_i) for each row; a row of -inf only has zero weights."""
    largest = energies.max(-1, keepdims=True)
    exponentials = np.exp(energies - np.where(np.isinf(largest), 0, largest))
    total = exponentials.sum(-1, keepdims=True)
    return exponentials / np.where(total == 0, 1, total)


def sigmoid(x: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def activate(name: str, x: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """An activation of a feed-forward layer, elementwise; the gate's own of a gated unit."""
    if name == "relu":
        return np.maximum(x, 0)
    if name == "gelu":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if name == "gelu_exact":
        return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    if name in ("silu", "swiglu"):
        return x * sigmoid(x)
    raise TransformerError(f"the activation {name} has no steps")


def logits_of(output: Any, hidden: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
    """The output layer: the inner product with each word's vector, plus its bias if there is one."""
    logits = hidden @ array(output.embedding.table).T
    return logits if output.bias is None else logits + array(output.bias)


def agree(what: str, ours: np.ndarray, theirs: Any) -> None:
    """Raises TransformerError if computed numbers differ from the model's own."""
    expected = np.asarray(theirs, np.float64)
    if not np.allclose(ours, expected, rtol=1e-3, atol=1e-4):
        distance = np.abs(ours - expected).max()
        raise TransformerError(f"{what}: the computed numbers differ from the model's by up to {distance:.2g}")
