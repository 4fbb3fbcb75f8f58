"""Faithfulness against sentences that are shortened and scored one at a time, and attention that is changed by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.alignment.test_readouts import TOKENIZERS, build
from tests.conftest import tiny
from transformer.alignment.extract import Extractor, Pair
from transformer.alignment.faithfulness import intervention
from transformer.alignment.faithfulness.amounts import Amount
from transformer.alignment.faithfulness.probe import Prober, Wanted
from transformer.alignment.faithfulness.ranks import permutations, random_ranks, ranks
from transformer.alignment.faithfulness.removal import keep
from transformer.alignment.links import Rule
from transformer.config import Attention, Mesh, Rnn
from transformer.data.tokenizers.tokenizer import Sentence
from transformer.distributed import sharding as parallel
from transformer.errors import UsageError
from transformer.models.build import builder, create, split
from transformer.models.ensemble import Ensemble

TEXTS = (("a b c d e", "d e a"), ("g", "b a"), ("", "a"), ("c b a", "f g"))
PAIRS = [Pair(TOKENIZERS.source.segment(s), TOKENIZERS.target.segment(t)) for s, t in TEXTS]
AMOUNTS = [Amount.parse(text) for text in ("1", "40%")]


def prober(build_model):
    mesh = parallel.make_mesh(Mesh())
    return Prober(build_model, mesh, Extractor(build_model, TOKENIZERS, mesh, max_length=16))


@partial(jax.jit, static_argnums=0)
def _predicted(graph, parameters, source, target_in):
    model = nnx.merge(graph, parameters)
    return jax.nn.softmax(model.output(model.decode(model.encode(source), target_in)[0]))


def predicted(model, source, target):
    """[T + 1, V] of one sentence, padded to one shape."""
    padded = [([*tokens, *[0] * 8])[:8] for tokens in ([*source, 3], [2, *target])]
    found = _predicted(*nnx.split(model), *(jnp.array([tokens]) for tokens in padded))
    return np.asarray(found)[0, : len(target) + 1]


def probability(model, source, target, t):
    return predicted(model, source, target)[t, target[t]]


@pytest.mark.parametrize("name", ["post", pytest.param("bahdanau", marks=pytest.mark.slow)])
def test_removal_equals_shortened_sentences_one_at_a_time(name):
    graph, parameters = build(name)
    model, rules = nnx.merge(graph, parameters), [Rule(), Rule(by="omission")]
    mine = prober(builder(graph))
    found = mine.probe(parameters, PAIRS, rules, Wanted(["removal"], AMOUNTS))
    attended = mine.extractor.extract(parameters, PAIRS, by=["omission"])
    assert found.tokens.tolist() == [3, 2, 0, 2]
    assert found.flips is None
    assert found.distances is None
    assert found.links[0][2] is None
    for n in (0, 1, 3):
        source, target = PAIRS[n].source.tokens, PAIRS[n].target.tokens
        for row, kind in enumerate(("cross", "omission")):
            weights = attended[n].matrix(kind).mean((0, 1))[:, : len(source)]
            for place, k in enumerate((1, int(np.ceil(0.4 * len(source))))):
                falls = np.zeros(2)
                for t in range(len(target)):
                    top = sorted(range(len(source)), key=lambda s, t=t: (-weights[t, s], s))[:k]
                    without = [token for s, token in enumerate(source) if s not in top]
                    alone = [token for s, token in enumerate(source) if s in top]
                    whole = probability(model, source, target, t)
                    falls += [whole - probability(model, left, target, t) for left in (without, alone)]
                np.testing.assert_allclose(found.falls[row, n, :, place], falls, rtol=1e-3, atol=1e-5)


def changed_by_hand(weights, order):
    """One row: positions take each other's weight, what is left has the former sum."""
    moved = np.array([0 if place < 0 else weights[place] for place in order])
    return moved * weights.sum() / moved.sum() if moved.any() else moved


ORDERS = np.array([[0, 1, 2, 3, 4], [3, 0, 4, 1, 2], [0, -1, 2, 3, 4]])
SOURCE, TARGET = [4, 5, 6, 7, 3], [2, 8, 9, 4]


def luong_by_hand(model, t, order):
    """Attention and readout in NumPy; the states are those of the recurrence, which no attention enters."""
    memory = model.encode(jnp.array([SOURCE]))
    _, attention = model.decode(memory, jnp.array([TARGET]), weights=True)
    source, carry = model._begin(memory)
    position = jnp.arange(4)[None]
    _, states = model.decoder.unroll(model.embed_target(jnp.array([TARGET])), carry, source, position, None)
    weights = changed_by_hand(np.asarray(attention.cross)[0, 0, 0, t], order)
    context = weights @ np.asarray(memory.states)[0]
    joined = np.concatenate([context, np.asarray(states)[0, t]])
    return np.tanh(joined @ np.asarray(model.decoder.combine[...]))


def transformer_by_hand(model, t, order):
    """The only layer's attention to the source, summed up in NumPy."""
    memory = model.encode(jnp.array([SOURCE]))
    (cross,) = model.trace_decoder(memory, jnp.array([TARGET]))[2]
    weights, values = np.asarray(cross.weights)[0, :, t], np.asarray(cross.values)[0]
    added = sum(changed_by_hand(own, order) @ value for own, value in zip(weights, values, strict=True))
    model.prepare_for_decoding()
    (layer,), x = model.layer, jnp.asarray(np.asarray(cross.residual)[0, t] + added)[None, None]
    x = layer.feedforward_residual.add(x, layer.feedforward(layer.feedforward_residual.enter(x)), None)
    return np.asarray(model.decoder_norm(x))[0, 0]


@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        pytest.param(
            Rnn(embedding=6, width=8, input_feeding=False, attention=Attention(score="general"), max_length=16),
            luong_by_hand,
            marks=pytest.mark.slow,
        ),
        (tiny(max_length=16, norm="pre", encoder_layers=1, decoder_layers=1), transformer_by_hand),
    ],
)  # fmt: skip
def test_changed_attention_equals_the_sum_by_hand(settings, by_hand):
    graph, parameters = split(create(settings, 11, 11, 1))
    random = np.random.default_rng(3)
    parameters = jax.tree.map(lambda p: p + 0.5 * random.normal(size=p.shape).astype(np.float32), parameters)
    model, make = nnx.merge(graph, parameters), builder(graph)
    # A second row with padding, whose positions keep their weights.
    source, target = jnp.array([SOURCE, [5, 3, 0, 0, 0]]), jnp.array([TARGET, [2, 4, 0, 0]])
    orders = jnp.array(np.broadcast_to(ORDERS, (2, 4, 3, 5)))
    found = jax.jit(lambda p: intervention.outcomes(lambda: make(p), source, target, orders))(parameters)
    assert found.flipped.shape == found.distance.shape == (2, 4, 3)
    assert not found.flipped[..., 0].any()
    np.testing.assert_allclose(found.distance[..., 0], 0, atol=1e-5)
    plain = predicted(model, SOURCE[:-1], TARGET[1:])
    for t in range(4):
        for place, order in enumerate(ORDERS):
            new = np.asarray(jax.nn.softmax(model.output(jnp.asarray(by_hand(model, t, order), jnp.float32))))
            distance = 0.5 * np.abs(new - plain[t]).sum()
            np.testing.assert_allclose(found.distance[0, t, place], distance, rtol=1e-3, atol=1e-5)
            assert bool(found.flipped[0, t, place]) == (new.argmax() != plain[t].argmax())
    assert found.distance[0, :, 1:].min() > 1e-3


def test_a_row_without_weights_stays_zero_and_sums_are_kept():
    weights = jnp.array([[[0.0, 1.0, 0.0], [0.2, 0.2, 0.1]]])
    found = intervention.reorder(weights, jnp.array([[0, -1, 2]]))
    np.testing.assert_allclose(found, [[[0, 0, 0], [1 / 3, 0, 0.5 / 3]]], rtol=1e-6)


def test_flips_and_permutations_are_those_of_the_ranks():
    """Each pair's own orders go to its own row, and medians and sums are over its own tokens."""
    graph, parameters = build("luong")
    mine, rules = prober(builder(graph)), [Rule(), Rule(by="gradient")]
    tests = Wanted(["flips", "permutation"], permutations=3, seed=5)
    found = mine.probe(parameters, PAIRS, rules, tests, first=7)
    attended = mine.extractor.extract(parameters, PAIRS, first=7, by=["gradient"])
    assert found.falls is None
    for n in (0, 3):
        source, target = [*PAIRS[n].source.tokens, 3], [2, *PAIRS[n].target.tokens]
        tops = [*(ranks(attended[n], rule).token for rule in rules), random_ranks(attended[n], 5).token]
        zeroed = np.tile(np.arange(len(source)), (len(target), 3, 1))
        for row, top in enumerate(tops):
            zeroed[np.arange(len(target)), row, top] = -1
        orders = np.concatenate([zeroed, permutations(attended[n], 3, 5)], 1)
        make = lambda: nnx.merge(graph, parameters)  # noqa: E731
        own = intervention.outcomes(make, jnp.array([source]), jnp.array([target]), jnp.array(orders[None]))
        np.testing.assert_array_equal(found.flips[:, n], np.asarray(own.flipped)[0, :-1, :3].sum(0))
        median = np.sort(np.asarray(own.distance)[0, :-1, 3:], 1)[:, 1]
        np.testing.assert_allclose(found.distances[n], median.sum(), rtol=1e-4)
    assert found.flips[:, 2].tolist() == [0, 0, 0]


def test_random_ranks_depend_on_the_seed_and_the_line_alone():
    graph, parameters = build("luong")
    extractor = prober(builder(graph)).extractor
    together, alone = extractor.extract(parameters, PAIRS), extractor.extract(parameters, PAIRS[3:], first=4)
    one, other = random_ranks(together[3], 1), random_ranks(alone[0], 1)
    np.testing.assert_array_equal(one.words, other.words)
    np.testing.assert_array_equal(one.token, other.token)
    np.testing.assert_array_equal(permutations(together[3], 5, 1), permutations(alone[0], 5, 1))
    assert sorted(one.words[0]) == [0, 1, 2]
    drawn = [random_ranks(together[0], seed).words.tolist() for seed in range(8)]
    assert len({str(each) for each in drawn}) > 1
    elsewhere = extractor.extract(parameters, PAIRS[3:], first=5)[0]
    assert not np.array_equal(permutations(elsewhere, 5, 1), permutations(alone[0], 5, 1))


def test_ranks_of_words_and_tokens():
    """The end token has the largest weight; the word of two pieces has the larger sum."""
    graph, parameters = build("luong")
    (pair,) = prober(builder(graph)).extractor.extract(parameters, PAIRS[3:])
    pair.cross[:] = np.array([[0.1, 0.2, 0.2, 0.5], [0.3, 0.3, 0.4, 0.0], [1, 0, 0, 0]])
    found = ranks(pair, Rule())
    assert found.words.tolist() == [[1, 2, 0], [2, 0, 1]]
    assert found.token.tolist() == [3, 2, 0]
    assert found.links == {(1, 0), (2, 1)}
    assert ranks(pair, Rule(shift=1)).token.tolist() == [2, 0, 0]


def test_kept_words_are_renumbered():
    sentence = Sentence("ab c de", (5, 6, 7, 8, 9), (0, 0, 1, 2, 2))
    assert keep(sentence, (2, 0)) == Sentence("ab de", (5, 6, 8, 9), (0, 0, 1, 1))
    assert keep(sentence, ()) == Sentence("", (), ())


def test_amounts():
    assert [Amount.parse("10%").of(words) for words in (1, 10, 11, 30)] == [1, 1, 2, 3]
    assert [Amount.parse("3").of(words) for words in (2, 30)] == [2, 3]
    assert [str(Amount.parse(text)) for text in ("3", "100%")] == ["3", "100%"]
    for text in ("0", "0%", "0.5", "-1", "", "%", "some"):
        with pytest.raises(UsageError, match=f"--remove {text}: give a number of words above 0"):
            Amount.parse(text)
    with pytest.raises(UsageError, match="no more than 100%"):
        Amount.parse("101%")


def test_an_ensemble_can_only_lose_words():
    graph, parameters = build("luong")
    both = prober(lambda p: Ensemble([nnx.merge(graph, p)] * 2, "probability"))
    assert both.probe(parameters, PAIRS, [Rule()], Wanted(["removal"], AMOUNTS)).falls[0, 0].any()
    with pytest.raises(UsageError, match="which Ensemble does not allow: give --tests removal"):
        both.probe(parameters, PAIRS, [Rule()], Wanted())
