"""The loss of translation against sums over single tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer.config import Guided, Translation
from transformer.data.batching.pairs import Batch
from transformer.models.build import create, split
from transformer.tasks.translation.loss import TranslationLoss

STILL = {"dropout": 0.0, "attention_dropout": 0.0, "feedforward_dropout": 0.0}
SOURCE = jnp.array([[5, 6, 7, 3], [8, 9, 3, 0]], jnp.int32)
TARGET_IN = jnp.array([[2, 4, 5, 6], [2, 7, 0, 0]], jnp.int32)
TARGET_OUT = jnp.array([[4, 5, 6, 3], [7, 3, 0, 0]], jnp.int32)
ALIGNMENT = jnp.zeros((2, 4, 4)).at[0, 0, 1].set(1).at[0, 2, [0, 2]].set(0.5).at[1, 0, 1].set(1)
BATCH = Batch(SOURCE, TARGET_IN, TARGET_OUT, ALIGNMENT)


@pytest.mark.parametrize("context", ["past", "full"])
def test_guided_heads_have_the_requested_context_and_translation_the_past(context):
    graph, parameters = split(create(tiny(**STILL), 13, 13, 1))
    task = Translation(label_smoothing=0.0, guided=Guided(weight=0.3, layer=0, heads=(1,), context=context))
    loss = TranslationLoss(task, 16)

    @jax.jit
    def values(parameters):
        model = nnx.merge(graph, parameters)
        memory = model.encode(SOURCE)
        hidden, attention = model.decode(memory, TARGET_IN, weights=True)
        logits = jax.nn.log_softmax(model.output(hidden))
        full = model.attend_in_full_context(memory, TARGET_IN)
        return loss.loss(model, BATCH, loss.counts(BATCH), jax.random.key(0)), logits, attention.cross, full

    (total, logged), logits, past, full = values(parameters)
    weights, guiding, nll = {"past": past, "full": full}[context], 0.0, 0.0
    for b in range(2):
        for t in range(4):
            if TARGET_OUT[b, t]:
                nll -= logits[b, t, TARGET_OUT[b, t]]
            for s in np.flatnonzero(ALIGNMENT[b, t]):
                guiding -= ALIGNMENT[b, t, s] * np.log(weights[b, 0, 1, t, s])
    np.testing.assert_allclose(logged["tokens"]["nll"], nll, rtol=1e-5)
    np.testing.assert_allclose(logged["tokens"]["guiding"], guiding, rtol=1e-5)
    np.testing.assert_allclose(total, (nll + 0.3 * guiding) / 6, rtol=1e-5)
    assert not np.allclose(past[0], full[0], atol=1e-3)


def test_r_drop_is_the_mean_of_two_passes_and_of_their_disagreement():
    """The keys of the first pass are those of a loss without R-Drop."""
    graph, parameters = split(create(tiny(**(STILL | {"dropout": 0.3}), encoder_layers=1, decoder_layers=1), 13, 13, 1))
    losses = [TranslationLoss(Translation(label_smoothing=0.0, r_drop=weight), 16) for weight in (0.0, 1e-9, 2.0)]

    @jax.jit
    def values(parameters):
        model = nnx.merge(graph, parameters)
        return [loss.loss(model, BATCH, loss.counts(BATCH), jax.random.key(0)) for loss in losses]

    (one, logged), (both, _), (total, more) = values(parameters)
    np.testing.assert_allclose(more["tokens"]["nll"], logged["tokens"]["nll"], rtol=1e-6)
    apart = more["tokens"]["r_drop"]
    assert apart > 0.01
    assert not np.allclose(both, one, rtol=1e-3)
    np.testing.assert_allclose(total, both + 2.0 * apart / 2 / 6, rtol=1e-5)
