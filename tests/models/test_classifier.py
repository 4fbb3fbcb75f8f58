"""Texts as vectors, against loops over their tokens."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer.config import Attention, Classifier, Rnn
from transformer.errors import UsageError

TEXT = jnp.array([[5, 6, 7, 8, 3], [9, 4, 3, 0, 0], [3, 0, 0, 0, 0]], jnp.int32)
ENCODER = tiny(encoder_layers=1, decoder_layers=1, max_length=8)
SETTINGS = {
    "attention": Classifier(encoder=ENCODER),
    "sparsemax": Classifier(encoder=ENCODER, attention=Attention(score="additive", normalizer="sparsemax")),
    "mean": Classifier(encoder=ENCODER, pooling="mean"),
    "max": Classifier(encoder=Rnn(embedding=6, width=8, bidirectional=True, max_length=8), pooling="max"),
    "first": Classifier(encoder=ENCODER, pooling="first"),
}


def softmax(energies):
    exponentials = np.exp(energies - energies.max())
    return exponentials / exponentials.sum()


def sparsemax(energies):
    """By trying every number of positions with weight (Martins and Astudillo 2016, proposition 1)."""
    largest = np.sort(energies)[::-1]
    size = max(k for k in range(1, len(largest) + 1) if 1 + k * largest[k - 1] > largest[:k].sum())
    return np.maximum(energies - (largest[:size].sum() - 1) / size, 0)


@pytest.mark.parametrize("name", SETTINGS)
def test_logits_are_those_of_a_loop(name):
    """And the texts' padding does not matter."""
    model = SETTINGS[name].build(13, 3, rngs=nnx.Rngs(1))
    graph, parameters = nnx.split(model, nnx.Param)

    @jax.jit
    def run(parameters, text):
        model = nnx.merge(graph, parameters)
        return model(text), model.encoder.encode(text).states

    (logits, weights), states = jax.tree.map(np.asarray, run(parameters, TEXT))
    plain = jax.tree.map(np.asarray, nnx.to_pure_dict(parameters))
    assert (weights is not None) == (name in ("attention", "sparsemax"))
    for b, length in enumerate((5, 3, 1)):
        real = states[b, :length]
        if weights is not None:
            score = plain["query"]["mechanism"]["score_weights"]
            query = plain["query"]["query"] @ score["query"]
            energies = np.array([np.tanh(query + state @ score["memory"]) @ score["vector"] for state in real])
            expected = {"attention": softmax, "sparsemax": sparsemax}[name](energies)
            np.testing.assert_allclose(weights[b], [*expected, *[0] * (5 - length)], atol=1e-6)
            vector = expected @ real
        else:
            vector = {"mean": real.mean(0), "max": real.max(0), "first": real[0]}[name]
        np.testing.assert_allclose(logits[b], vector @ plain["output"] + plain["bias"], atol=1e-5)
    wider = jnp.pad(TEXT, [(0, 0), (0, 2)])
    np.testing.assert_allclose(run(parameters, wider)[0][0], logits, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"attention": Attention(score="none")}, "--model.pooling=mean"),
        ({"attention": Attention(score="additive", window="local_p")}, "--model.attention.window=global"),
        ({"attention": Attention(score="general", key_value_heads=1)}, "--model.encoder.attention"),
        ({"attention": Attention(score="dot"), "pooling": "mean"}, "--model.pooling=attention"),
        ({"attention": Attention(score="general", normalizer="softmx")}, "softmax"),
        ({"encoder": tiny(width=15)}, "--model.encoder.width=15"),
        (
            {"encoder": Rnn(embedding=6, width=8, bidirectional=True), "attention": Attention(score="dot")},
            "states are 16 wide",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(changes, complaint):
    with pytest.raises(UsageError, match=complaint):
        dataclasses.replace(SETTINGS["attention"], **changes).check()
