"""Every family and attention end to end: train, resume, search; guided alignment; a custom score."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.conftest import tiny
from transformer import api
from transformer.attention.scores import SCORES, Score
from transformer.config import Attention, Data, Grammar, Guided, Mesh, Rnn, from_json, to_json
from transformer.data.batching.pairs import Batch
from transformer.distributed import sharding as parallel
from transformer.errors import UsageError
from transformer.models.build import create, split
from transformer.storage.run import Run
from transformer.tasks.translation.loss import TranslationLoss
from transformer.training import logger as logbook
from transformer.training.run import train
from transformer.training.step import make_step


def rnn(score="general", **changes):
    attention = changes.pop("attention", Attention(score=score, hidden=8, positions=16))
    return Rnn(**({"embedding": 12, "width": 16, "attention": attention, "max_length": 32} | changes))


MODELS = {
    "luong": rnn(),
    "bahdanau": rnn("additive", decoder="bahdanau", cell="gru", bidirectional=True),
    "no attention": rnn("none", reverse=True),
    "transformer, additive within windows, learned entmax": tiny(
        attention=Attention(score="additive", window="local_m", normalizer="learned_entmax", heads=2, half_width=3)
    ),
    "transformer, location across": tiny(
        attention=Attention(score="location", window="local_p", heads=2, places=("cross",), positions=16)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_resumes_and_translates(name, settings, tmp_path):
    """Validated by the BLEU of its translations."""
    task = dataclasses.replace(settings.task, validate_sentences=8, metric="bleu")
    settings = dataclasses.replace(settings, model=MODELS[name], task=task)
    train(settings, tmp_path / "whole", "toy")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(Run(tmp_path / "cut").checkpoints / "12")  # as if the run had been killed in its second epoch
    train(settings, tmp_path / "cut", "toy", resume=True)
    losses = [
        [r["loss"] for r in logbook.read(Run(tmp_path / run).metrics) if r["kind"] == "train" and r["step"] > 6]
        for run in ("whole", "cut")
    ]
    assert losses[0] == losses[1], "a resumed run is the one never stopped"
    assert len(losses[1]) == 3
    validations = [
        [(r["step"], r["loss"], r["bleu"]) for r in logbook.read(Run(tmp_path / run).metrics) if r["kind"] != "train"]
        for run in ("whole", "cut")
    ]
    assert validations[0] == validations[1]
    assert [step for step, *_ in validations[1]] == [6, 12]
    ends = [api.load(tmp_path / run, "last") for run in ("whole", "cut")]
    assert [end.checkpoint for end in ends] == ["step 12"] * 2
    jax.tree.map(np.testing.assert_array_equal, *(end.parameters for end in ends))
    model = api.load(tmp_path / "whole")
    lines = ["ba de", "", "gi ko lu"]
    greedy, beam = (model.search(lines, beam=n) for n in (1, 3))
    assert greedy[1].text == beam[1].text == ""
    scored = model.score([lines[0]], [greedy[0].text])
    assert scored.logp[0] <= 0
    stored = json.loads(Run(tmp_path / "whole").config.read_text())["config"]
    assert from_json(stored).model == MODELS[name]


STILL = {"dropout": 0.0, "attention_dropout": 0.0, "feedforward_dropout": 0.0}


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(tiny(**STILL), id="transformer"),
        pytest.param(rnn(dropout=0.0), id="rnn", marks=pytest.mark.slow),
    ],
)
def test_guided_alignment_pulls_the_attention(model, settings):
    """On one batch of two sentences whose words are aligned backwards, with the guiding loss and all but without."""
    source, target = (
        jnp.array(rows, jnp.int32) for rows in ([[5, 6, 7, 3], [8, 9, 3, 0]], [[7, 6, 5, 3], [9, 8, 3, 0]])
    )
    alignment = jnp.zeros((2, 4, 4)).at[0, [0, 1, 2], [2, 1, 0]].set(1).at[1, [0, 1], [1, 0]].set(1)
    batch = Batch(source, jnp.pad(target, [(0, 0), (1, 0)], constant_values=2)[:, :4], target, alignment)
    graph, parameters = split(create(model, 13, 13, 1))
    optimizer, mesh = optax.adam(1e-2), parallel.make_mesh(Mesh(data=1))
    found = {}
    for weight in (1e-6, 1.0):
        task = dataclasses.replace(settings.task, guided=Guided(weight=weight))
        given = dataclasses.replace(settings, model=model, task=task)
        step = jax.jit(make_step(graph, TranslationLoss.of(given), optimizer, given, mesh))
        state = {"step": jnp.int32(0), "parameters": parameters, "optimizer": optimizer.init(parameters)}
        for _ in range(80):
            state, metrics = step(state, batch, jnp.zeros((1, 3)))
        values = metrics.values()
        found[weight] = float(values["guiding"])
        assert values["loss"] > values["nll"]
    assert found[1.0] < 0.3 < found[1e-6]


@pytest.mark.slow
def test_a_guided_run_on_the_grammar_and_its_resume(settings, tmp_path):
    grammar = Data(
        grammar=Grammar(train=60, validation=5, test=0, max_words=8), max_length=32, cache=str(tmp_path / "c")
    )
    training = dataclasses.replace(settings.training, steps=4, validate_every=4)
    guided = dataclasses.replace(settings.task, guided=Guided(weight=0.5))
    settings = dataclasses.replace(settings, data=grammar, task=guided, training=training)
    train(settings, tmp_path / "run", "toy")
    more = dataclasses.replace(settings, training=dataclasses.replace(training, steps=8))
    train(more, tmp_path / "run", "toy", resume=True)
    records = [r for r in logbook.read(Run(tmp_path / "run").metrics) if r["kind"] == "train"]
    assert [r["step"] for r in records] == [2, 4, 6, 8]
    for record in records:
        assert record["guiding"] > 0
    without = dataclasses.replace(more.task, guided=Guided())
    with pytest.raises(UsageError, match=r"task\.guided"):
        train(dataclasses.replace(more, task=without), tmp_path / "run", "toy", resume=True)


@pytest.mark.parametrize(
    ("changes", "guided", "message"),
    [
        ({}, Guided(weight=1.0), "--data.alignments"),
        ({"model": rnn("none")}, Guided(weight=1.0), "has none"),
        ({"model": rnn()}, Guided(weight=1.0, layer=1), r"--task.guided.layer=1: .* 1 layer"),
        ({}, Guided(weight=1.0, heads=(0, 2)), "--task.guided.heads 0 2: give some of 0 to 1"),
        (
            {"model": rnn(attention=Attention("general", normalizer="sparsemax"))},
            Guided(weight=1.0),
            r"normalizer=sparsemax has others: give softmax or learned_null",
        ),
        (
            {"model": tiny(attention=Attention(heads=2, normalizer="sigmoid", places=("encoder",)))},
            Guided(weight=1.0),
            "--data.alignments",
        ),
        ({"model": rnn()}, Guided(weight=1.0, context="full"), "=full needs a decoder .* family Rnn .*context=past"),
        ({"model": rnn("dott")}, Guided(), "did you mean dot"),
        ({"model": rnn(attention=Attention(window="local"))}, Guided(), "did you mean local_"),
        ({"model": rnn("dot", bidirectional=True)}, Guided(), "compares vectors of one width"),
        ({"model": rnn(encoder_layers=2)}, Guided(), "--model.bidirectional=True"),
        ({"model": rnn(tie="target")}, Guided(), "--model.readout=12"),
        ({"model": tiny(attention=Attention(heads=2, window="local_p"))}, Guided(), "places encoder cross"),
        ({"model": tiny(attention=Attention(heads=2, score="none"))}, Guided(), "is unknown"),
    ],
)
def test_impossible_combinations_are_refused(changes, guided, message, settings, tmp_path):
    wrong = dataclasses.replace(settings, **changes, task=dataclasses.replace(settings.task, guided=guided))
    with pytest.raises(UsageError, match=message):
        train(wrong, tmp_path / "run", "toy")
    assert not (tmp_path / "run").exists()


def test_a_resume_as_another_kind_of_model_is_refused(settings, trained):
    with pytest.raises(UsageError, match="another kind of model"):
        train(dataclasses.replace(settings, model=rnn()), trained, "toy", resume=True)


def test_runs_of_the_first_version_have_no_kind_of_model(settings):
    tree = to_json(settings)
    del tree["model"]["kind"]
    assert from_json(tree) == settings


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(rnn("nearness"), id="rnn"),
        pytest.param(tiny(attention=Attention(heads=2, score="nearness")), id="transformer", marks=pytest.mark.slow),
    ],
)
def test_a_custom_score_is_a_function_and_an_entry(model, settings, tmp_path, monkeypatch):
    def nearness(query, keys, weights):
        """Minus the squared distance."""
        return -jnp.sum((query[..., :, None, :] - keys[..., None, :, :]) ** 2, -1)

    monkeypatch.setitem(SCORES, "nearness", Score(nearness, equal_widths=True))
    train(dataclasses.replace(settings, model=model), tmp_path / "run", "toy")
    records = [r["loss"] for r in logbook.read(Run(tmp_path / "run").metrics) if r["kind"] == "train"]
    assert records[-1] < records[0]
    assert len(api.load(tmp_path / "run").translate(["ba de"])) == 1
