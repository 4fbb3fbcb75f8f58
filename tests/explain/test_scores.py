"""The scores, windows and textbook functions in NumPy: by hand, and equal to the model's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from transformer.attention.scores import SCORES, Sizes
from transformer.attention.windows import WINDOWS
from transformer.errors import TransformerError
from transformer.explain import scores
from transformer.explain.numbers import activate, agree, softmax
from transformer.explain.words import predict
from transformer.nn.layers import ACTIVATIONS

N, M, WIDTH = 2, 5, 3


def drawn(starts):
    """Parameters in JAX and in NumPy."""
    theirs = {name: start(jax.random.key(n)) for n, (name, start) in enumerate(starts.items())}
    return theirs, {name: np.asarray(value, np.float64) for name, value in theirs.items()}


def test_by_hand():
    query, memory = np.array([[1.0, 2.0]]), np.array([[3.0, 0.0], [0.0, -1.0]])
    found = scores.compare("scaled_dot", query, memory, {})
    assert_allclose(found.products, [[3, -2]])
    assert_allclose(found.energies, [[3 / np.sqrt(2), -2 / np.sqrt(2)]])
    weights = {"query": np.eye(2), "memory": np.eye(2), "vector": np.array([10.0, 1.0])}
    found = scores.compare("additive", query, memory, weights)
    assert_allclose(found.energies, [[10 * np.tanh(4) + np.tanh(2), 10 * np.tanh(1) + np.tanh(1)]])
    found = scores.compare("location", query, memory, {"positions": np.array([[5.0], [1.0]])})
    assert_allclose(found.energies, [[7, -np.inf]])  # it reaches the first position only
    assert_allclose(softmax(np.array([[0, np.log(3)], [-np.inf, 2]])), [[0.25, 0.75], [0, 1]])
    assert_allclose(softmax(np.full((1, 2), -np.inf)), [[0, 0]])
    window = scores.cut("local_m", query, np.array([7]), 4, 5, 1, {})
    assert window.centre == 3  # it stays at the last token
    assert window.seen.tolist() == [[False, False, True, True, True]]


@pytest.mark.parametrize("score", SCORES)
def test_energies_are_the_models(score):
    random = np.random.default_rng(1)
    query, memory = random.normal(size=(N, WIDTH)), random.normal(size=(M, WIDTH))
    theirs, ours = drawn(SCORES[score].weights(Sizes(WIDTH, WIDTH, 4, M - 1)))
    keys = SCORES[score].project(jnp.float32(memory), theirs)
    expected = np.array(SCORES[score].energies(jnp.float32(query), keys, theirs))
    expected[expected == np.finfo(np.float32).min] = -np.inf
    found = scores.compare(score, query, memory, ours)
    assert_allclose(found.energies, expected, rtol=1e-5, atol=1e-6)
    assert set(scores.FORMULAS) == set(SCORES)


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_are_the_models(window):
    query, position = np.random.default_rng(1).normal(size=(N, WIDTH)), np.array([1, 3])
    theirs, ours = drawn(WINDOWS[window].weights(Sizes(WIDTH, WIDTH, 4, M)))
    mask, gain = WINDOWS[window].mask_and_gain(
        jnp.float32(query)[None], jnp.array(position)[None], jnp.array([3]), jnp.arange(M), 2, theirs
    )
    found = scores.cut(window, query, position, 3, M, 2, ours)
    if window == "global":
        assert found is mask is gain is None
        return
    assert found.seen.tolist() == np.asarray(mask[0]).tolist()
    assert (found.gain is None) == (gain is None)
    if gain is not None:
        assert_allclose(found.gain, gain[0], rtol=1e-5)
    assert set(scores.WINDOWS) == set(WINDOWS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_the_models(name):
    x = np.linspace(-3, 3, 13)
    assert_allclose(activate(name, x), ACTIVATIONS[name](jnp.float32(x)), rtol=1e-4, atol=1e-6)


def test_a_prediction_by_hand():
    found = predict(np.log([[1.0, 2, 3, 4, 0.5, 5.5]]) + 7, lambda ids: [f"w{id_}" for id_ in ids])
    assert found.words == (("w5", "w3", "w2", "w1", "w0"),)
    assert_allclose(found.probabilities, [[5.5 / 16, 4 / 16, 3 / 16, 2 / 16, 1 / 16]])
    assert_allclose(found.total, 7 + np.log(16))
    assert found.vocabulary == 6


def test_numbers_that_differ_from_the_models_are_refused():
    agree("logits", np.array([1.0, 100.0]), [1.00001, 100.01])
    with pytest.raises(TransformerError, match=r"logits: .* differ from the model's by up to 0.5"):
        agree("logits", np.array([1.0, 2.0]), [1.0, 2.5])
