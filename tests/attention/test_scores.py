"""Every score and window against loops over single numbers, written from the papers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from transformer.attention.mechanism import Mechanism
from transformer.config import Attention

Q, M, T, S = 4, 6, 5, 7
LENGTHS = np.array([7, 3, 1])


def energies(score, weights, query, memory):
    """The energy of one query with each state of one sentence."""
    found = []
    for place, state in enumerate(memory):
        if score == "dot":
            energy = sum(q * m for q, m in zip(query, state, strict=True))
        elif score == "scaled_dot":
            energy = sum(q * m for q, m in zip(query, state, strict=True)) / math.sqrt(len(query))
        elif score == "general":
            energy = sum(
                query[i] * weights["bilinear"][i, j] * state[j] for i in range(len(query)) for j in range(len(state))
            )
        elif score == "additive":
            inner = [
                query @ weights["query"][:, a] + state @ weights["memory"][:, a] for a in range(len(weights["vector"]))
            ]
            energy = sum(v * math.tanh(x) for v, x in zip(weights["vector"], inner, strict=True))
        elif score == "concat":
            joined = np.concatenate([query, state])
            energy = sum(v * math.tanh(joined @ weights["matrix"][:, a]) for a, v in enumerate(weights["vector"]))
        elif score == "location":
            energy = query @ weights["positions"][:, place] if place < weights["positions"].shape[1] else -math.inf
        elif score == "cosine":
            strength = math.log1p(math.exp(query @ weights["strength"] + weights["strength_bias"]))
            energy = strength * (query @ state) / math.sqrt((query @ query) * (state @ state))
        found.append(energy)
    return found


def window(attention, weights, query, t, length):
    """(places that are seen, gains) of the sentence's `length` places."""
    places = np.arange(length)
    if attention.window == "global":
        return places >= 0, np.ones(length)
    if attention.window == "local_m":
        return np.abs(places - min(t, length - 1)) <= attention.half_width, np.ones(length)
    centre = length / (1 + math.exp(-(np.tanh(query @ weights["centre"]) @ weights["centre_vector"])))
    sigma = attention.half_width / 2
    return np.abs(places - centre) <= attention.half_width, np.exp(-((places - centre) ** 2) / (2 * sigma**2))


def one_head(weights, head):
    return {name: np.asarray(weight[...] if head is None else weight[head]) for name, weight in weights.items()}


@pytest.mark.parametrize("heads", [None, 3])
@pytest.mark.parametrize("kind", ["global", "local_m", "local_p"])
@pytest.mark.parametrize("score", ["dot", "scaled_dot", "general", "additive", "concat", "location", "cosine"])
def test_mechanism_equals_loops(score, kind, heads):
    attention = Attention(score=score, window=kind, half_width=2, hidden=5, positions=4)
    width = Q if score in ("dot", "scaled_dot", "cosine") else M
    mechanism = Mechanism(attention, Q, width, heads, rngs=nnx.Rngs(1))
    axes = (3,) if heads is None else (3, heads)
    random = np.random.default_rng(2)
    query, memory = random.normal(size=(*axes, T, Q)), random.normal(size=(*axes, S, width))
    real = np.arange(S)[None] < LENGTHS[:, None]
    mask = jnp.asarray(real[:, None] if heads is None else real[:, None, None])
    inputs = (jnp.asarray(x, jnp.float32) for x in (query, memory))
    query32, memory32 = inputs
    context, weights = mechanism(
        query32, mechanism.project(memory32), memory32, mask, jnp.arange(T)[None], jnp.asarray(LENGTHS)
    )
    for b, length in enumerate(LENGTHS):
        for head in range(heads or 1):
            index = (b,) if heads is None else (b, head)
            which = None if heads is None else head
            states = memory[index][:length]
            for t in range(T):
                q = query[index][t]
                found = energies(score, one_head(mechanism.score_weights, which), q, states)
                seen, gain = window(attention, one_head(mechanism.window_weights, which), q, t, length)
                kept = np.array([math.exp(e) if s else 0.0 for e, s in zip(found, seen, strict=True)])
                expected = gain * kept / kept.sum() if kept.sum() else kept
                np.testing.assert_allclose(weights[index][t, :length], expected, atol=1e-5)
                assert not np.asarray(weights[index][t, length:]).any(), "padding gets no weight"
                np.testing.assert_allclose(context[index][t], expected @ states, atol=1e-5)


def test_concat_is_additive_with_its_matrix_in_two():
    random = np.random.default_rng(3)
    concat = Mechanism(Attention(score="concat", hidden=5), Q, M, rngs=nnx.Rngs(1))
    additive = Mechanism(Attention(score="additive", hidden=5), Q, M, rngs=nnx.Rngs(2))
    whole = concat.score_weights["matrix"][...]
    for name, part in (("query", whole[:Q]), ("memory", whole[Q:]), ("vector", concat.score_weights["vector"][...])):
        additive.score_weights[name][...] = part
    query, memory = (jnp.asarray(random.normal(size=(2, n, w)), jnp.float32) for n, w in ((T, Q), (S, M)))
    mask = jnp.ones((2, 1, S), bool)
    results = [
        m(query, m.project(memory), memory, mask, jnp.arange(T)[None], jnp.array([S, S]))[1] for m in (concat, additive)
    ]
    np.testing.assert_allclose(*results, atol=1e-6)


def test_location_gives_no_weight_beyond_its_positions():
    mechanism = Mechanism(Attention(score="location", positions=3), Q, M, rngs=nnx.Rngs(1))
    query, memory = jnp.ones((1, 2, Q)), jnp.ones((1, S, M))
    _, weights = mechanism(
        query, mechanism.project(memory), memory, jnp.ones((1, 1, S), bool), jnp.arange(2)[None], jnp.array([S])
    )
    assert not np.asarray(weights[..., 3:]).any()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["local_m", "local_p"])
def test_an_empty_window_gives_zeros_and_finite_gradients(kind):
    """A mask that hides all of the window: no NaN, forward or backward."""
    mechanism = Mechanism(Attention(score="dot", window=kind, half_width=1), Q, Q, rngs=nnx.Rngs(1))
    memory = jnp.ones((1, S, Q))

    def run(query):
        mask = jnp.zeros((1, 1, S), bool)
        return mechanism(query, memory, memory, mask, jnp.arange(2)[None], jnp.array([S]))[0].sum()

    value, gradient = jax.value_and_grad(run)(jnp.ones((1, 2, Q)))
    assert value == 0
    assert np.isfinite(gradient).all()


def test_cosine_of_a_zero_vector_is_zero_with_a_finite_gradient():
    mechanism = Mechanism(Attention(score="cosine"), Q, Q, rngs=nnx.Rngs(1))
    memory = jnp.zeros((1, S, Q))

    def run(memory):
        mask = jnp.ones((1, 1, S), bool)
        query = jnp.ones((1, 1, Q))
        return mechanism(query, mechanism.project(memory), memory, mask, jnp.arange(1)[None], jnp.array([S]))[1][
            0, 0, 0
        ]

    value, gradient = jax.value_and_grad(run)(memory)
    assert value == pytest.approx(1 / S)
    assert np.isfinite(gradient).all()
