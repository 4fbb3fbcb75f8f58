import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer.attention import scores
from transformer.attention.attend import attend, masked_softmax


def loops(query, keys, values, mask, scaled):
    """Vaswani 2017, equation 1, one number at a time."""
    B, H, T, K = query.shape
    S, W = keys.shape[2], values.shape[3]
    context, weights = np.zeros((B, H, T, W)), np.zeros((B, H, T, S))
    for b in range(B):
        for h in range(H):
            for t in range(T):
                energy = {}
                for s in range(S):
                    if mask[b, s]:
                        dot = sum(float(query[b, h, t, k]) * float(keys[b, h, s, k]) for k in range(K))
                        energy[s] = math.exp(dot / math.sqrt(K) if scaled else dot)
                for s, value in energy.items():
                    weights[b, h, t, s] = value / sum(energy.values())
                    context[b, h, t] += weights[b, h, t, s] * values[b, h, s]
    return context, weights


@pytest.mark.parametrize("name", ["dot", "scaled_dot"])
def test_attention_equals_loops(name):
    random = np.random.default_rng(1)
    query, keys = (random.normal(size=(3, 2, n, 4)).astype(np.float32) for n in (5, 6))
    values = random.normal(size=(3, 2, 6, 3)).astype(np.float32)
    mask = np.arange(6)[None] < np.array([6, 4, 1])[:, None]
    context, weights = attend(
        scores.SCORES[name].energies(jnp.asarray(query), jnp.asarray(keys), {}),
        jnp.asarray(values),
        jnp.asarray(mask[:, None, None]),
    )
    expected = loops(query, keys, values, mask, scaled=name == "scaled_dot")
    np.testing.assert_allclose(context, expected[0], atol=1e-5)
    np.testing.assert_allclose(weights, expected[1], atol=1e-5)


def test_rows_that_may_attend_nowhere_are_zeros():
    energies = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    mask = jnp.array([[False, False], [True, False]])
    assert masked_softmax(energies, mask).tolist() == [[0.0, 0.0], [1.0, 0.0]]
    gradient = jax.grad(lambda e: masked_softmax(e, mask).sum())(energies)
    assert np.isfinite(gradient).all()


def test_dropout_falls_on_the_context_and_not_on_the_weights_returned():
    energies, values = jnp.zeros((1, 1, 1, 50)), jnp.ones((1, 1, 50, 1))
    mask = jnp.ones((1, 1, 1, 50), bool)
    context, weights = attend(energies, values, mask, rate=0.5, key=jax.random.key(1))
    np.testing.assert_allclose(weights, 1 / 50, rtol=1e-6)
    assert abs(float(context[0, 0, 0, 0]) - 1.0) > 1e-3
