"""Sampling: truncation against loops over single tokens, frequencies against probabilities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer.config import Decoding
from transformer.decoding.sampling import inverse_transform, sample, truncate

jitted_sample = jax.jit(sample, static_argnums=3)  # op by op, each would be compiled separately


def plain(logits, top_k, top_p, min_p):
    """Tokens that stay, of one sentence, by sorting."""
    order = np.argsort(-logits, kind="stable")
    if top_k:
        order = [t for t in order if logits[t] >= logits[order[min(top_k, len(order)) - 1]]]
    weights = np.exp(logits[order] - logits.max())
    mass, kept = np.cumsum(weights / weights.sum()), []
    for place, token in enumerate(order):
        if place == 0 or mass[place - 1] < top_p:
            kept.append(token)
    if top_p >= 1:
        kept = list(order)
    return {int(t) for t in kept if np.exp(logits[t] - logits.max()) >= min_p}


@pytest.mark.parametrize("top_k", [0, 1, 3, 50])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 1e-6])
@pytest.mark.parametrize("min_p", [0.0, 0.05, 1.0])
def test_truncation_equals_a_plain_sort(top_k, top_p, min_p):
    random = np.random.default_rng(1)
    logits = (2 * random.normal(size=(20, 30))).astype(np.float32)
    logits[random.random(logits.shape) < 0.2] = -np.inf
    found = np.asarray(truncate(jnp.asarray(logits), top_k, top_p, min_p))
    for row, expected in zip(found, logits, strict=True):
        kept = {t for t in plain(expected, top_k, top_p, min_p) if np.isfinite(expected[t])}
        assert set(np.flatnonzero(np.isfinite(row)).tolist()) == kept
        np.testing.assert_array_equal(row[list(kept)], expected[list(kept)])


def test_ties_stay_together():
    logits = jnp.log(jnp.array([[0.3, 0.3, 0.3, 0.1]]))
    assert np.isfinite(truncate(logits, 1, 1.0, 0.0)).sum() == 3
    assert np.isfinite(truncate(logits, 0, 0.5, 0.0)).sum() == 3


def test_frequencies_of_samples_equal_their_probabilities():
    p = np.array([0.5, 0.3, 0.15, 0.05, 0.0])
    N = 20_000
    with np.errstate(divide="ignore"):
        logp = jnp.broadcast_to(jnp.asarray(np.log(p), jnp.float32), (1, N, 5))
    for temperature in (1.0, 0.5):
        settings = Decoding(samples=N, temperature=temperature)
        tokens = np.asarray(jitted_sample(logp, jnp.array([3]), jnp.array([2]), settings))[0]
        found = np.bincount(tokens, minlength=5) / N
        expected = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
        # Four standard deviations of a binomial.
        assert (np.abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / N)).all()


@pytest.mark.parametrize("V", [5, 200, 6000])
def test_inverse_transform_sampling_equals_cumulative_sums(V):
    random = np.random.default_rng(V)
    weights = random.random((300, V)) ** 8
    weights[random.random(weights.shape) < 0.5] = 0
    weights[:, 2] += 1e-3
    uniform = random.random(300)
    uniform[:2] = 0.0, np.nextafter(np.float32(1), np.float32(0))
    found = np.asarray(inverse_transform(jnp.asarray(weights, jnp.float32), jnp.asarray(uniform, jnp.float32)))
    shares = np.cumsum(weights, 1) / weights.sum(1, keepdims=True)
    rows = np.arange(300)
    assert (weights[rows, found] > 0).all()
    assert (shares[rows, found] > uniform - 1e-5).all()
    assert (shares[rows, found] - weights[rows, found] / weights.sum(1) < uniform + 1e-5).all()


def test_samples_depend_on_seed_index_and_position_and_not_on_the_batch():
    logp = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (1, 1, 50)))
    settings = Decoding(samples=4)

    def tokens(seeds, positions):
        rows = jnp.broadcast_to(logp, (len(seeds), 4, 50))
        return np.asarray(jitted_sample(rows, jnp.array(seeds), jnp.array(positions), settings))

    both = tokens([7, 8], [3, 5])
    np.testing.assert_array_equal(both[:1], tokens([7], [3]))
    np.testing.assert_array_equal(both[1:], tokens([8], [5]))
    many = tokens(list(range(200)), [3] * 200)
    assert len({tuple(row) for row in many.tolist()}) > 190
    later = tokens(list(range(200)), [4] * 200)
    assert (many != later).mean() > 0.8


@pytest.mark.slow
def test_a_cold_sample_is_greedy(trained_model):
    lines = ["ba be", "bi bo bu da", "de"]
    greedy = trained_model.search(lines, beam=1)
    cold = trained_model.search(lines, samples=2, temperature=0.001)
    assert [one.tokens for one in cold] == [one.tokens for one in greedy]


def test_samples_do_not_depend_on_other_lines(trained_model):
    lines = ["ba be", "bi bo bu da", "de"]
    settings = {"samples": 5, "seed": 4}
    together = trained_model.hypotheses(lines, **settings)
    for number, line in enumerate(lines):
        (alone,) = trained_model.hypotheses([line], first=number + 1, **settings)
        assert [one.tokens for one in alone] == [one.tokens for one in together[number]]
        assert [one.score for one in alone] == sorted((one.score for one in alone), reverse=True)
    other = trained_model.hypotheses(lines, **settings | {"seed": 5})
    assert [[o.tokens for o in row] for row in other] != [[o.tokens for o in row] for row in together]


def test_log_probabilities_of_samples_are_those_of_scoring(trained_model):
    lines = ["ba be", "bi bo bu da"]
    for row, line in zip(trained_model.hypotheses(lines, samples=6), lines, strict=True):
        texts = [one.text for one in row]
        expected = trained_model.score([line] * len(texts), texts).logp
        np.testing.assert_allclose([one.logp for one in row], expected, rtol=1e-4, atol=1e-4)


def test_decoding_settings_are_hashable_and_know_their_hypotheses():
    assert Decoding(beam=5).num_hypotheses == 5
    assert Decoding(samples=7).num_hypotheses == 7
    assert Decoding(beam=1).independent
    assert not Decoding(beam=2).independent
    assert hash(dataclasses.replace(Decoding(), beam=3)) != hash(Decoding())
