"""The steps of self-attention equal the model's, and the text prints them."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny, untrained
from transformer import cli
from transformer.config import Attention, Rnn
from transformer.explain.steps import decoder_steps, encoder_steps, middle_word
from transformer.explain.terminal import text
from transformer.models.build import create, split
from transformer.nn.stack import unstack

PIECES = ["a", "b", "c", "</s>", "<pad>"]


@pytest.fixture(params=["post", "pre", "dot", "learned"])
def model(request):
    changes = {
        "post": {},
        "pre": {"norm": "pre"},
        "dot": {"attention": Attention(score="dot", heads=2)},
        "learned": {"positions": "learned"},
    }[request.param]
    graph, parameters = split(create(tiny(**changes), 13, 13, 1))
    random = np.random.default_rng(0)
    louder = jax.tree.map(lambda p: p + 0.2 * random.normal(size=p.shape).astype(np.float32), parameters)
    return nnx.merge(graph, louder)


@pytest.mark.parametrize("layer", [0, 1])
def test_encoder_steps_equal_the_models_weights_and_output(model, layer):
    tokens = [5, 6, 7, 3, 0]
    steps = encoder_steps(model, tokens, PIECES, layer)
    theirs = model.encode(jnp.array([tokens]), weights=True).attention[0, layer]
    ours = np.stack([head.weights for head in steps.heads])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.sum(-1), 1, rtol=1e-5)
    assert not ours[:, :, 4].any(), "no token attends to padding"
    for head in steps.heads:
        assert np.isinf(head.masked[:, 4]).all()
        ratio = np.sqrt(8) if steps.is_scaled else 1
        np.testing.assert_allclose(head.scores, head.scaled * ratio, rtol=1e-5)
        np.testing.assert_allclose(
            head.context[2], sum(head.weights[2, n] * head.value[n] for n in range(5)), rtol=1e-4
        )
    # The output, by the module that the model is made of.
    attention = unstack(model.encoder)[layer].attention
    read = jnp.asarray(steps.read)[None]
    mask = jnp.array([[[[True] * 4 + [False]]]])
    expected, _ = attention(read, *attention.project(read), mask, jnp.arange(5)[None], jnp.array([4]))
    np.testing.assert_allclose(steps.output, expected[0], rtol=1e-3, atol=1e-5)
    if layer == 0 and not steps.normed:
        np.testing.assert_allclose(steps.embedding + steps.positions, steps.read, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1])
def test_decoder_steps_attend_to_the_past_only(model, layer):
    source, target = [5, 6, 3], [2, 7, 8, 9]
    steps = decoder_steps(model, source, target, ["<s>", "x", "y", "z"], layer)
    memory = model.encode(jnp.array([source]))
    _, attention = model.decode(memory, jnp.array([target]), weights=True)
    ours = np.stack([head.weights for head in steps.heads])
    np.testing.assert_allclose(ours, attention.decoder[0, layer], rtol=1e-4, atol=1e-5)
    assert not np.triu(ours, 1).any()


def test_the_text_prints_the_numbers(model):
    steps = encoder_steps(model, [5, 6, 7, 3, 0], PIECES, 1)
    said = text(steps, 2, [0, 1])
    for number in (0, 1):
        head = steps.heads[number]
        assert f"== Head {number} " in said
        for place in range(5):
            lines = said.split(f"== Head {number} ")[1].splitlines()
            line = next(line for line in lines if line.startswith(f"   {PIECES[place]}"))
            assert f"{head.scores[2, place]:8.2f}" in line
            assert f"{head.weights[2, place]:8.3f}" in line
            assert ("-inf" in line) == (place == 4)
    assert ("LayerNorm" in said) == steps.normed
    assert ("not scaled" in said) != steps.is_scaled


def test_the_text_explains_special_tokens_and_which_heads_it_shows(model):
    steps = encoder_steps(model, [5, 6, 7, 3, 0], PIECES, 1)
    said = text(steps, 2, [1])
    assert "   </s>      ends the sentence\n" in said
    assert "   <pad>     fills up the shorter sentences of a batch" in said
    assert "<s> " not in said
    assert "Shown of the 2 heads: 1; --heads chooses others" in said
    assert "Shown of" not in text(steps, 2, [0, 1])
    steps = decoder_steps(model, [5, 6, 3], [2, 7, 8], ["<s>", "x", "y"], 0)
    assert "   <s>       begins the translation\n" in text(steps, 1, [0, 1])


@pytest.mark.parametrize(("pieces", "words", "expected"), [
    ("▁the ▁old ▁fisher man ▁sleeps ▁. </s> <pad>", [0, 1, 2, 2, 3, 4, -1, -1], 4),
    ("▁the ▁fisher man </s>", [0, 1, 1, -1], 0),
    ("▁fisher man ▁. ▁, </s>", [0, 0, 1, 2, -1], 2),  # no whole word with a letter: the middle
    ("a b c", [0, 1, 2], 1),
])  # fmt: skip
def test_the_sample_is_a_whole_word_near_the_middle(pieces, words, expected):
    assert middle_word(pieces.split(), words) == expected


def test_the_command_explains_a_run_and_refuses_what_it_cannot(settings, tmp_path, capsys):
    untrained(settings, tmp_path / "run")

    def run(*arguments, folder=tmp_path / "run"):
        with pytest.raises(SystemExit) as exit_:
            cli.main(["explain", str(folder), *arguments])
        return exit_.value.code, capsys.readouterr().err

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
    other = dataclasses.replace(settings, model=tiny(attention=Attention(score="additive", heads=2)))
    untrained(other, tmp_path / "additive")
    assert re.search("has score=additive", run("ba", folder=tmp_path / "additive")[1])
    untrained(dataclasses.replace(settings, model=Rnn(embedding=8, width=8, max_length=32)), tmp_path / "rnn")
    assert "no Transformer" in run("ba", folder=tmp_path / "rnn")[1]
