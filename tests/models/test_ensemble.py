"""Ensembles of unlike families against averages made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import tiny
from transformer.config import Attention, Rnn
from transformer.models.build import create
from transformer.models.ensemble import Ensemble
from transformer.models.interface import Model

V = 11
SOURCE = jnp.array([[4, 5, 6, 3], [5, 3, 0, 0]])
INTO = jnp.array([[2, 4, 9, 5, 7], [2, 8, 6, 0, 0]])


@pytest.fixture(scope="module")
def members():
    settings = [
        tiny(width=8),
        Rnn(embedding=6, width=8, attention=Attention(score="general"), max_length=32),
        Rnn(embedding=6, width=10, attention=Attention(score="none"), decoder="bahdanau", cell="gru", max_length=32),
    ]
    return [create(one, V, V, seed) for seed, one in enumerate(settings)]


@pytest.mark.parametrize("average", ["probability", "log-probability"])
def test_predictions_are_the_mean_of_the_members(members, average):
    together = Ensemble(members, average)
    hidden, _ = together.decode(together.encode(SOURCE), INTO)
    found = jax.nn.softmax(together.output(hidden))
    each = [member.output(member.decode(member.encode(SOURCE), INTO)[0]) for member in members]
    if average == "probability":
        expected = np.mean([jax.nn.softmax(logits) for logits in each], 0)
    else:
        product = np.exp(np.mean([jax.nn.log_softmax(logits) for logits in each], 0))
        expected = product / product.sum(-1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_step_unrolled_equals_decoding(members):
    together = Ensemble(members, "probability")
    assert isinstance(together, Model)
    memory = together.encode(SOURCE)
    hidden, whole = together.decode(memory, INTO, weights=True)
    cross_cache, cache = together.init_cache(memory, INTO.shape[1], beam=2)
    for t in range(INTO.shape[1]):
        row, cache, now = together.step(jnp.repeat(INTO[:, t], 2), cross_cache, cache, weights=True)
        np.testing.assert_allclose(row[::2], hidden[:, t], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(row[1::2], hidden[:, t], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(now.cross[::2], whole.cross[:, :, :, t], rtol=1e-4, atol=1e-5)


def test_attention_is_the_mean_of_those_that_have_any(members):
    together = Ensemble(members, "probability")
    _, found = together.decode(together.encode(SOURCE), INTO, weights=True)
    each = [member.decode(member.encode(SOURCE), INTO, weights=True)[1].cross for member in members[:2]]
    expected = (each[0].mean((1, 2)) + each[1].mean((1, 2))) / 2
    np.testing.assert_allclose(found.cross[:, 0, 0], expected, rtol=1e-5, atol=1e-6)
    alone = Ensemble(members[2:], "probability")
    assert alone.decode(alone.encode(SOURCE), INTO, weights=True)[1].cross is None
