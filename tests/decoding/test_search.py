import itertools
from functools import partial
from typing import Any, NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import tiny
from tests.models.test_gpt import gpt
from transformer.config import Attention, Decoding, Rnn
from transformer.decoding import search
from transformer.decoding.candidates import topk
from transformer.decoding.limits import Limits
from transformer.decoding.penalties import coverage_penalty, length_penalty
from transformer.models.build import create, split
from transformer.special_tokens import BOS, EOS, PAD

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
OTHERS = {
    "decoder-only": gpt(width=8),
    "transformer, learned entmax": tiny(width=8, attention=Attention(heads=2, normalizer="learned_entmax")),
    "transformer, linear": tiny(width=8, attention=Attention(heads=2, mechanism="linear")),
}
MODELS = {name: split(create(model, V, V, 1)) for name, model in (SETTINGS | OTHERS).items()}
# A search knows no model: more than one of each family is slow.
SLOW = {"luong, local-p, no input feeding", "no attention, reversed", "transformer, linear"}


def model_case(name, *values):
    return pytest.param(name, *values, marks=[pytest.mark.slow] if name in SLOW else [])


every_model = pytest.mark.parametrize("name", [model_case(name) for name in SETTINGS])
# Every penalty and beam on one family, and every family on one of each.
PENALTIES = [("transformer", alpha) for alpha in (0.0, 0.6, 1.0)] + [model_case(name, 0.6) for name in list(MODELS)[1:]]
BEAMS = [("transformer", beam, alpha) for beam in (1, 2, 3) for alpha in (0.0, 1.0)]
BEAMS += [model_case(name, 2, 1.0) for name in list(SETTINGS)[1:]]


class Sharp(NamedTuple):
    """A model whose distributions are so sharp that searches differ from one another."""

    graph: Any
    parameters: Any

    @classmethod
    def of(cls, name, seed):
        graph, parameters = MODELS[name]
        random = np.random.default_rng(seed)
        louder = jax.tree.map(lambda p: p + 0.5 * random.normal(size=p.shape).astype(np.float32), parameters)
        return cls(graph, louder)


def run_search(model, batch, length, settings, min_length=0, prefix=None):
    """All finished hypotheses: tokens, scores and log-probabilities."""
    source, limits = batch
    B = len(source)
    prefix = jnp.zeros((B, 0), jnp.int32) if prefix is None else jnp.asarray(prefix, jnp.int32)
    bounds = Limits(jnp.full(B, min_length, jnp.int32), limits, prefix)
    finished = _search(model.graph, model.parameters, source, bounds, length, settings)
    return np.asarray(finished.tokens), np.asarray(finished.scores), np.asarray(finished.logp)


@partial(jax.jit, static_argnums=(0, 4, 5))
def _search(graph, parameters, source, limits, length, settings):
    model = nnx.merge(graph, parameters)
    state = search.init_state(model, source, limits, jnp.arange(len(source)), length, settings)
    return search.advance(model, state, jnp.int32(len(source)), settings).hypotheses.finished


def beams(beam, alpha=0.0, **changes):
    """All hypotheses of the beam are returned, so that it stops only when none of them can change."""
    return Decoding(beam=beam, length_penalty=alpha, **{"n_best": beam} | changes)


def run_beam(model, batch, length, beam, alpha):
    return run_search(model, batch, length, beams(beam, alpha))[:2]


def run_greedy(model, batch, length):
    tokens, scores, _ = run_search(model, batch, length, beams(1))
    return tokens[:, 0], scores[:, 0]


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
    into = np.concatenate([np.full((rows, 1), BOS, np.int32), out[:, :-1]], 1)
    source = jnp.repeat(SOURCE[row : row + 1], rows, 0)
    each = token_logp(*model, source, jnp.asarray(into), jnp.asarray(out))
    return np.asarray(each).sum(-1)[: len(sequences)]


def everything(limit):
    """Every finished sequence within the limit."""
    return [[*words, EOS] for n in range(limit) for words in itertools.product(WORDS, repeat=n)]


def strip(tokens):
    return [int(t) for t in tokens if t != PAD]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("name", "alpha"), PENALTIES)
def test_a_wide_beam_equals_brute_force(name, seed, alpha):
    model = Sharp.of(name, seed)
    tokens, scores = run_beam(model, BATCH, 4, 128, alpha)
    for row, limit in enumerate(LIMITS):
        sequences = everything(int(limit))
        expected = logp(model, row, sequences) / length_penalty("gnmt", np.array([len(s) for s in sequences]), alpha)
        order = np.argsort(-expected)
        for place in range(min(10, len(sequences))):
            np.testing.assert_allclose(scores[row, place], expected[order[place]], rtol=1e-5, atol=1e-5)
            near = [i for i in order if abs(expected[i] - expected[order[place]]) < 1e-5]
            assert strip(tokens[row, place]) in [sequences[i] for i in near]
        assert np.isinf(scores[row, len(sequences) :]).all(), "no hypothesis is invented or duplicated"


def plain_beam(model, row, limit, K, alpha):
    """The textbook's beam search, one hypothesis at a time, without early stopping."""
    alive, ended = [([], 0.0)], []
    for position in range(limit):
        options = [EOS] if position == limit - 1 else [*WORDS, EOS]
        candidates = [[*words, word] for words, _ in alive for word in options]
        scored = sorted(zip(logp_prefixes(model, row, candidates), candidates, strict=True), reverse=True)[: 2 * K]
        ended += [(p / length_penalty("gnmt", len(s), alpha), s) for p, s in scored[:K] if s[-1] == EOS]
        alive = [(s, p) for p, s in scored if s[-1] != EOS][:K]
    return sorted(ended, reverse=True)[:K]


def logp_prefixes(model, row, sequences):
    return [float(p) for p in logp(model, row, sequences)]


@pytest.mark.parametrize(("name", "beam", "alpha"), BEAMS)
def test_a_narrow_beam_equals_a_plain_one_without_early_stop(name, beam, alpha):
    for seed in range(4):
        model = Sharp.of(name, seed)
        tokens, scores = run_beam(model, BATCH, 4, beam, alpha)
        for row, limit in enumerate(LIMITS):
            expected = plain_beam(model, row, int(limit), beam, alpha)
            best = expected[0]
            np.testing.assert_allclose(scores[row, 0], best[0], rtol=1e-5, atol=1e-5)
            assert strip(tokens[row, 0]) == best[1]


@every_model
def test_greedy_equals_a_loop_without_cache(name):
    model = Sharp.of(name, 3)
    tokens, total = run_greedy(model, BATCH, 4)
    for row, limit in enumerate(LIMITS):
        words: list[int] = []
        while not words or words[-1] != EOS:
            options = [EOS] if len(words) == limit - 1 else [*WORDS, EOS]
            values = logp(model, row, [[*words, option] for option in options])
            words.append(options[int(np.argmax(values))])
        assert strip(tokens[row]) == words
        np.testing.assert_allclose(total[row], logp(model, row, [words])[0], rtol=1e-5, atol=1e-5)


@every_model
def test_every_translation_ends_within_its_limit_and_has_no_other_special_token(name):
    model = Sharp.of(name, 1)
    for tokens in (run_beam(model, BATCH, 6, 4, 0.6)[0][:, 0], run_greedy(model, BATCH, 6)[0]):
        for row, limit in zip(np.asarray(tokens), LIMITS, strict=True):
            words = strip(row)
            assert len(words) <= limit
            assert words[-1] == EOS
            assert words.count(EOS) == 1
            assert BOS not in words


@every_model
def test_a_sentence_does_not_depend_on_its_batch(name):
    model = Sharp.of(name, 2)
    together, scores = run_beam(model, BATCH, 4, 3, 0.6)
    for row in range(3):
        alone, score = run_beam(model, (SOURCE[row : row + 1], jnp.asarray(LIMITS[row : row + 1])), 4, 3, 0.6)
        np.testing.assert_array_equal(alone[0, 0], together[row, 0])
        np.testing.assert_allclose(score[0, 0], scores[row, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalize", ["gnmt", "average", "none"])
def test_every_normalization_finds_what_brute_force_finds(normalize):
    for seed in range(4):
        model = Sharp.of("transformer", seed)
        _, scores, _ = run_search(model, BATCH, 4, beams(128, 0.8, normalize=normalize, n_best=5))
        for row, limit in enumerate(LIMITS):
            sequences = everything(int(limit))
            lengths = np.array([len(s) for s in sequences])
            divisor = {"gnmt": ((5 + lengths) / 6) ** 0.8, "average": lengths**0.8, "none": lengths**0}[normalize]
            expected = np.sort(logp(model, row, sequences) / divisor)[::-1]
            count = min(5, len(sequences))
            np.testing.assert_allclose(scores[row, :count], expected[:count], rtol=1e-5, atol=1e-5)


@every_model
def test_early_stopping_for_the_best_alone_changes_nothing(name):
    """With a single translation to return the search stops earlier, with the same result."""
    for seed in range(6):
        model = Sharp.of(name, seed)
        one = run_search(model, BATCH, 4, beams(4, 1.0, n_best=1))
        all_ = run_search(model, BATCH, 4, beams(4, 1.0))
        np.testing.assert_array_equal(one[0][:, 0], all_[0][:, 0])
        np.testing.assert_array_equal(one[1][:, 0], all_[1][:, 0])


@every_model
def test_minimum_length_and_prefix_hold_and_the_best_translation_is_found(name):
    prefix = np.array([[5, 4], [0, 0], [6, 0]])
    for seed in range(3):
        model = Sharp.of(name, seed)
        tokens, scores, _ = run_search(model, BATCH, 4, beams(128, 0.6, n_best=1), min_length=1, prefix=prefix)
        for row, limit in enumerate(LIMITS):
            begin = [token for token in prefix[row].tolist() if token]
            allowed = [s for s in everything(int(limit)) if s[: len(begin)] == begin and len(s) > 1]
            expected = logp(model, row, allowed) / length_penalty("gnmt", np.array([len(s) for s in allowed]), 0.6)
            np.testing.assert_allclose(scores[row, 0], expected.max(), rtol=1e-5, atol=1e-5)
            assert strip(tokens[row, 0]) in [
                s for s, e in zip(allowed, expected, strict=True) if e > expected.max() - 1e-5
            ]


def test_scores_count_source_tokens_without_attention():
    name, beta = "bahdanau", 0.7
    for seed in range(3):
        model = Sharp.of(name, seed)
        _, scores, _ = run_search(model, BATCH, 4, beams(128, 0.6, coverage_penalty=beta, n_best=3))
        for row, limit in enumerate(LIMITS):
            sequences = everything(int(limit))
            plain = logp(model, row, sequences) / length_penalty("gnmt", np.array([len(s) for s in sequences]), 0.6)
            coverage = np.clip(attention(model, row, sequences).sum(1), 1e-4, 1.0)
            expected = plain + beta * np.log(coverage[:, np.asarray(SOURCE[row]) != PAD]).sum(-1)
            best = np.sort(expected)[::-1][:3]
            np.testing.assert_allclose(scores[row, : len(best)], best, rtol=1e-4, atol=1e-4)


def attention(model, row, sequences):
    """[N, T, S]: weights of sequences by teacher forcing, zero beyond their ends."""
    rows = 128
    into = np.zeros((rows, 4), np.int32)
    for number, sequence in enumerate(sequences):
        into[number, : len(sequence)] = [BOS, *sequence[:-1]]
    found = token_attention(*model, jnp.repeat(SOURCE[row : row + 1], rows, 0), jnp.asarray(into))
    return np.asarray(found)[: len(sequences)] * (into[: len(sequences), :, None] != PAD)


@partial(jax.jit, static_argnums=0)
def token_attention(graph, parameters, source, into):
    model = nnx.merge(graph, parameters)
    _, found = model.decode(model.encode(source), into, weights=True)
    return found.cross.mean((1, 2))


def test_the_length_penalties_by_hand():
    np.testing.assert_allclose(length_penalty("gnmt", 7, 0.5), np.sqrt(2.0), rtol=1e-6)
    np.testing.assert_allclose(length_penalty("average", 9, 0.5), 3.0, rtol=1e-6)
    np.testing.assert_allclose(length_penalty("none", jnp.array(9.0), 0.5), 1.0)


def test_the_coverage_penalty_by_hand():
    coverage = jnp.array([[0.5, 3.0, 0.0, 0.0]])
    mask = jnp.array([[True, True, True, False]])
    np.testing.assert_allclose(coverage_penalty(coverage, mask, 2.0), [2 * (np.log(0.5) + np.log(1e-4))], rtol=1e-6)


jitted_topk = jax.jit(topk, static_argnums=4)  # op by op, each would be compiled separately


@pytest.mark.parametrize("V", [5, 64, 200, 606, 1000, 6000])
@pytest.mark.parametrize("K", [1, 3])
def test_the_top_k_continuations_equal_a_plain_sort(V, K):
    """Sentences that are free, may not end yet, must end, or have a prefix."""
    random = np.random.default_rng(V)
    logits = (3 * random.normal(size=(5, K, V))).astype(np.float32)
    logits[:, :, :4] += 5  # special tokens would be likely
    before = (-3 * random.random((5, K))).astype(np.float32)
    before[1, 1:] = -np.inf
    position = jnp.array([0, 2, 4, 1, 7])
    prefix = np.zeros((5, 3), np.int32)
    prefix[3] = [4, min(V - 1, 77), 0]
    limits = Limits(jnp.array([0, 3, 0, 0, 0]), jnp.array([9, 9, 5, 9, 9]), jnp.asarray(prefix))
    logp = np.array(jax.nn.log_softmax(logits))
    logp[:, :, [PAD, BOS]] = -np.inf
    logp[1, :, EOS] = -np.inf
    for row, only in ((2, EOS), (3, min(V - 1, 77))):
        logp[row, :, np.arange(V) != only] = -np.inf
    every = (before[:, :, None] + logp).reshape(5, -1)
    for count in (K, 2 * K):
        order = np.argsort(-every, axis=1, kind="stable")[:, :count]
        expected = np.take_along_axis(every, order, 1)
        total, parent, token = jitted_topk(jnp.asarray(before), jnp.asarray(logits), position, limits, count)
        np.testing.assert_allclose(total, expected, rtol=1e-5)
        finite = np.isfinite(expected)
        np.testing.assert_array_equal((np.asarray(parent) * V + token)[finite], order[finite])


def test_ties_are_broken_by_position():
    free = Limits(jnp.zeros(1, jnp.int32), jnp.full(1, 9), jnp.zeros((1, 0), jnp.int32))
    _, parent, token = jitted_topk(jnp.zeros((1, 2)), jnp.zeros((1, 2, 200)), jnp.zeros(1, jnp.int32), free, 4)
    assert list(zip(parent[0].tolist(), token[0].tolist(), strict=True)) == [(0, 1), (0, 3), (0, 4), (0, 5)]


SMALL = 6  # three words, the unknown token among them
SMALL_GRAPHS = {name: split(create(model, SMALL, SMALL, 1)) for name, model in SETTINGS.items()}
EVERY = [[*words, EOS] for n in range(4) for words in itertools.product([1, 4, 5], repeat=n)]


@st.composite
def cases(draw):
    """Random parameters of small to large scale, two random sources with random limits, a penalty."""
    seed = draw(st.integers(0, 2**31 - 1))
    scale = draw(st.sampled_from([0.1, 0.5, 1.0, 2.0]))
    lengths = draw(st.tuples(*[st.integers(0, 3)] * 2))
    sources = np.zeros((2, 4), np.int32)
    for row, length in enumerate(lengths):
        words = draw(st.lists(st.sampled_from([1, 4, 5]), min_size=length, max_size=length))
        sources[row, : length + 1] = [*words, EOS]
    limits = draw(st.tuples(*[st.integers(1, 4)] * 2))
    return seed, scale, sources, np.array(limits, np.int32), draw(st.sampled_from([0.0, 0.6, 1.5]))


def check_exhaustive_search(name, case):
    """A beam as wide as the number of sentences finds the best of all of them."""
    seed, scale, sources, limits, alpha = case
    graph, parameters = SMALL_GRAPHS[name]
    random = np.random.default_rng(seed)
    parameters = jax.tree.map(lambda p: p + scale * random.normal(size=p.shape).astype(np.float32), parameters)
    model = Sharp(graph, parameters)
    tokens, scores, _ = run_search(model, (jnp.asarray(sources), jnp.asarray(limits)), 4, beams(40, alpha, n_best=1))
    out = np.zeros((len(EVERY), 4), np.int32)
    for number, sequence in enumerate(EVERY):
        out[number, : len(sequence)] = sequence
    into = np.concatenate([np.full((len(EVERY), 1), BOS, np.int32), out[:, :-1]], 1)
    lengths = (out != PAD).sum(1)
    for row in range(2):
        source = np.repeat(sources[row : row + 1], len(EVERY), 0)
        each = np.asarray(token_logp(*model, source, into, out)).sum(-1)
        expected = np.where(lengths <= limits[row], each / np.asarray(length_penalty("gnmt", lengths, alpha)), -np.inf)
        best = expected.max()
        np.testing.assert_allclose(scores[row, 0], best, rtol=1e-4, atol=1e-4)
        near = [EVERY[i] for i in np.flatnonzero(expected > best - 1e-4 * max(1, abs(best)))]
        assert strip(tokens[row, 0]) in near


@every_model
@given(case=cases())
@hypothesis.settings(max_examples=40, deadline=None, database=None, derandomize=True)
def test_random_models_are_searched_exhaustively(name, case):
    check_exhaustive_search(name, case)


@pytest.mark.slow
@every_model
@given(case=cases())
@hypothesis.settings(max_examples=200, deadline=None, database=None, derandomize=True)
def test_a_thousand_random_models_are_searched_exhaustively(name, case):
    check_exhaustive_search(name, case)
