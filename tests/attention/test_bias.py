"""Additive biases of the energies: relative positions by hand, in training and along the hypotheses of a search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from transformer.attention import masks
from transformer.attention.attend import attend
from transformer.attention.multihead import MultiHead
from transformer.config import Attention

B, H, T, D = 2, 2, 5, 8
SLOPES = jnp.array([0.5, 2.0])


def distances(queries, keys):
    """[H, queries, keys]: minus the distance times a slope of each head (Press 2022)."""
    return -SLOPES[:, None, None] * jnp.abs(jnp.arange(queries)[:, None] - jnp.arange(keys)[None])[None]


def test_weights_are_the_softmax_of_energies_plus_bias():
    random = np.random.default_rng(0)
    energies = random.normal(size=(B, H, T, T)).astype(np.float32)
    values = random.normal(size=(B, H, T, 3)).astype(np.float32)
    bias = np.asarray(distances(T, T))[None]
    exponentials = np.exp(energies + bias) * np.tril(np.ones((T, T)))
    expected = exponentials / exponentials.sum(-1, keepdims=True)
    context, weights = attend(jnp.asarray(energies), jnp.asarray(values), masks.future(T), bias=jnp.asarray(bias))
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_allclose(context, expected @ values, atol=1e-5)


@pytest.mark.parametrize("score", ["scaled_dot", "additive", "location"])
@pytest.mark.parametrize("own_path", [True, False])
def test_a_search_adds_the_same_bias(score, own_path):
    """One hypothesis a sentence, token by token, equals all positions at once."""
    attention = MultiHead(Attention(heads=H, score=score, positions=4), D, 0.0, rngs=nnx.Rngs(1))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(B, T, D)), jnp.float32)
    bias = distances(T, T)[None]
    keys, values = attention.project(x)
    position = jnp.arange(T)[None]
    whole, weights = attention(x, keys, values, masks.future(T), position, None, bias=bias)
    without, _ = attention(x, keys, values, masks.future(T), position, None)
    assert not np.allclose(whole, without)
    path = None if own_path else jnp.ones((B, 1, 1, T), bool)
    step = jax.jit(lambda x, t, bias: attention.attend_along_beam(
        x, keys[:, :, None], values[:, :, None], path, jnp.full((B, 1), t), bias=bias
    ))  # fmt: skip
    for t in range(T):
        context, used = step(x[:, t : t + 1], t, bias[:, :, t : t + 1])
        np.testing.assert_allclose(context[:, 0], whole[:, t], atol=1e-5)
        np.testing.assert_allclose(used[:, :, 0], weights[:, :, t], atol=1e-6)


def test_a_bias_is_never_lost_in_a_fused_kernel():
    attention = MultiHead(Attention(heads=H, fused="always"), D, 0.0, rngs=nnx.Rngs(1))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(B, T, D)), jnp.float32)
    projected = attention.project(x)
    arguments = masks.future(T), jnp.arange(T)[None], None
    expected, _ = attention(x, *projected, *arguments, bias=distances(T, T)[None], weights=True)
    context, _ = attention(x, *projected, *arguments, bias=distances(T, T)[None], weights=False)
    np.testing.assert_allclose(context, expected, atol=1e-6)
