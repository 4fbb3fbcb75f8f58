"""Decoder-only models against NumPy: one pass over the concatenated text, a sentence and a head at a time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.conftest import SOURCE, TARGET, Variant
from tests.models.test_transformer import Numpy
from transformer import api
from transformer.config import Attention, Composed, Gpt, Rnn
from transformer.errors import UsageError
from transformer.models.build import create, split
from transformer.models.interface import Changes, Embeds, Model
from transformer.storage.run import Run
from transformer.training.logger import read
from transformer.training.run import train


def gpt(**changes):
    """Thousands of parameters, every dropout on."""
    values = {
        "layers": 2,
        "width": 16,
        "feedforward": 24,
        "attention": Attention(heads=2),
        "max_length": 32,
        "dropout": 0.2,
        "attention_dropout": 0.1,
        "feedforward_dropout": 0.1,
    }
    return Gpt(**(values | changes))


WINDOWED = "gpt, prefix, T5's positions, shared keys, a window"
VARIANTS = {"gpt": gpt()}
OTHERS = {
    WINDOWED: gpt(
        prefix="bidirectional",
        positions="t5",
        tie="none",
        attention=Attention(heads=2, key_value_heads=1, window="local_m", half_width=3),
    ),
    "gpt, prefix": gpt(prefix="bidirectional", tie="target"),
    "gpt, post-norm, rotary positions, swiglu": gpt(norm="post", positions="rotary", activation="swiglu"),
    "gpt, Shaw's positions, normalised keys, cosine": gpt(
        positions="shaw", attention=Attention(heads=2, score="cosine", query_key_norm=True)
    ),
    "gpt, no positions, additive score, sparsemax, talking heads": gpt(
        positions="none",
        attention=Attention(heads=2, score="additive", normalizer="sparsemax", mechanism="talking"),
    ),
}


class OnePass(Numpy):
    """Source and target as one text."""

    def __call__(self, source, target):
        """Logits [T, V] of the target, and the last layer's weights [H, T, S + T]."""
        n, settings = len(source), self.settings
        x = np.zeros((n + len(target), settings.width))
        for t, token in enumerate([*source, *target]):
            table = self.p["embed_source" if t < n or settings.tie == "all" else "embed_target"]["table"]
            x[t] = table[token] * np.sqrt(settings.width)
            if settings.positions == "learned":
                x[t] += self.p["positions"]["learned"][t]
        allowed = np.zeros((len(x), len(x)), bool)
        for t in range(len(x)):
            for s in range(len(x)):
                allowed[t, s] = s <= t or (settings.prefix == "bidirectional" and t < n and s < n)
                if settings.attention.window == "local_m":
                    allowed[t, s] &= abs(s - t) <= settings.attention.half_width
        causal = settings.prefix == "causal"
        for i in range(settings.layers):
            p = jax.tree.map(lambda a, i=i: a[i], self.p["layers"])

            def attend(y, p=p):
                nonlocal used
                out, used = self.attention(y, y, p["attention"], allowed, causal)
                return out

            used = None
            x = self.residual(x, attend, p["attention_residual"])
            x = self.residual(x, lambda y, p=p: self.feedforward(y, p["feedforward"]), p["feedforward_residual"])
        hidden = self.norm(x, self.p["norm"]) if settings.norm == "pre" else x
        owner = {"all": "embed_source", "target": "embed_target"}.get(settings.tie)
        table = self.p[owner] if owner else self.p["output"]["embedding"]
        return hidden[n:] @ table["table"].T, used[:, n:]


@pytest.mark.parametrize("name", ["gpt", WINDOWED, "gpt, post-norm, rotary positions, swiglu"])
def test_encoding_and_decoding_equal_one_pass_over_the_concatenation(name):
    """With padding between source and target, and several lengths in the batch."""
    settings, _, parameters = variant = Variant.of((VARIANTS | OTHERS)[name])
    logits, _, attention = variant.decode(SOURCE, TARGET)
    reference = OnePass(settings, jax.tree.map(np.asarray, parameters))
    for row in range(len(SOURCE)):
        source, target = (np.asarray(tokens[row][tokens[row] != 0]) for tokens in (SOURCE, TARGET))
        S, T = len(source), len(target)
        expected, weights = reference(source, target)
        np.testing.assert_allclose(logits[row, :T], expected, atol=1e-5)
        cross, own = attention.cross[row, -1, :, :T], attention.decoder[row, -1, :, :T]
        np.testing.assert_allclose(cross[:, :, :S], weights[:, :, :S], atol=1e-5)
        np.testing.assert_allclose(own[:, :, :T], weights[:, :, S:], atol=1e-5)
        assert not cross[:, :, S:].any(), "padding gets no weight"
        np.testing.assert_allclose(cross.sum(-1) + own.sum(-1), 1, atol=1e-5)


def test_pairs_in_one_row_are_read_as_in_separate_rows():
    """Sources and targets of two sentences, one after the other; gradients are tested in `test_packed`."""
    _, graph, parameters = Variant.of(OTHERS[WINDOWED])
    source, target = jnp.array([[5, 6, 3, 8, 9, 10, 3, 0]]), jnp.array([[2, 5, 6, 7, 2, 8, 9, 0, 0]])
    segments = jnp.array([[1, 1, 1, 2, 2, 2, 2, 0]]), jnp.array([[1, 1, 1, 1, 2, 2, 2, 0, 0]])

    @jax.jit
    def packed(parameters):
        model = nnx.merge(graph, parameters)
        hidden, record = model.decode(
            model.encode(source, segments=segments[0]), target, weights=True, segments=segments[1]
        )
        return hidden, record.cross

    hidden, cross = packed(parameters)
    rows = jnp.array([[5, 6, 3, 0], [8, 9, 10, 3]]), jnp.array([[2, 5, 6, 7], [2, 8, 9, 0]])
    _, alone, record = Variant.of(OTHERS[WINDOWED]).decode(*rows)
    np.testing.assert_allclose(hidden[0, :4], alone[0], atol=1e-5)
    np.testing.assert_allclose(hidden[0, 4:7], alone[1, :3], atol=1e-5)
    np.testing.assert_allclose(cross[0, :, :, :4, :3], record.cross[0, :, :, :, :3], atol=1e-5)
    np.testing.assert_allclose(cross[0, :, :, 4:7, 3:7], record.cross[1, :, :, :3], atol=1e-5)
    assert not cross[0, :, :, :4, 3:].any()


def test_a_causal_source_does_not_see_ahead_and_a_bidirectional_one_does():
    changed = SOURCE.at[1, 4].set(12)
    for prefix in ("causal", "bidirectional"):
        graph, parameters = split(create(gpt(prefix=prefix), 13, 13, 1))
        encode = jax.jit(lambda source, p=parameters, g=graph: nnx.merge(g, p).encode(source).states)
        before, after = encode(SOURCE), encode(changed)
        assert np.allclose(before[1, :4], after[1, :4]) == (prefix == "causal")
        assert not np.allclose(before[1, 4:], after[1, 4:])
        np.testing.assert_array_equal(before[0], after[0])


def test_it_implements_its_protocols():
    model = nnx.eval_shape(lambda: create(gpt(), 13, 13, 1))
    assert isinstance(model, Model)
    assert isinstance(model, Embeds)
    assert isinstance(model, Changes)


def test_changed_weights_are_those_on_the_source():
    """The source is not read if they are zero; those on the target stay."""
    _, graph, parameters = Variant.of(gpt())

    @jax.jit
    def step(parameters, factor):
        model = nnx.merge(graph, parameters)
        model.change_attention(lambda weights: factor * weights)
        cross_cache, cache = model.init_cache(model.encode(SOURCE), 3)
        hidden, _, record = model.step(jnp.array([2, 2, 2]), cross_cache, cache, weights=True)
        return hidden, record

    (_, plain), (blind, record) = step(parameters, 1.0), step(parameters, 0.0)
    assert not record.cross.any()
    np.testing.assert_allclose(record.decoder[:, 0], plain.decoder[:, 0], atol=1e-6)  # of the first layer
    model = nnx.merge(graph, parameters)
    whole, _ = model.decode(model.encode(SOURCE), jnp.array([[2], [2], [2]]))
    assert not np.allclose(blind, whole[:, 0], atol=1e-3)


def test_number_of_parameters_and_of_multiplications_by_hand():
    """Table of 13, 64 positions; a layer's attention 4 D^2, feed-forward 2 D F + F + D, norms 2 D each."""
    settings = gpt(layers=3)
    _, parameters = split(create(settings, 13, 13, 1))
    D, F = 16, 24
    layer = 4 * D * D + 2 * D * F + F + D + 2 * 2 * D
    assert sum(p.size for p in jax.tree.leaves(parameters)) == 13 * D + 64 * D + 3 * layer + 2 * D
    source, target = np.array([3, 5]), np.array([2, 4])
    every = 3 * (4 * D * D + 2 * D * F)
    prefix = 8 * every + 3 * 2 * D * (9 + 25)
    rest = 6 * (every + D * 13) + 3 * 2 * D * (2 * (2 + 3) + 4 * (4 + 5))
    assert settings.multiplications(source, target, 13) == prefix + rest


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (gpt(width=15), "--model.width=15 does not divide"),
        (gpt(attention=Attention(heads=2, places=("cross",))), "--model.attention.places cross: a Gpt model has one"),
        (gpt(attention=Attention(heads=2, window="local_p")), "--model.attention.window=local_p needs the length"),
        (gpt(attention=Attention(heads=2, score="location")), "--model.attention.score=location has an energy for"),
        (gpt(attention=Attention(heads=2, fused="always")), "--model.attention.fused=always supports no dropout"),
        (gpt(attention=Attention(heads=2, mechanism="differential")), "mechanism=differential does not read a source"),
        (gpt(positions="t6"), "did you mean t5"),
        (Composed(encoder=gpt(), decoder=Rnn()), "--model.encoder: a Gpt model reads source and target"),
        (Composed(encoder=Rnn(), decoder=gpt()), "--model.decoder: a Gpt model reads source and target"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        wrong.check()


@pytest.mark.slow
def test_the_loss_falls():
    """Gradient descent on a batch, with dropout."""
    _, graph, parameters = Variant.of(gpt(layers=1))
    out = jnp.pad(TARGET[:, 1:], [(0, 0), (0, 1)])

    @jax.jit
    def descend(parameters, number):
        def loss(parameters):
            model, keys = nnx.merge(graph, parameters), jax.random.split(jax.random.key(number))
            hidden, _ = model.decode(model.encode(SOURCE, keys[0]), TARGET, keys[1])
            logp = jnp.take_along_axis(jax.nn.log_softmax(model.output(hidden)), out[..., None], -1)
            return -(logp[..., 0] * (out != 0)).sum()

        value, gradients = jax.value_and_grad(loss)(parameters)
        return value, gradients, jax.tree.map(lambda p, g: p - 0.02 * g, parameters, gradients)

    values = []
    for number in range(15):
        value, gradients, parameters = descend(parameters, number)
        values.append(value)
        if number == 0:
            for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
                assert np.isfinite(gradient).all(), path
                assert np.abs(gradient).max() > 0, path
    assert values[-1] < 0.6 * values[0]


@pytest.mark.slow
def test_training_search_scores_and_alignment(settings, tmp_path):
    """The log-probability of a found translation is that of teacher forcing, and the search's attention the read-out's;
    read-outs that a single stack does not have are refused."""
    train(dataclasses.replace(settings, model=gpt()), tmp_path / "run", "toy")
    losses = [record["loss"] for record in read(Run(tmp_path / "run").metrics) if record["kind"] == "train"]
    assert losses[-1] < losses[0]
    trained, lines = api.load(tmp_path / "run"), ["ba de", "gi ko lu"]
    best = trained.search(lines, beam=3, attention=True)
    texts = [one.text for one in best]
    scored = trained.score(lines, texts)
    np.testing.assert_allclose(scored.logp, [one.logp for one in best], rtol=1e-4)
    found = trained.attend(lines, texts, by=["omission", "gradient"])
    for one, record in zip(best, found, strict=True):
        np.testing.assert_allclose(record.cross.mean((0, 1)), one.attention, atol=1e-4)
        assert record.readouts["omission"].shape[-2:] == record.readouts["gradient"].shape[-2:]
    for name, message in (("norms", "Gpt does not: give another --by"), ("full-context", "not for Gpt: give --by")):
        with pytest.raises(UsageError, match=message):
            trained.attend(lines, texts, by=[name])


def test_smoke_keeps_the_shape():
    assert gpt(layers=9, width=256).smoke() == gpt(feedforward=64)
    assert dataclasses.replace(gpt(), max_length=9) == gpt().with_max_length(9)
