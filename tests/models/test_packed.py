"""Rows of several sentences, against the same sentences in separate rows, and which settings refuse them."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from tests.data.batching.test_batches import invented
from tests.models.conftest import Variant
from tests.models.test_gpt import gpt
from transformer import check
from transformer.attention import masks
from transformer.config import Attention, Composed, Config, Guided, Rnn, Translation
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.pairs import assemble, assemble_packed
from transformer.data.examples import Links
from transformer.errors import UsageError
from transformer.models.build import create, split
from transformer.tasks.translation.loss import TranslationLoss

PAIRS = [(5, 4), (3, 6), (1, 2), (7, 3), (2, 2)]
QUIET = {"dropout": 0.0, "attention_dropout": 0.0, "feedforward_dropout": 0.0, "max_length": 8}
"""No dropout. Rows are longer than any sentence may be."""
VARIANTS = {
    "post-norm": tiny(**QUIET, norm="post"),
    "pre-norm, learned positions": tiny(**QUIET, norm="pre", positions="learned"),
    "fused": tiny(**QUIET, attention=Attention(heads=2, fused="always")),
    "composed": Composed(encoder=tiny(**QUIET, width=12), decoder=tiny(**QUIET, positions="learned")),
    "decoder-only": gpt(**QUIET, prefix="bidirectional", attention=Attention(heads=2, window="local_m", half_width=4)),
}


def test_masks_of_segments_are_those_of_a_loop():
    queries, keys = np.array([[1, 1, 2, 3, 3, 0], [1, 2, 2, 2, 0, 0]]), np.array([[1, 2, 2, 3, 0], [1, 1, 2, 0, 0]])
    found, places = masks.same_segment(jnp.array(queries), jnp.array(keys)), masks.positions(jnp.array(queries))
    for b in range(2):
        for t in range(6):
            before = [u for u in range(t) if queries[b, u] == queries[b, t]]
            assert places[b, t] == len(before)
            for s in range(5):
                assert found[b, 0, t, s] == (keys[b, s] > 0 and queries[b, t] == keys[b, s])
    assert found.shape == (2, 1, 6, 5)


def examples():
    small = invented(PAIRS)
    columns = {}
    for name, column in small.columns.items():
        columns[name] = dataclasses.replace(column, values=np.where(column.values > 3, column.values % 9 + 4, 3))
    links = Links(np.array([[0, 1], [2, 1], [2, 5], [0, 0], [6, 2], [1, 1]]), np.array([0, 2, 3, 4, 5, 6]), 0)
    return dataclasses.replace(small, columns=columns, links=links)


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name in ("composed", "decoder-only") else name
        for name in VARIANTS
    ],
    scope="module",
)
def both(request):
    """(loss, logged values, gradients, counts) of the packed batch and of the same pairs in separate rows."""
    made = Variant.of(VARIANTS[request.param])
    contexts = {"post-norm": "past", "pre-norm, learned positions": "full", "composed": "full"}
    context = contexts.get(request.param, "")
    guided = Guided(weight=0.5, heads=(0, 1), context=context) if context else Guided()
    loss = TranslationLoss(Translation(guided=guided), 16)

    @jax.jit
    def values(parameters, batch):
        counts = loss.counts(batch)

        def value(parameters):
            return loss.loss(nnx.merge(made.graph, parameters), batch, counts, jax.random.key(0))

        (total, logged), gradients = jax.value_and_grad(value, has_aux=True)(parameters)
        return total, logged, gradients, counts

    rows = np.array([[3, 1, 2], [0, 4, -1]])
    packed = assemble_packed(examples(), Bucket(3, (13, 12)), rows)
    plain = assemble(examples(), Bucket(8, (8, 7)), np.arange(len(PAIRS)))
    return [values(made.parameters, batch) for batch in (packed, plain)]


def test_losses_and_gradients_are_those_of_separate_rows(both):
    """With the guiding loss in three of them, two of which have the whole target."""
    (loss, logged, gradients, counts), (expected, logged_too, wanted, counts_too) = both
    assert counts == counts_too == {"tokens": 17, "sentences": 5}
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), logged, logged_too)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), gradients, wanted)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted)) > 0.1


def test_without_segments_the_program_is_unchanged():
    """It gathers no positions and has no mask of queries by keys in the encoder: no array [B, 1, S, S] of truths."""
    graph, parameters = split(create(tiny(**QUIET), 13, 13, 1))

    def encode(parameters, source, segments):
        return nnx.merge(graph, parameters).encode(source, segments=segments).states

    source = jnp.ones((2, 6), jnp.int32)
    plain, packed = (str(jax.make_jaxpr(encode)(parameters, source, given)) for given in (None, source))
    assert "cummax" in packed
    assert "bool[2,1,6,6]" in packed
    assert "cummax" not in plain
    assert "bool[2,1,6,6]" not in plain


def packed(model, **changes):
    config = Config(model=model, **changes)
    return dataclasses.replace(config, batching=dataclasses.replace(config.batching, pack=128))


LOCAL = Attention(window="local_m", places=("cross",))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Rnn(), "a Rnn model reads one sentence in each row: give --batching.pack=0"),
        (tiny(max_length=256, attention=LOCAL), "--model.attention.window=local_m counts .*give --model.attention.w"),
        (tiny(max_length=256, attention=Attention(score="location")), "--model.attention.score=location depends on"),
        (Composed(encoder=Rnn(bidirectional=True), decoder=tiny(max_length=256)), "a Rnn model"),
        (
            Composed(encoder=tiny(max_length=256), decoder=tiny(max_length=256, attention=LOCAL)),
            "--model.decoder.attention.window=local_m",
        ),
    ],
)
def test_models_without_support_are_refused(model, message):
    with pytest.raises(UsageError, match=rf"^--batching\.pack: .*{message}"):
        check.everything(packed(model))


def test_settings_incompatible_with_packed_rows():
    config = packed(tiny(max_length=256))
    check.everything(config)
    with_batching = partial(dataclasses.replace, config.batching)
    for changes, message in (
        ({"batching": with_batching(pack=100)}, "pack=100 is shorter than --data.max-length=128"),
        ({"batching": with_batching(rows=64)}, "--batching.rows=64 counts sentences"),
        ({"batching": with_batching(tokens=1_000)}, "raise it to 1024 or lower --batching.pack"),
        (
            {
                "data": dataclasses.replace(config.data, temperature=5.0),
                "tokenizer": dataclasses.replace(config.tokenizer, sampling=0.1),
            },
            "--batching.pack with --tokenizer.sampling .* leave out --data.weights and --data.temperature",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            check.everything(dataclasses.replace(config, **changes))
