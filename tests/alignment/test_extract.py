"""Attention weights of whole batches against those of the model, one sentence and one token at a time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer import api
from transformer.alignment.extract import Extractor, Pair
from transformer.alignment.links import Rule
from transformer.alignment.readouts import table
from transformer.alignment.select import all_links
from transformer.config import Attention, Mesh, Rnn
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.distributed import sharding as parallel
from transformer.errors import UsageError
from transformer.models.build import builder, create, split
from transformer.models.ensemble import Ensemble
from transformer.models.interface import FullContext
from transformer.special_tokens import BOS, EOS
from transformer.training.run import train

WORDS = ["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "d", "e", "f", "g"]
TOKENIZERS = Tokenizers(*[WordTokenizer("\n".join([*WORDS, ""]).encode())] * 2)
MODELS = {
    "transformer": tiny(attention=Attention(heads=2, score="additive", places=("cross",)), max_length=16),
    "unrolled": tiny(unroll=True, max_length=16),
    "luong": Rnn(embedding=8, width=8, attention=Attention(score="general", window="local_p"), max_length=16),
    "reversed": Rnn(embedding=8, width=8, attention=Attention(score="dot"), reverse=True, max_length=16),
}
PAIRS = [("a b c", "d e"), ("", "a"), ("c", "a b c d e f"), ("a", ""), ("g f e d c b a a a", "b"), ("a " * 16, "a")]


@pytest.fixture(params=MODELS)
def extractor(request):
    graph, parameters = split(create(MODELS[request.param], 11, 11, 1))
    random = np.random.default_rng(1)
    louder = jax.tree.map(lambda p: p + 0.3 * random.normal(size=p.shape).astype(np.float32), parameters)
    mesh = parallel.make_mesh(Mesh())
    return Extractor(builder(graph), TOKENIZERS, mesh, max_length=16), graph, louder


def encode(text):
    return TOKENIZERS.source.encode(text)


def segment(text):
    return TOKENIZERS.source.segment(text)


def test_every_weight_is_the_models_at_that_step(extractor, caplog):
    extract, graph, parameters = extractor
    found = extract.extract(parameters, [Pair(*map(segment, pair)) for pair in PAIRS], first=101)
    assert "omitted pairs longer than 16 tokens: 1 (first: line 106)" in caplog.text
    assert [one is None for one in found] == [False, True, False, True, False, True]
    model = nnx.merge(graph, parameters)
    step = jax.jit(lambda *a: model.step(*a, weights=True))
    for (source, target), one in zip(PAIRS, found, strict=True):
        if one is None:
            continue
        assert one.line == 101 + PAIRS.index((source, target))
        assert one.source.words == tuple(source.split())
        assert one.target.pieces == (*target.split(), "</s>")
        S, T = len(one.source.pieces), len(one.target.pieces)
        memory = model.encode(jnp.array([[*encode(source), EOS]]), weights=True)
        cross_cache, cache = model.init_cache(memory, T)
        for t, token in enumerate([BOS, *encode(target)]):
            _, cache, attention = step(jnp.array([token]), cross_cache, cache)
            assert one.cross.shape[-2:] == (T, S)
            np.testing.assert_allclose(one.cross[:, :, t], attention.cross[0], rtol=1e-5, atol=1e-6)
            if one.decoder is not None:
                own = attention.decoder[0]
                np.testing.assert_allclose(one.decoder[:, :, t], own, rtol=1e-5, atol=1e-6)
                assert not one.decoder[:, :, t, t + 1 :].any()
        if one.encoder is not None:
            np.testing.assert_allclose(one.encoder, memory.attention[0], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(one.encoder.sum(-1), 1, rtol=1e-5)
            np.testing.assert_allclose(one.decoder.sum(-1), 1, rtol=1e-5)
            np.testing.assert_allclose(one.cross.sum(-1), 1, rtol=1e-5)


def test_links_without_matrices_are_those_of_the_matrices(extractor):
    extract, graph, parameters = extractor
    pairs = [Pair(*map(segment, pair)) for pair in PAIRS]
    attended = extract.extract(parameters, pairs, by=["norms"])
    for rule in (Rule(), Rule(layer=0, head=0, threshold=0.2, shift=1), Rule(layer=0, by="norms", end="null")):
        assert extract.links(parameters, pairs, rule) == all_links(attended, rule)
    with pytest.raises(UsageError, match="layer 2: the attention has layers 0 to"):
        extract.links(parameters, pairs, Rule(layer=2))
    if isinstance(nnx.merge(graph, parameters), FullContext):
        (pair,) = extract.extract(parameters, pairs[:1], by=["full-context"])
        model = nnx.merge(graph, parameters)
        target_in = jnp.array([[BOS, *encode(PAIRS[0][1])]])
        expected = model.attend_in_full_context(model.encode(jnp.array([[*encode(PAIRS[0][0]), EOS]])), target_in)
        np.testing.assert_allclose(pair.matrix("full-context"), expected[0], rtol=1e-5, atol=1e-6)
        assert not np.allclose(pair.matrix("full-context"), pair.cross, atol=1e-3)
        with pytest.raises(UsageError, match="not for Ensemble: give --by weights"):
            _ = table.Passes(Ensemble([model], "probability"), None).full_context
    else:
        with pytest.raises(UsageError, match="full-context is defined for one Transformer decoder"):
            extract.links(parameters, pairs, Rule(by="full-context"))


def test_a_trained_run_attends_to_pairs_and_to_its_own_translations(settings, tmp_path):
    train(dataclasses.replace(settings, model=MODELS["luong"]), tmp_path / "run", "toy")
    model = api.load(tmp_path / "run")
    lines = ["ba de gi", "", "lo"]
    hypotheses = model.search(lines, beam=3)
    own = model.attend(lines, beam=3)
    for line, hypothesis, one in zip(lines, hypotheses, own, strict=True):
        if not hypothesis.tokens:
            assert one is None
            continue
        assert one.source.words == tuple(line.split())
        assert one.target.words == tuple(hypothesis.text.split())
        assert len(one.target.pieces) == len(hypothesis.tokens) + 1
        (forced,) = model.attend([line], [hypothesis.text])
        np.testing.assert_allclose(forced.cross, one.cross, rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="3 sources but 1 target"):
        model.attend(lines, ["x"])
