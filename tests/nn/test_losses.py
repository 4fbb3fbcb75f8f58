import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from transformer.models.build import split
from transformer.nn import layers
from transformer.nn.losses import cross_entropy, guiding


def plain(table, hidden, targets, smoothing):
    """optax's cross-entropy against explicit smoothed distributions, all logits at once."""
    logits = hidden @ table.T
    V = logits.shape[-1]
    labels = optax.smooth_labels(jax.nn.one_hot(targets, V), smoothing)
    return jnp.sum(optax.softmax_cross_entropy(logits, labels) * (targets != 0))


@pytest.fixture
def problem():
    random = np.random.default_rng(0)
    hidden = jnp.asarray(random.normal(size=(5, 7, 16)), jnp.float32)
    targets = jnp.asarray(random.integers(0, 23, (5, 7)), jnp.int32).at[1, 4:].set(0)
    output = layers.Output(layers.Embedding(23, 16, rngs=nnx.Rngs(1)))
    return output, hidden, targets


@pytest.mark.parametrize("chunk", [1, 5, 10, 11, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_chunked_loss_and_gradients_equal_the_plain_ones(problem, chunk, smoothing):
    output, hidden, targets = problem
    graph, parameters = split(output)

    def chunked(parameters, hidden):
        module = nnx.merge(graph, parameters)
        return 3.0 * cross_entropy(module, hidden, targets, smoothing=smoothing, chunk=chunk)[0]

    def reference(parameters, hidden):
        return 3.0 * plain(parameters["embedding"]["table"], hidden, targets, smoothing)

    value, gradients = jax.value_and_grad(chunked, (0, 1))(parameters, hidden)
    expected, expected_gradients = jax.value_and_grad(reference, (0, 1))(parameters, hidden)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), gradients, expected_gradients)


def test_per_token_values_are_the_unsmoothed_ones(problem):
    output, hidden, targets = problem
    total, nll = cross_entropy(output, hidden, targets, smoothing=0.1, chunk=10)
    logp = jax.nn.log_softmax(output(hidden))
    expected = -np.take_along_axis(np.asarray(logp), np.asarray(targets)[..., None], -1)[..., 0]
    np.testing.assert_allclose(nll, expected * (np.asarray(targets) != 0), atol=1e-5)
    assert not np.isclose(total, nll.sum())


def test_at_most_one_chunk_of_logits_is_in_memory(problem):
    output, hidden, targets = problem
    graph, parameters = split(output)
    gradient = jax.grad(lambda p: cross_entropy(nnx.merge(graph, p), hidden, targets, chunk=10)[0])
    text = str(jax.make_jaxpr(gradient)(parameters))
    assert "f32[10,23]" in text, "pieces of two positions"
    for whole in ("5,7,23]", "5,8,23]", "35,23]", "40,23]"):
        assert whole not in text


def test_all_padding_is_zero_not_nan(problem):
    output, hidden, _ = problem
    total, nll = cross_entropy(output, hidden, jnp.zeros((5, 7), jnp.int32), smoothing=0.1)
    assert float(total) == 0.0
    assert not nll.any()


def test_guiding_equals_loops():
    random = np.random.default_rng(4)
    weights = np.asarray(jax.nn.softmax(random.normal(size=(2, 3, 4, 5))))
    alignment = np.zeros((2, 4, 5))
    alignment[0, 0, [1, 3]], alignment[0, 2, 4], alignment[1, 1, 0], alignment[1, 3, 2] = 0.5, 1, 1, 1
    targets = np.array([[5, 6, 7, 8], [5, 6, 7, 0]])
    expected = 0.0
    for b, h, t, s in np.ndindex(weights.shape):
        if targets[b, t]:
            expected -= alignment[b, t, s] * np.log(weights[b, h, t, s]) / 3
    found = guiding(*(jnp.asarray(x, jnp.float32) for x in (weights, alignment)), jnp.asarray(targets))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # A weight of zero (a window that excludes the link) costs much, but neither value nor gradient is infinite.
    value, gradient = jax.value_and_grad(guiding)(jnp.zeros((2, 3, 4, 5)), jnp.asarray(alignment), jnp.asarray(targets))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
