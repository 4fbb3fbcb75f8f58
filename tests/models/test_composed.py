"""Encoders of one family with decoders of another."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from tests.models.conftest import SOURCE, TARGET, Variant
from tests.models.test_rnn import rnn
from transformer import api, cli
from transformer.config import Attention, Composed, Config, Rnn, Transformer, from_json, to_json
from transformer.errors import UsageError
from transformer.models.build import create
from transformer.models.interface import Decoder, Encoder, Model
from transformer.models.rnn.bridge import MeanBridge, masked_mean
from transformer.storage.run import Run
from transformer.training.logger import read
from transformer.training.run import train

GRU = rnn("additive", decoder="bahdanau", cell="gru", bidirectional=True)
VARIANTS = {
    "rnn under transformer": Composed(encoder=rnn(bidirectional=True), decoder=tiny()),
    "rnn under transformer, projected": Composed(encoder=rnn(reverse=True), decoder=tiny(norm="pre", tie="none")),
    "transformer under luong": Composed(encoder=tiny(width=8), decoder=rnn("dot")),
    "transformer under bahdanau, projected": Composed(encoder=tiny(width=12), decoder=GRU),
    "transformer under cho": Composed(encoder=tiny(width=8), decoder=rnn("none", decoder="bahdanau", cell="gru")),
    "luong under bahdanau": Composed(encoder=rnn(), decoder=GRU),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_parts_and_whole_implement_their_protocols(name):
    settings = VARIANTS[name]
    settings.check()
    model = nnx.eval_shape(lambda: create(settings, 17, 13, 1))
    assert (model.project is not None) == ("projected" in name or name == "luong under bahdanau")
    assert isinstance(model, Model)
    assert isinstance(nnx.eval_shape(lambda: settings.build_encoder(17, rngs=nnx.Rngs(1))), Encoder)
    decoder = nnx.eval_shape(lambda: settings.build_decoder(13, rngs=nnx.Rngs(1)))
    assert isinstance(decoder, Decoder)
    assert not isinstance(decoder, Encoder)

    def attend(model):
        memory = model.encode(SOURCE, weights=True)
        return memory, model.decode(memory, TARGET, weights=True)[1]

    memory, record = nnx.eval_shape(attend, model)
    assert memory.states.shape[-1] == settings.memory_width
    assert (record.encoder is not None) == name.startswith("transformer")
    if settings.attention.score != "none":
        assert record.cross.shape == (3, *settings.cross, TARGET.shape[1], SOURCE.shape[1])


def test_first_states_are_the_mean_of_the_memory_through_tanh():
    """Xu 2015, section 3.1.2, by hand for two layers of an LSTM; a sentence without tokens starts from zeros."""
    settings = rnn("none", decoder_layers=2, encoder_layers=2)
    model = create(Composed(encoder=tiny(width=8), decoder=settings), 17, 13, 1)
    memory = model.encode(SOURCE)
    memory = memory._replace(mask=memory.mask.at[2].set(False))
    states, summary = model.decoder.bridge(memory)
    for row, length in enumerate([4, 6, 0]):
        mean = np.asarray(memory.states)[row, :length].sum(0) / max(length, 1)
        np.testing.assert_allclose(summary[row], mean, atol=1e-6)
        for number, matrix in enumerate(model.decoder.bridge.maps):
            expected = np.tanh(mean @ np.asarray(matrix[...]))
            np.testing.assert_allclose(states[number // 2][number % 2][row], expected, atol=1e-6)
    assert isinstance(model.decoder.bridge, MeanBridge)
    assert masked_mean(memory).dtype == jnp.float32


def test_every_parameter_has_a_gradient():
    for name in ("rnn under transformer, projected", "transformer under bahdanau, projected"):
        variant = Variant.of(VARIANTS[name])

        def loss(parameters, variant=variant):
            model = nnx.merge(variant.graph, parameters)
            hidden, _ = model.decode(model.encode(SOURCE), TARGET)
            return jnp.sum((jax.nn.log_softmax(model.output(hidden)) * (TARGET != 0)[..., None]) ** 2)

        for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(variant.parameters)):
            assert np.isfinite(gradient).all(), path
            assert np.abs(gradient).max() > 0, path


def test_settings_survive_json():
    config = Config(model=Composed(encoder=VARIANTS["luong under bahdanau"], decoder=tiny()))
    tree = json.loads(json.dumps(to_json(config)))
    assert tree["model"]["kind"] == "composed"
    assert tree["model"]["encoder"]["encoder"]["kind"] == "rnn"
    assert from_json(tree) == config
    tree["model"]["decoder"]["kind"] = "elmo"
    with pytest.raises(UsageError, match=r"config.model.decoder: unknown kind 'elmo'"):
        from_json(tree)


def test_a_part_is_refused_by_its_own_check_and_flags():
    wrong = Composed(encoder=tiny(width=15), decoder=rnn())
    with pytest.raises(UsageError, match=r"--model.encoder.width=15 does not divide"):
        wrong.check()
    wrong = Composed(encoder=tiny(), decoder=rnn("dott"))
    with pytest.raises(UsageError, match=r"--model.decoder.attention.score=dott .* did you mean dot"):
        wrong.check()


def test_lengths_smoke_and_operations_are_those_of_the_parts():
    settings = Composed(encoder=tiny(max_length=20), decoder=rnn("general", max_length=32))
    assert settings.max_length == 20
    assert settings.with_max_length(9).max_length == 9
    assert settings.smoke() == Composed(encoder=tiny(max_length=20).smoke(), decoder=rnn(max_length=32).smoke())
    source, target = np.array([3, 5]), np.array([2, 4])
    own = settings.decoder.decoder_multiplications(source, target, 13)
    # The family's own bridge copies; this one maps the mean (8 wide) to both leaves of the LSTM's only layer.
    mapped = 2 * len(source) * 8 * 8
    expected = tiny().encoder_multiplications(source) + 8 * 16 * 8 + own + mapped
    assert settings.multiplications(source, target, 13) == expected
    assert isinstance(settings.sharding(), tuple)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Composed(encoder=rnn(bidirectional=True, max_length=32), decoder=tiny()), id="rnn-transformer"),
        pytest.param(Composed(encoder=tiny(), decoder=rnn(attention=Attention(score="general"))), id="transformer-rnn"),
    ],
)
def test_training_search_and_scores(model, settings, tmp_path):
    """The loss falls, and the log-probability of a found translation is that of teacher forcing."""
    tokenizer = dataclasses.replace(settings.tokenizer, joint=False)
    settings = dataclasses.replace(settings, model=model, tokenizer=tokenizer)
    train(settings, tmp_path / "run", "toy")
    losses = [r["loss"] for r in read(Run(tmp_path / "run").metrics) if r["kind"] == "train"]
    assert losses[-1] < losses[0]
    trained = api.load(tmp_path / "run")
    assert trained.settings.model == model
    lines = ["ba de", "gi ko lu"]
    best = trained.search(lines, beam=3)
    scored = trained.score(lines, [one.text for one in best])
    np.testing.assert_allclose(scored.logp, [one.logp for one in best], rtol=1e-4)


def test_a_recipe_and_its_nested_flags(tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(
        "from transformer.config import Composed, Config, Rnn, Transformer\n"
        "config = Config(model=Composed(encoder=Rnn(), decoder=Transformer()))\n"
    )
    flags = ["--model.encoder.width", "32", "--model.decoder.attention.heads", "2"]
    command: Any = cli.parse(["train", str(recipe), *flags])
    assert command.config.model.encoder == Rnn(width=32)
    assert command.config.model.decoder == Transformer(attention=Attention(heads=2))
