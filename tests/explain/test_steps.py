"""The steps of self-attention equal the model's, and the text prints them."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny, untrained
from transformer import cli
from transformer.commands import explain
from transformer.config import Attention, Composed, Rnn
from transformer.errors import UsageError
from transformer.explain.transformer.layer import normalise
from transformer.explain.transformer.steps import decoder_steps, encoder_steps
from transformer.explain.transformer.terminal import text
from transformer.explain.words import middle_word
from transformer.models.build import create, split
from transformer.nn.stack import unstack

PIECES = ["a", "b", "c", "</s>", "<pad>"]
SOURCE = ["a", "b", "</s>"]


def names(ids):
    return [f"w{id_}" for id_ in ids]


@pytest.fixture(params=["post", "pre", "dot", "learned"])
def model(request):
    changes = {
        "post": {},
        "pre": {"norm": "pre"},
        "dot": {"attention": Attention(score="dot", heads=2)},
        "learned": {"positions": "learned"},
    }[request.param]
    return louder(create(tiny(**changes), 13, 13, 1))


def louder(model):
    """Numbers so large that heads differ."""
    graph, parameters = split(model)
    random = np.random.default_rng(0)
    shift = jax.tree.map(lambda p: p + 0.2 * random.normal(size=p.shape).astype(np.float32), parameters)
    return nnx.merge(graph, shift)


@pytest.mark.parametrize("layer", [0, 1])
def test_encoder_steps_equal_the_models_weights_and_output(model, layer):
    tokens = [5, 6, 7, 3, 0]
    steps = encoder_steps(model, tokens, PIECES, layer)
    theirs = model.encode(jnp.array([tokens]), weights=True).attention[0, layer]
    ours = np.stack([head.weights for head in steps.attention.heads])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.sum(-1), 1, rtol=1e-5)
    assert not ours[:, :, 4].any(), "no token attends to padding"
    for head in steps.attention.heads:
        assert np.isinf(head.masked[:, 4]).all()
        ratio = np.sqrt(8) if steps.attention.is_scaled else 1
        np.testing.assert_allclose(head.scores, head.scaled * ratio, rtol=1e-5)
        np.testing.assert_allclose(
            head.context[2], sum(head.weights[2, n] * head.value[n] for n in range(5)), rtol=1e-4
        )
    # The output, computed by the model's own module.
    attention = unstack(model.encoder)[layer].attention
    read = jnp.asarray(steps.attention.read)[None]
    mask = jnp.array([[[[True] * 4 + [False]]]])
    expected, _ = attention(read, *attention.project(read), mask, jnp.arange(5)[None], jnp.array([4]))
    np.testing.assert_allclose(steps.attention.output, expected[0], rtol=1e-3, atol=1e-5)
    if layer == 0 and not steps.normed:
        np.testing.assert_allclose(steps.embedding + steps.positions, steps.attention.read, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1])
def test_decoder_steps_attend_to_the_past_only(model, layer):
    source, target = [5, 6, 3], [2, 7, 8, 9]
    memory = model.encode(jnp.array([source]))
    steps = decoder_steps(model, memory, SOURCE, target, ["<s>", "x", "y", "z"], layer, names)
    _, attention = model.decode(memory, jnp.array([target]), weights=True)
    ours = np.stack([head.weights for head in steps.attention.heads])
    np.testing.assert_allclose(ours, attention.decoder[0, layer], rtol=1e-4, atol=1e-5)
    assert not np.triu(ours, 1).any()


def test_a_norm_by_hand():
    norm = SimpleNamespace(scale=np.array([2.0, 1.0]), bias=np.array([0.0, 1.0]), epsilon=0.0)
    found = normalise(norm, np.array([[1.0, 3.0]]))
    assert (found.mean, found.deviation) == (2, 1)
    np.testing.assert_allclose(found.output, [[-2, 2]])


def test_the_whole_layer_equals_the_models(model):
    """The last layers end where `encode` and `decode` do."""
    tokens, target = [5, 6, 7, 3, 0], [2, 7, 8, 9]
    memory = model.encode(jnp.array([tokens]))
    steps = encoder_steps(model, tokens, PIECES, 1)
    end = steps.final.output if steps.normed else steps.feedforward_residual.after
    np.testing.assert_allclose(end, memory.states[0], rtol=1e-3, atol=1e-4)
    assert (steps.cross, steps.prediction) == (None, None)
    first = encoder_steps(model, tokens, PIECES, 0)
    np.testing.assert_allclose(first.feedforward_residual.after, steps.attention_residual.before, rtol=1e-3, atol=1e-4)
    assert (first.final is None) == (first.attention_residual.entry is None or first.layer < 1)

    steps = decoder_steps(model, memory, PIECES, target, ["<s>", "x", "y", "z"], 1, names)
    hidden, attention = model.decode(memory, jnp.array([target]), weights=True)
    weights = np.stack([head.weights for head in steps.cross.heads])
    np.testing.assert_allclose(weights, attention.cross[0, 1], rtol=1e-4, atol=1e-5)
    assert not weights[:, :, 4].any(), "no token attends to padding"
    assert np.isinf(steps.cross.heads[0].masked[:, 4]).all()
    probabilities = np.asarray(jax.nn.softmax(model.output(hidden)[0]))
    for n, row in enumerate(probabilities):
        order = np.argsort(-row)[:5]
        assert list(steps.prediction.words[n]) == names(order)
        np.testing.assert_allclose(steps.prediction.probabilities[n], row[order], rtol=1e-3)
    said = text(steps, 2, [0])
    assert said.count("== Head 0 ") == 2
    assert 'The next token after "y"' in said
    assert f"{steps.prediction.probabilities[2, 0]:.3f}" in said
    first = decoder_steps(model, memory, PIECES, target, ["<s>", "x", "y", "z"], 0, names)
    assert first.prediction is None
    assert "--layer 1" in text(first, 2, [0])


def test_any_score_window_and_activation():
    """Also a gated unit; the steps compare themselves with the model."""
    attention = Attention(score="additive", window="local_p", half_width=2, heads=2, places=("encoder", "cross"))
    model = louder(create(tiny(attention=attention, activation="swiglu"), 13, 13, 1))
    steps = encoder_steps(model, [5, 6, 7, 3, 0], PIECES, 0)
    for head in steps.attention.heads:
        assert (head.masked[~head.window] == -np.inf).all()
        assert not head.weights[~head.window].any()
        assert (head.weights.sum(-1) < 1).all(), "a Gaussian takes weight away"
    said = text(steps, 1, [0])
    assert "v_a · tanh(q' + k')" in said
    assert "gain" in said
    memory = model.encode(jnp.array([[5, 6, 7, 3, 0]]))
    steps = decoder_steps(model, memory, PIECES, [2, 7], ["<s>", "x"], 1, names)
    assert (steps.attention.score, steps.cross.score) == ("scaled_dot", "additive")


def test_the_text_prints_the_numbers(model):
    steps = encoder_steps(model, [5, 6, 7, 3, 0], PIECES, 1)
    said = text(steps, 2, [0, 1])
    for number in (0, 1):
        head = steps.attention.heads[number]
        assert f"== Head {number} " in said
        for place in range(5):
            lines = said.split(f"== Head {number} ")[1].splitlines()
            line = next(line for line in lines if line.startswith(f"   {PIECES[place]}"))
            assert f"{head.scores[2, place]:8.2f}" in line
            assert f"{head.weights[2, place]:8.3f}" in line
            assert ("-inf" in line) == (place == 4)
    assert ("LayerNorm" in said) == steps.normed
    assert ("not scaled" in said) != steps.attention.is_scaled


def test_the_text_explains_special_tokens_and_which_heads_it_shows(model):
    steps = encoder_steps(model, [5, 6, 7, 3, 0], PIECES, 1)
    said = text(steps, 2, [1])
    assert "   </s>      ends the sentence\n" in said
    assert "   <pad>     fills up the shorter sentences of a batch" in said
    assert "<s> " not in said
    assert "Shown of the 2 heads: 1; --heads chooses others" in said
    assert "Shown of" not in text(steps, 2, [0, 1])
    memory = model.encode(jnp.array([[5, 6, 3]]))
    steps = decoder_steps(model, memory, SOURCE, [2, 7, 8], ["<s>", "x", "y"], 0, names)
    assert "   <s>       begins the translation\n" in text(steps, 1, [0, 1])


@pytest.mark.parametrize(("pieces", "words", "expected"), [
    ("▁the ▁old ▁fisher man ▁sleeps ▁. </s> <pad>", [0, 1, 2, 2, 3, 4, -1, -1], 4),
    ("▁the ▁fisher man </s>", [0, 1, 1, -1], 0),
    ("▁fisher man ▁. ▁, </s>", [0, 0, 1, 2, -1], 2),  # no whole word with a letter: the middle
    ("a b c", [0, 1, 2], 1),
])  # fmt: skip
def test_the_sample_is_a_whole_word_near_the_middle(pieces, words, expected):
    assert middle_word(pieces.split(), words) == expected


def refused(folder, *arguments, capsys):
    """The exit code of `explain` and what it says on standard error."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(["explain", str(folder), *arguments])
    return exit_.value.code, capsys.readouterr().err


def test_the_command_explains_a_run_and_refuses_what_it_cannot(settings, tmp_path, capsys):
    untrained(settings, tmp_path / "run")

    def run(*arguments):
        return refused(tmp_path / "run", *arguments, capsys=capsys)

    cli.parse(["explain", str(tmp_path / "run"), "ba de gi", "--layer", "1", "--token", "2"])()
    assert 'Embedding of "gi"' in capsys.readouterr().out
    page = tmp_path / "page.html"
    cli.parse(["explain", str(tmp_path / "run"), "ba de gi", "--decoder", "--heads", "1", "--page", str(page)])()
    assert "ba de gi" in page.read_text()
    out = capsys.readouterr().out
    assert out.startswith("translation: ")
    assert "<s>" in out
    for arguments, complaint in (
        (["ba", "--layer", "2"], "--layer=2: the encoder has layers 0 to 1"),
        (["ba", "--heads", "0", "5"], "give some of 0 to 1"),
        (["ba", "--token", "9"], "tokens 0 to 2"),
        ([" "], "no sentence"),
        (["ba", "--page", str(page)], "page.html exists"),
        (["ba " * 40], "31 can be shown"),
        (["ba " * 40, "--decoder"], "32 can be shown"),
        (["b\udcff"], "not UTF-8"),
    ):
        code, complained = run(*arguments)
        assert code == 2
        assert complaint in complained
    other = dataclasses.replace(settings, model=tiny(attention=Attention(heads=1)))
    untrained(other, tmp_path / "one")
    cli.parse(["explain", str(tmp_path / "one"), "ba de"])()
    assert "head 1" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_explains_halves_of_two_families(settings, tmp_path, capsys):
    """The parts of the model decide what is explained."""
    recurrent = Rnn(embedding=8, width=8, max_length=32)
    mixed = Composed(encoder=tiny(attention=Attention(score="additive", heads=2)), decoder=recurrent)
    untrained(dataclasses.replace(settings, model=mixed), tmp_path / "mixed")
    page = tmp_path / "recurrent.html"
    arguments = ["explain", str(tmp_path / "mixed"), "ba de"]
    cli.parse([*arguments, "--layer", "1"])()
    said = capsys.readouterr().out
    assert "The score additive: v_a · tanh(q' + k')" in said
    assert "equals the model's own" in said
    cli.parse([*arguments, "--decoder", "--token", "1", "--page", str(page)])()
    assert "step 1 of 0 to" in capsys.readouterr().out
    assert "A recurrent decoder, step by step" in page.read_text()
    for arguments, complaint in (
        (["--decoder", "--layer", "1"], "--layer=1: a recurrent decoder"),
        (["--decoder", "--heads", "0"], "--heads: the attention of a recurrent decoder"),
        (["--layer", "2"], "--layer=2: the encoder has layers 0 to 1"),
    ):
        code, complained = refused(tmp_path / "mixed", "ba", *arguments, capsys=capsys)
        assert code == 2
        assert complaint in complained
    sparse = tiny(attention=Attention(normalizer="sparsemax", heads=2, places=("cross",)))
    untrained(dataclasses.replace(settings, model=sparse), tmp_path / "sparse")
    said = refused(tmp_path / "sparse", "ba", "--decoder", capsys=capsys)[1]
    assert "has normalizer=sparsemax" in said
    untrained(dataclasses.replace(settings, model=tiny(positions="rotary")), tmp_path / "rotary")
    assert "has positions=rotary" in refused(tmp_path / "rotary", "ba", capsys=capsys)[1]


@pytest.mark.parametrize(("model", "decoder", "expected"), [
    (Rnn(), False, "decoder"),
    (tiny(), False, "encoder"),
    (tiny(), True, "decoder"),
    (Composed(encoder=Rnn(), decoder=tiny()), False, "decoder"),
    (Composed(encoder=tiny(), decoder=Rnn()), False, "encoder"),
])  # fmt: skip
def test_a_recurrent_encoder_has_nothing_to_explain(model, decoder, expected):
    assert explain.side(model, decoder=decoder) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"norm_kind": "rms"}, "has norm-kind=rms, and only LayerNorm is explained"),
        ({"attention": Attention(heads=2, mechanism="talking")}, "has mechanism=talking, and only standard"),
    ],
)
def test_unsupported_models_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        explain.Explain("run", "ba")._check_transformer(tiny(**changes), "encoder")
