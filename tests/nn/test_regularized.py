"""R-Drop against loops over single tokens, with padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from transformer.nn.layers import Embedding, Output
from transformer.nn.regularized import disagreement

TARGETS = jnp.array([[4, 5, 3], [3, 0, 0]])


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_disagreement_equals_loops(chunk):
    random = np.random.default_rng(1)
    output = Output(Embedding(7, 4, rngs=nnx.Rngs(1)))
    first, second = (random.normal(size=(2, 3, 4)) for _ in range(2))
    table = np.asarray(output.embedding.table[...], float)

    def by_hand(first):
        total = 0.0
        for b, t in ((0, 0), (0, 1), (0, 2), (1, 0)):
            p, q = softmax(first[b, t] @ table.T), softmax(second[b, t] @ table.T)
            total += ((p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()) / 2
        return total

    def found(first):
        return disagreement(output, first, jnp.asarray(second, jnp.float32), TARGETS, chunk=chunk)

    value, gradient = jax.jit(jax.value_and_grad(found))(jnp.asarray(first, jnp.float32))
    np.testing.assert_allclose(value, by_hand(first), rtol=1e-5)
    nudge = np.zeros_like(first)
    nudge[0, 1, 2] = 1e-5
    difference = (by_hand(first + nudge) - by_hand(first - nudge)) / 2e-5
    np.testing.assert_allclose(gradient[0, 1, 2], difference, rtol=1e-3)
    assert not gradient[1, 1:].any(), "padding does not count"
