import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer import models
from transformer.config import Attention, Rnn
from transformer.data.tokenizer import BEGIN, END, PAD
from transformer.decoding.beam import beam_search, length_penalty
from transformer.decoding.greedy import greedy

V = 7
WORDS = [1, 4, 5, 6]
SOURCE = jnp.array([[4, 5, 6, 3], [5, 3, 0, 0], [6, 6, 3, 0]])
LIMITS = np.array([4, 2, 3], np.int32)
BATCH = (SOURCE, jnp.asarray(LIMITS))


def recurrent(score="general", window="global", **changes):
    attention = Attention(score=score, window=window, half_width=1)
    return Rnn(embedding=6, width=8, attention=attention, max_length=32, **changes)


SETTINGS = {
    "transformer": tiny(width=8),
    "luong": recurrent(),
    "luong, local-p, no input feeding": recurrent("dot", "local_p", cell="gru", input_feeding=False),
    "bahdanau": recurrent("additive", decoder="bahdanau", cell="gru", bidirectional=True),
    "no attention, reversed": recurrent("none", encoder_layers=2, decoder_layers=2, reverse=True),
}
GRAPHS = {name: models.split(models.create(model, V, V, 1))[0] for name, model in SETTINGS.items()}
every_model = pytest.mark.parametrize("name", SETTINGS)
# Every penalty and beam on one family, and every family on one of each: a search knows no model.
PENALTIES = [("transformer", alpha) for alpha in (0.0, 0.6, 1.0)] + [(name, 0.6) for name in list(SETTINGS)[1:]]
BEAMS = [("transformer", beam, alpha) for beam in (1, 2, 3) for alpha in (0.0, 1.0)]
BEAMS += [(name, 2, 1.0) for name in list(SETTINGS)[1:]]


class Sure(NamedTuple):
    """A model sure enough of itself that searches differ from one another."""

    graph: Any
    parameters: Any

    @classmethod
    def of(cls, name, seed):
        _, parameters = models.split(models.create(SETTINGS[name], V, V, seed))
        random = np.random.default_rng(seed)
        louder = jax.tree.map(lambda p: p + 0.5 * random.normal(size=p.shape).astype(np.float32), parameters)
        return cls(GRAPHS[name], louder)


def run_beam(model, batch, length, beam, alpha):
    return _beam(model.graph, model.parameters, batch, length, beam, alpha)


@partial(jax.jit, static_argnums=(0, 3, 4, 5))
def _beam(graph, parameters, batch, length, beam, alpha):
    model = nnx.merge(graph, parameters)
    source, limits = batch
    return beam_search(model, model.encode(source), limits, length, beam, alpha)


@partial(jax.jit, static_argnums=(0, 3))
def _greedy(graph, parameters, batch, length):
    model = nnx.merge(graph, parameters)
    source, limits = batch
    return greedy(model, model.encode(source), limits, length)


def run_greedy(model, batch, length):
    return _greedy(model.graph, model.parameters, batch, length)


@partial(jax.jit, static_argnums=0)
def token_logp(graph, parameters, source, into, out):
    model = nnx.merge(graph, parameters)
    hidden, _ = model.decode(model.encode(source), into)
    logp = jax.nn.log_softmax(model.output(hidden))
    return jnp.take_along_axis(logp, out[..., None], -1)[..., 0] * (out != PAD)


def logp(model, row, sequences):
    """Log-probability of sequences for one source, by teacher forcing, without any cache."""
    rows = -(-len(sequences) // 128) * 128
    out = np.zeros((rows, 4), np.int32)
    for number, sequence in enumerate(sequences):
        out[number, : len(sequence)] = sequence
    into = np.concatenate([np.full((rows, 1), BEGIN, np.int32), out[:, :-1]], 1)
    source = jnp.repeat(SOURCE[row : row + 1], rows, 0)
    each = token_logp(*model, source, jnp.asarray(into), jnp.asarray(out))
    return np.asarray(each).sum(-1)[: len(sequences)]


def everything(limit):
    """Every sequence that ends within the limit."""
    return [[*words, END] for n in range(limit) for words in itertools.product(WORDS, repeat=n)]


def strip(tokens):
    return [int(t) for t in tokens if t != PAD]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("name", "alpha"), PENALTIES)
def test_a_wide_beam_equals_brute_force(name, seed, alpha):
    model = Sure.of(name, seed)
    tokens, scores = run_beam(model, BATCH, 4, 128, alpha)
    for row, limit in enumerate(LIMITS):
        sequences = everything(int(limit))
        expected = logp(model, row, sequences) / length_penalty(np.array([len(s) for s in sequences]), alpha)
        order = np.argsort(-expected)
        for place in range(min(10, len(sequences))):
            np.testing.assert_allclose(scores[row, place], expected[order[place]], rtol=1e-5, atol=1e-5)
            near = [i for i in order if abs(expected[i] - expected[order[place]]) < 1e-5]
            assert strip(tokens[row, place]) in [sequences[i] for i in near]
        assert np.isinf(scores[row, len(sequences) :]).all(), "no hypothesis is invented or doubled"


def plain_beam(model, row, limit, K, alpha):
    """The textbook's beam search, one hypothesis at a time, to the bitter end: no early stop."""
    alive, ended = [([], 0.0)], []
    for position in range(limit):
        options = [END] if position == limit - 1 else [*WORDS, END]
        candidates = [[*words, word] for words, _ in alive for word in options]
        scored = sorted(zip(logp_prefixes(model, row, candidates), candidates, strict=True), reverse=True)[: 2 * K]
        ended += [(p / length_penalty(len(s), alpha), s) for p, s in scored[:K] if s[-1] == END]
        alive = [(s, p) for p, s in scored if s[-1] != END][:K]
    return sorted(ended, reverse=True)[:K]


def logp_prefixes(model, row, sequences):
    return [float(p) for p in logp(model, row, sequences)]


@pytest.mark.parametrize(("name", "beam", "alpha"), BEAMS)
def test_a_narrow_beam_equals_a_plain_one_without_early_stop(name, beam, alpha):
    for seed in range(4):
        model = Sure.of(name, seed)
        tokens, scores = run_beam(model, BATCH, 4, beam, alpha)
        for row, limit in enumerate(LIMITS):
            expected = plain_beam(model, row, int(limit), beam, alpha)
            best = expected[0]
            np.testing.assert_allclose(scores[row, 0], best[0], rtol=1e-5, atol=1e-5)
            assert strip(tokens[row, 0]) == best[1]


@pytest.mark.parametrize("seed", range(8))
@every_model
def test_beam_of_one_without_penalty_is_greedy(name, seed):
    model = Sure.of(name, seed)
    single, total = run_greedy(model, BATCH, 4)
    beams, scores = run_beam(model, BATCH, 4, 1, 0.0)
    np.testing.assert_array_equal(single, beams[:, 0])
    np.testing.assert_allclose(total, scores[:, 0], rtol=1e-5, atol=1e-5)


@every_model
def test_greedy_equals_a_loop_without_cache(name):
    model = Sure.of(name, 3)
    tokens, total = run_greedy(model, BATCH, 4)
    for row, limit in enumerate(LIMITS):
        words: list[int] = []
        while not words or words[-1] != END:
            options = [END] if len(words) == limit - 1 else [*WORDS, END]
            values = logp(model, row, [[*words, option] for option in options])
            words.append(options[int(np.argmax(values))])
        assert strip(tokens[row]) == words
        np.testing.assert_allclose(total[row], logp(model, row, [words])[0], rtol=1e-5, atol=1e-5)


@every_model
def test_every_translation_ends_within_its_limit_and_never_says_a_mark(name):
    model = Sure.of(name, 1)
    for tokens in (run_beam(model, BATCH, 6, 4, 0.6)[0][:, 0], run_greedy(model, BATCH, 6)[0]):
        for row, limit in zip(np.asarray(tokens), LIMITS, strict=True):
            words = strip(row)
            assert len(words) <= limit
            assert words[-1] == END
            assert words.count(END) == 1
            assert BEGIN not in words


@every_model
def test_a_sentence_does_not_depend_on_its_batch(name):
    model = Sure.of(name, 2)
    together, scores = run_beam(model, BATCH, 4, 3, 0.6)
    for row in range(3):
        alone, score = run_beam(model, (SOURCE[row : row + 1], jnp.asarray(LIMITS[row : row + 1])), 4, 3, 0.6)
        np.testing.assert_array_equal(alone[0, 0], together[row, 0])
        np.testing.assert_allclose(score[0, 0], scores[row, 0], rtol=1e-5, atol=1e-5)
