"""Recomputation in the backward pass: the same gradients, with less memory."""

import jax
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from tests.training.test_loop import make_batch
from transformer.config import Attention, Rnn
from transformer.models.build import create, split

DEEP = tiny(encoder_layers=6, decoder_layers=2, width=16, feedforward=64)
RNN = Rnn(embedding=16, width=16, decoder="bahdanau", cell="gru", attention=Attention(score="additive", hidden=32))
FEEDING = Rnn(embedding=16, width=16, attention=Attention(score="general"))
BATCH = make_batch(8)


def compiled(model, how):
    graph, parameters = split(create(model, 13, 13, 1, remat=how))

    def loss(parameters):
        net = nnx.merge(graph, parameters)
        keys = jax.random.split(jax.random.key(1))
        hidden, _ = net.decode(net.encode(BATCH.source, keys[0]), BATCH.target_in, keys[1])
        return (net.output(hidden) ** 2).mean()

    return jax.jit(jax.value_and_grad(loss)).lower(parameters).compile(), parameters


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(DEEP, id="scan"),
        pytest.param(tiny(unroll=True), id="unrolled", marks=pytest.mark.slow),
        pytest.param(RNN, id="bahdanau"),
        pytest.param(FEEDING, id="luong", marks=pytest.mark.slow),
    ],
)
def test_gradients_are_those_of_keeping_all(model):
    (plain, parameters), memory = compiled(model, "none"), {}
    value, gradients = plain(parameters)
    memory["none"] = plain.memory_analysis().temp_size_in_bytes
    for how in ("cheap", "all"):
        program, _ = compiled(model, how)
        again, others = program(parameters)
        np.testing.assert_allclose(again, value, rtol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), others, gradients)
        memory[how] = program.memory_analysis().temp_size_in_bytes
    if model is DEEP or model is RNN:
        assert memory["all"] < memory["cheap"] < memory["none"]


@pytest.mark.slow
def test_unrolled_layers_are_really_computed_again():
    """XLA must not merge the recomputation with the first computation: the program has more products."""
    model = tiny(unroll=True, encoder_layers=1, decoder_layers=1)
    count = {how: compiled(model, how)[0].as_text().count(" dot(") for how in ("none", "all")}
    assert count["none"] > 10
    assert count["all"] > count["none"]
