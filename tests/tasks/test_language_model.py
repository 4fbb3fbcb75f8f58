"""Language modelling: arrays by hand, the loss of a loop, generation against a loop, and a run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.conftest import Variant
from tests.models.test_gpt import gpt
from tests.test_cli import run
from transformer import check
from transformer.config import (
    Config,
    Decoding,
    LanguageModel,
    Mesh,
    Rnn,
    Tokenizer,
    Transformer,
)
from transformer.data.batching.buckets import Bucket
from transformer.decoding.config import Decoding as Search
from transformer.distributed import sharding as parallel
from transformer.errors import UsageError
from transformer.models.build import builder
from transformer.special_tokens import BOS, EOS, PAD
from transformer.tasks.language_model import scoring, text
from transformer.tasks.language_model.generate import Generator

QUIET = {"dropout": 0.0, "attention_dropout": 0.0, "feedforward_dropout": 0.0}


def test_blocks_cover_the_text_and_begin_elsewhere_in_each_epoch():
    examples = text.blocks(range(4, 15), 4, 20)
    bucket = Bucket(4, (4,))
    batch = text.assemble(examples, bucket, np.array([0, 2]))
    assert batch.outputs.tolist() == [[4, 5, 6, 7], [12, 13, 14, 0], [0] * 4, [0] * 4]
    assert batch.inputs.tolist() == [[2, 4, 5, 6], [2, 12, 13, 0], [0] * 4, [0] * 4]
    moved = text.assemble(examples, bucket, np.array([0, 1, 2]), shift=3)
    assert moved.outputs.tolist() == [[7, 8, 9, 10], [11, 12, 13, 14], [4, 5, 6, 0], [0] * 4]
    part = text.assemble(examples, bucket, np.array([0, 1, 2]), np.array([1, 2]), shift=3)
    assert part.outputs.tolist() == moved.outputs[1:3].tolist()
    assert text.shift_of(1, 0, 64) == 0
    assert {text.shift_of(1, epoch, 4) for epoch in range(1, 40)} == {0, 1, 2, 3}
    assert len(text.blocks([], 4, 20)) == 0


def test_lines_of_a_row_do_not_follow_one_another():
    examples = text.lines([[4, 5, 3], [6, 3], [7, 8, 9, 3]], 20)
    batch = text.assemble_packed(examples, Bucket(2, (6,)), np.array([[0, 1], [2, -1]]))
    assert batch.outputs.tolist() == [[4, 5, 3, 6, 3, 0], [7, 8, 9, 3, 0, 0]]
    assert batch.inputs.tolist() == [[2, 4, 5, 2, 6, 0], [2, 7, 8, 9, 0, 0]]
    assert batch.segments.tolist() == [[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 0, 0]]


def test_a_text_is_written_as_one_line():
    for one in ("a\nb", "a\\nb", "\\\n\\\\n", ""):
        assert "\n" not in text.to_line(one)
        assert text.from_line(text.to_line(one)) == one
    assert text.from_line("a\\b") == "a\\b"


def test_perplexities_by_hand():
    found = scoring.counts(["to be", "or\nnot"], [np.array([-1.0, -2.0]), np.array([-3.0])])
    assert found["perplexity"].tolist() == [[3, 2], [3, 1]]
    assert found["per word"].tolist() == [[3, 2], [3, 2]]
    assert found["per character"].tolist() == [[3, 5], [3, 6]]
    values = scoring.perplexities(found)
    assert values["perplexity"]["value"] == pytest.approx(np.exp(6 / 3))
    assert values["per word"]["value"] == pytest.approx(np.exp(6 / 4))
    assert "words" in values["per word"]["signature"]


@pytest.fixture(scope="module")
def model():
    return Variant.of(gpt(**QUIET, layers=1, max_length=16))


@pytest.fixture(scope="module")
def logits(model):
    """Of the token after each one of a row, by a pass without any cache."""

    @jax.jit
    def of(tokens):
        net = nnx.merge(model.graph, model.parameters)
        return net.output(net.decode(net.without_source(1), tokens[None])[0])[0]

    def padded(tokens):
        row = np.zeros(12, np.int32)
        row[: len(tokens)] = tokens
        return np.array(of(jnp.asarray(row)))[: len(tokens)]

    return padded


def test_without_a_source_the_text_is_read_as_behind_an_empty_one(model, logits):
    row = [2, 5, 6, 7, 8]
    found, _, _ = model.decode(jnp.zeros((1, 4), jnp.int32), jnp.array([row]))
    np.testing.assert_allclose(found[0], logits(row), atol=1e-5)


def test_greedy_continuations_are_those_of_a_loop_with_a_sliding_window(model, logits):
    """The context has 6 tokens: where it is full, the last 3 are the next prompt."""
    mesh = parallel.make_mesh(Mesh())
    prompts, length = [[5, 6], [], [7, 8, 9, 10, 11, 12, 4]], 9
    generator = Generator(builder(model.graph), mesh, 6, ends=False)
    for ends in (False, True):
        generator.ends = ends
        found = generator.continuations(model.parameters, prompts, Search(beam=1, workers=1), length)
        for prompt, tokens in zip(prompts, found, strict=True):
            known, written = list(prompt), []
            while len(written) < length:
                if len(known) + min(length - len(written), 3) > 6:
                    known = known[-3:]
                room = min(length - len(written), 6 - len(known))
                for _ in range(room):
                    values = logits([BOS, *known])[-1]
                    values[[PAD, BOS] if ends else [PAD, BOS, EOS]] = -np.inf
                    token = int(values.argmax())
                    if token == EOS:
                        break
                    known, written = [*known, token], [*written, token]
                else:
                    continue
                break
            assert tokens == written
            assert ends or len(tokens) == length


def settings(**changes):
    config = Config(task=LanguageModel(), model=gpt(max_length=128), decoding=Decoding(samples=1))
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": Transformer()}, "a Transformer model reads one: give a Gpt"),
        ({"model": Rnn()}, "a Rnn model reads one: give a Gpt"),
        ({"task": LanguageModel(texts="file")}, "--tokenizer.kind=bpe loses: give --tokenizer.kind=characters"),
        (
            {"task": LanguageModel(texts="file"), "tokenizer": Tokenizer(kind="characters")},
            "needs --data.source=files and --data.train FILE",
        ),
        ({"tokenizer": Tokenizer(sampling=0.1)}, "--tokenizer.sampling applies to translation only"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    check.everything(settings())
    with pytest.raises(UsageError, match=message):
        check.everything(settings(**changes))


@pytest.mark.slow
@pytest.mark.parametrize("texts", ["lines", "file"])
def test_a_run_trains_resumes_evaluates_and_continues(texts, corpora, tmp_path, capsys):
    """The perplexity of the report is that of the validation; the same command writes the same samples."""
    source = corpora / "train.xx"
    flags = [
        *("--task.texts", texts, "--task.block", "16", "--data.source", "files", "--data.train", str(source)),
        *("--data.max-length", "32", "--data.cache", str(tmp_path / "cache"), "--model.max-length", "32"),
        *("--tokenizer.kind", "characters", "--training.steps", "8", "--batching.tokens", "512"),
        *(
            "--schedule.name",
            "constant",
            "--schedule.warmup",
            "2",
            "--training.validate-every",
            "4",
            "--training.log-every",
            "1",
            "--model.layers",
            "1",
            "--model.width",
            "16",
        ),
    ]
    flags += ["--batching.pack", "64", "--model.max-length", "64"] if texts == "lines" else []
    train = ["train", "grammar_lm", *flags, "--run"]
    assert run(*train, str(tmp_path / "run")) == 0
    assert run(*train, str(tmp_path / "stopped"), "--training.steps", "4") == 0
    assert run(*train, str(tmp_path / "stopped"), "--resume") == 0
    records = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "stopped")
    ]
    losses = [[one["loss"] for one in part if one["kind"] == "train"] for part in records]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    assert run("evaluate", str(tmp_path / "run")) == 0
    report = json.loads((tmp_path / "run" / "report" / "validation.json").read_text())
    last = [one for one in records[0] if one["kind"] == "validation"][-1]
    assert report["scores"]["perplexity"]["value"] == pytest.approx(last["perplexity"], rel=1e-4)
    prompts = tmp_path / "prompts"
    prompts.write_text("ba de\n\n")
    capsys.readouterr()
    options = ["predict", str(tmp_path / "run"), "--input", str(prompts), "--max-length", "40", "--top-k", "3"]
    assert run(*options) == run(*options) == 0
    first, second, *again = capsys.readouterr().out.splitlines()
    assert again == [first, second]
    if texts == "file":
        assert len(text.from_line(first)) == len(text.from_line(second)) == 40
