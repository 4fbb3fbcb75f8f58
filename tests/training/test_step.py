"""The denominator of an update's gradient, and the moving average of its parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import tiny
from tests.training.test_loop import NOTHING, assert_identical, final, interrupt_at, make_batch, with_training
from transformer import config
from transformer.data.batching.pairs import Batch
from transformer.distributed import sharding as parallel
from transformer.errors import InterruptedRunError, UsageError
from transformer.models.build import create, split
from transformer.storage.run import Run
from transformer.tasks.translation.loss import TranslationLoss
from transformer.tasks.translation.prepared import PreparedTranslation
from transformer.training import optimizer as optim
from transformer.training import step as update
from transformer.training.run import train
from transformer.training.stored import StoredCheckpoints

MESH = parallel.make_mesh(config.Mesh(data=1))
MODEL = tiny(encoder_layers=1, decoder_layers=1, dropout=0.0, attention_dropout=0.0, feedforward_dropout=0.0)


def begun(compiler_options=None, **changes):
    """A step compiled by jax.jit, and its first state; plain gradient descent of rate 1."""
    settings = with_training(config.Config(model=MODEL), **changes)
    graph, parameters = split(create(MODEL, 13, 13, 1))
    optimizer = optim.optimizer(config.Optimizer(name="sgd", clip=0.0), lambda _: 1.0)
    state = update.init_state(parameters, optimizer, MESH, settings.model.sharding(), ema=settings.training.ema > 0)
    step = update.make_step(graph, TranslationLoss.of(settings), optimizer, settings, MESH)
    return jax.jit(step, compiler_options=compiler_options), state


def test_over_sentences_the_gradient_is_the_sum_over_the_number_of_real_rows():
    """Six pairs and two empty rows: per token times tokens a sentence. What is logged stays the mean over tokens."""
    batch = Batch(*(np.concatenate([x, np.zeros((2, x.shape[1]), np.int32)]) for x in make_batch(6)[:3]))
    moved, metrics = {}, {}
    for mean_over in ("tokens", "sentences"):
        step, state = begun(mean_over=mean_over, accumulate=2)
        new, found = step(state, batch, NOTHING)
        metrics[mean_over] = found.values() | {"tokens": found.counts["tokens"]}
        moved[mean_over] = jax.tree.map(lambda a, b: np.asarray(b - a), state["parameters"], new["parameters"])
    ratio = (batch.target_out != 0).sum() / 6
    assert ratio > 1.5
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b * ratio, atol=1e-5), moved["sentences"], moved["tokens"])
    assert metrics["sentences"].keys() == metrics["tokens"].keys()
    for name in ("loss", "nll", "tokens"):
        assert metrics["sentences"][name] == metrics["tokens"][name]
    np.testing.assert_allclose(metrics["sentences"]["grad_norm"], metrics["tokens"]["grad_norm"] * ratio, rtol=1e-5)


def test_the_average_is_that_of_a_loop():
    """With its warm-up: 1/10 of the old after the first update, then 2/11, 3/12, up to the decay. The parameters
    themselves are bit for bit those without an average, if XLA compiles as in training."""
    emitters = {"xla_cpu_use_fusion_emitters": True}
    (step, state), (plain, alone) = begun(emitters, ema=0.3), begun(emitters)
    expected = jax.tree.map(np.asarray, state["parameters"])
    assert_identical(jax.tree.map(np.asarray, state["ema"]), expected)
    for done in range(6):
        state, _ = step(state, make_batch(4, done), NOTHING)
        decay = min(0.3, (1 + done) / (10 + done))
        new = jax.tree.map(np.asarray, state["parameters"])
        alone, _ = plain(alone, make_batch(4, done), NOTHING)
        assert_identical(new, jax.tree.map(np.asarray, alone["parameters"]))
        expected = jax.tree.map(lambda old, now, d=decay: d * old + (1 - d) * now, expected, new)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state["ema"], expected)
        assert update.eval_params(state) is state["ema"]
    assert {leaf.dtype for leaf in jax.tree.leaves(state["ema"])} == {jnp.dtype("float32")}


def test_the_average_is_sharded_like_the_parameters():
    _, state = begun(ema=0.9)
    places = parallel.shardings_for(MESH, state, MODEL.sharding())
    jax.tree.map(lambda a, b: None if a == b else pytest.fail("elsewhere"), places["ema"], places["parameters"])
    assert "ema" not in begun()[1]


@pytest.mark.slow
def test_a_run_with_an_average_resumes_exactly_and_translates_with_it(settings, trained, tmp_path, monkeypatch):
    """Stopped between two validations. The parameters themselves are updated as without any average."""
    averaging = with_training(settings, ema=0.8)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    validated = []
    original = PreparedTranslation.validation

    def validation(*of):
        validate = original(*of)
        return lambda parameters: (validated.append(jax.tree.map(np.asarray, parameters)), validate(parameters))[1]

    with monkeypatch.context() as patch:
        patch.setattr(PreparedTranslation, "validation", validation)
        train(averaging, whole, "toy")
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        with pytest.raises(InterruptedRunError):
            train(averaging, stopped, "toy")
    train(averaging, stopped, "toy", resume=True)
    assert_identical(final(stopped), final(whole))
    assert_identical(final(whole), validated[-1])

    parameters = final(trained)
    checkpoints = StoredCheckpoints(Run(whole).checkpoints, settings.training)
    without = jax.tree.map(np.asarray, checkpoints.parameters(12, parameters, MESH))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), without, parameters)
    apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), parameters, final(whole))
    assert max(jax.tree.leaves(apart)) > 1e-4
    with pytest.raises(UsageError, match=r"--training\.ema=0\.8, not 0\.0"):
        train(settings, whole, "toy", resume=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"ema": 1.0}}, "--training.ema must be from 0 to 0.9999999, not 1.0"),
        ({"schedule": {"warmup": 0}}, "--schedule.warmup=0: --schedule.name=inverse_sqrt"),
        ({"schedule": {"name": "halving", "hold": 5, "warmup": 9}}, "--schedule.hold=5: .*--schedule.warmup=9"),
        ({"schedule": {"name": "halving", "every": 0}}, "--schedule.every must be at least 1, not 0"),
        ({"optimizer": {"weight_decay": 0.1}}, "--optimizer.weight-decay needs --optimizer.name=adamw: adam "),
        ({"optimizer": {"rho": 1.0}}, "--optimizer.rho must be"),
        ({"optimizer": {"epsilon_root": 0.0}}, "--optimizer.epsilon-root must be"),
        ({"attention": {"fused": "always"}}, "--model.attention.fused=always .*--model.attention-dropout=0, not 0.1"),
        ({"attention": {"fused": "always", "score": "dot"}}, "--model.attention.fused=always .*score=dot"),
        (
            {"attention": {"fused": "always", "normalizer": "sparsemax"}},
            "--model.attention.fused=always .*normalizer=sparsemax nothing would be fused; give .*fused=auto",
        ),
        ({"model": config.Rnn(attention=config.Attention("general", fused="always"))}, "always needs a Transformer"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, tmp_path, changes, said):
    for part, values in changes.items():
        if part == "attention":
            attention = dataclasses.replace(settings.model.attention, **values)
            settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, attention=attention))
        else:
            value = values if part == "model" else dataclasses.replace(getattr(settings, part), **values)
            settings = dataclasses.replace(settings, **{part: value})
    with pytest.raises(UsageError, match=said):
        train(settings, tmp_path / "run", "toy")
    assert not (tmp_path / "run").exists()
