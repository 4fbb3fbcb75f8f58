"""Blocks against closed forms, in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer.models.build import create, split, structure
from transformer.nn import layers
from transformer.nn.layers import ACTIVATIONS, GATED, FeedForward, Residual

X = np.linspace(-4, 4, 33)
FORMS = {
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_exact": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    expected = [FORMS[name](x) for x in X]
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(X, jnp.float32)), expected, atol=2e-6)


def test_the_two_gelus_differ():
    x = jnp.asarray(X, jnp.float32)
    assert np.abs(ACTIVATIONS["gelu"](x) - ACTIVATIONS["gelu_exact"](x)).max() > 1e-4


@pytest.mark.parametrize("name", [*ACTIVATIONS, *GATED])
def test_feedforward(name):
    block = FeedForward(3, 5, name, rngs=nnx.Rngs(1))
    block.inner_bias[...] = jnp.linspace(-1, 1, 5)
    block.outer_bias[...] = jnp.linspace(0, 1, 3)
    x = np.random.default_rng(0).normal(size=(1, 2, 3)).astype(np.float32)
    inner = x @ np.asarray(block.inner[...]) + np.linspace(-1, 1, 5)
    if name == "swiglu":
        inner = np.vectorize(FORMS["silu"])(x @ np.asarray(block.gate[...])) * inner
    else:
        inner = np.vectorize(FORMS[name])(inner)
    expected = inner @ np.asarray(block.outer[...]) + np.linspace(0, 1, 3)
    np.testing.assert_allclose(block(jnp.asarray(x)), expected, atol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-6, 0.5])
@pytest.mark.parametrize("pre", [False, True])
def test_residual_connections(pre, epsilon):
    block = Residual(4, pre=pre, rate=0.5, epsilon=epsilon, rngs=nnx.Rngs(1))
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 1, 3, 4)).astype(np.float32)

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)

    np.testing.assert_allclose(block.enter(jnp.asarray(x)), norm(x) if pre else x, atol=1e-5)
    summed = block.add(jnp.asarray(x), jnp.asarray(y), None)
    np.testing.assert_allclose(summed, x + y if pre else norm(x + y), atol=1e-5)
    dropped = block.add(jnp.asarray(x), jnp.asarray(y), jax.random.key(1))
    assert not np.allclose(dropped, summed)


def test_the_final_norm_has_its_epsilon():
    x = np.array([[1.0, 3.0]], np.float32)
    np.testing.assert_allclose(layers.final_norm(2, epsilon=3.0)(jnp.asarray(x)), [[-0.5, 0.5]], atol=1e-6)


def test_precision_and_remat_change_no_parameter():
    graph, parameters = split(create(tiny(), 13, 13, 1))
    _, rough = split(create(tiny(), 13, 13, 1, precision="bfloat16", remat="all"))
    assert jax.tree.structure(parameters) == jax.tree.structure(rough)
    jax.tree.map(np.testing.assert_array_equal, parameters, rough)
    tokens = jnp.array([[5, 6, 3]])
    model = nnx.merge(structure(tiny(), 13, 13, precision="bfloat16"), parameters)
    assert model.encode(tokens).states.dtype == jnp.bfloat16
    same = nnx.merge(structure(tiny(), 13, 13), parameters).encode(tokens).states
    np.testing.assert_array_equal(nnx.merge(graph, parameters).encode(tokens).states, same)
