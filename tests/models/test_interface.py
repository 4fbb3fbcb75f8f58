"""What a model of every family guarantees to search, training and evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import tiny
from tests.models import test_composed, test_gpt, test_rnn, test_transformer
from tests.models.conftest import SOURCE, TARGET, Variant, init_cache
from transformer.attention.normalizers import NORMALIZERS
from transformer.config import Attention, Rnn

VARIANTS = test_rnn.VARIANTS | test_transformer.VARIANTS | test_composed.VARIANTS | test_gpt.VARIANTS


def normalized(family, name):
    """A model with a normalizer, within windows where there is no other mask than padding."""
    if family == "transformer":
        return tiny(attention=Attention(heads=2, normalizer=name, alpha=1.2 if name == "entmax" else 1.5))
    attention = Attention(score="general", window="local_p", half_width=2, normalizer=name)
    return Rnn(embedding=6, width=8, attention=attention, decoder=family, max_length=32)


OTHERS = [name for name in NORMALIZERS if name != "softmax"]
FAMILIES = ("transformer", "luong", "bahdanau")
NORMALIZED = {f"{family}, {name}": normalized(family, name) for family in FAMILIES for name in OTHERS}
MECHANISMS = {name: tiny(attention=Attention(heads=2, mechanism=name)) for name in ("talking", "differential")}
VARIANTS |= NORMALIZED | MECHANISMS | test_gpt.OTHERS
SLOW = {
    *NORMALIZED,
    *MECHANISMS,
    *test_gpt.OTHERS,
    "transformer under bahdanau, projected",
    "rnn under transformer, projected",
}
SLOW |= {"transformer under cho", "luong under bahdanau"}
# NumPy computes all of these in tests of their own.
SLOW |= {
    "post-norm, sinusoids, all tied",
    "nothing tied, dot, shared keys, T5's positions",
    "luong, both directions, all tied",
    "luong, two layers of gru, dot",
    "luong, both directions of half the width, dot",
    "luong, no input feeding, concat",
    "luong, local-p, no input feeding, cosine",
    "luong, local-m, reversed source",
    "luong, location",
    "bahdanau, one direction, target tied",
}
SLOW -= {"transformer, learned_entmax"}


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in VARIANTS],
    ids=str,
    scope="module",
)
def variant(request):
    return Variant.of(VARIANTS[request.param])


def test_a_row_does_not_depend_on_its_padding(variant):
    """Nor on whether its attention is requested."""
    padded = jnp.pad(SOURCE, [(0, 0), (0, 5)]), jnp.pad(TARGET, [(0, 0), (0, 3)])
    wide, _, nothing = variant.decode(*padded, weights=False)
    assert nothing is None
    narrow, _, _ = variant.decode(SOURCE, TARGET)
    np.testing.assert_allclose(wide[:, :5], narrow, atol=1e-5)


@pytest.mark.parametrize("independent", [False, True])
def test_steps_equal_the_whole(variant, independent):
    """Three hypotheses a sentence, one token at a time, equal teacher forcing; so do the attention weights."""
    targets = np.random.default_rng(5).integers(4, 13, (len(SOURCE) * 3, 6)).astype(np.int32)
    targets[:, 0] = 2
    cross_cache, cache = variant.init_cache(6, 3, independent)
    _, hidden, attention = variant.decode(jnp.repeat(SOURCE, 3, 0), jnp.asarray(targets))
    step = variant.stepper(cross_cache)
    for t in range(6):
        one, cache, record = step(jnp.asarray(targets[:, t]), cache)
        np.testing.assert_allclose(one, hidden[:, t], atol=1e-5)
        for now, whole in ((record.cross, attention.cross), (record.decoder, attention.decoder)):
            assert (now is None) == (whole is None)
            if now is not None:
                np.testing.assert_allclose(now, whole[:, :, :, t], atol=1e-5)


def test_rows_may_be_at_different_positions(variant):
    """Rows are independent: one may be ahead of another, as when a finished sentence is replaced."""
    cross_cache, fresh = variant.init_cache(5, 1)
    step = variant.stepper(cross_cache, weights=False)
    _, ahead, nothing = step(TARGET[:, 0], fresh)
    assert nothing is None
    mixed = jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b[1:]]), ahead, fresh)
    hidden, _, _ = step(jnp.array([TARGET[0, 1], TARGET[1, 0], TARGET[2, 0]]), mixed)
    _, whole, _ = variant.decode(SOURCE, TARGET)
    np.testing.assert_allclose(hidden[0], whole[0, 1], atol=1e-5)
    np.testing.assert_allclose(hidden[1:], whole[1:, 0], atol=1e-5)


def test_every_leaf_of_cache_and_cross_cache_leads_with_sentences(variant):
    shapes = jax.eval_shape(lambda parameters: init_cache(variant.graph, parameters, 5, 4), variant.parameters)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(shapes)} == {len(SOURCE)}


def test_hypotheses_continue_one_another(variant):
    """After every token they are permuted; each must still see only its own past."""
    beam, random = 3, np.random.default_rng(6)
    B = len(SOURCE)
    cross_cache, cache = variant.init_cache(6, beam)
    step = variant.stepper(cross_cache)
    past = np.zeros((B, beam, 6), np.int32)
    for t in range(6):
        past[:, :, t] = random.integers(4, 13, (B, beam)) if t else 2
        one, cache, record = step(jnp.asarray(past[:, :, t].reshape(-1)), cache)
        # What is not yet written is padding, which no past sees.
        _, hidden, attention = variant.decode(jnp.repeat(SOURCE, beam, 0), jnp.asarray(past.reshape(B * beam, -1)))
        np.testing.assert_allclose(one, hidden[:, t], atol=1e-5)
        if record.decoder is not None:
            seen = attention.decoder[:, :, :, t, : t + 1]
            np.testing.assert_allclose(record.decoder[..., : t + 1], seen, atol=1e-5)
        parent = random.integers(0, beam, (B, beam))
        past = past[np.arange(B)[:, None], parent]
        cache = variant.reorder(cache, jnp.asarray(parent))
