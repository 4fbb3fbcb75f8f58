"""One trial in this process: training, evaluation, error rates of the attention, refusals."""

import dataclasses
import json
import os

import pytest

from tests.conftest import untrained
from transformer import api, cli
from transformer.alignment import gold
from transformer.alignment.measure import error_rate
from transformer.commands.align import Align
from transformer.config import Data
from transformer.errors import UsageError
from transformer.evaluation.metrics import bleu_of_counts
from transformer.storage.locks import file_lock
from transformer.storage.run import Run
from transformer.study import trial, variants
from transformer.study.results import Results, counts_of
from transformer.study.run import run_study, run_trial
from transformer.tasks.task import Extras
from transformer.tasks.translation import attention
from transformer.training import run as training


def test_one_trial_by_its_name(folder, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    trained = []
    real = training.train
    monkeypatch.setattr(training, "train", lambda *given, **more: trained.append(given[1].name) or real(*given, **more))
    cli.main(["study", str(folder), "--runs", str(runs), "--trial", "dot-2"])
    cli.main(["study", str(folder), "--runs", str(runs), "--trial", "dot-2"])
    cli.main(["study", str(folder), "--runs", str(tmp_path / "elsewhere"), "--trial", "dot-2"])
    assert trained == ["dot-2"]
    found = json.loads((folder / "results.json").read_text())["dot-2"]
    assert found == json.loads((runs / "dot-2" / "result.json").read_text())
    (one,) = (each for each in variants.trials(variants.load(folder)) if each.name == "dot-2")
    assert found["digest"] == one.digest
    assert found["updates"] == 12
    assert found["tokens_per_s"] > 0
    assert found["test"]["scores"] == json.loads((runs / "dot-2" / "report" / "test.json").read_text())["scores"]
    assert "tok:none" in found["test"]["scores"]["BLEU"]["signature"]
    assert len(found["validation"]) == 2
    assert "alignment" not in found["test"]  # it has no gold links
    assert found["test"]["counts"].keys() == {"BLEU"}
    assert found["test"]["scores"].keys() == {"BLEU", "chrF2", "TER"}
    assert bleu_of_counts(counts_of(found["test"], "BLEU").sum(0)) == pytest.approx(
        found["test"]["scores"]["BLEU"]["value"]
    )
    with file_lock(trial.lock(runs, one)), pytest.raises(UsageError, match=r"another process is running .*dot-2"):
        trial.run(one, runs)
    # Different settings are refused, even those that `train --resume` accepts, and nothing is overwritten.
    file = folder / "study.py"
    whole = file.read_text()
    for old, new, message in (
        ("max_length=32, att", "max_length=32, dropout=0.1, att",
         "model.dropout is 0.2 in the run and 0.1 in the study"),
        ("none = ", 'base = dataclasses.replace(base, training=dataclasses.replace(base.training, steps=6))\nnone = ',
         r"training.steps is 12 in the run and 6 in the study"),
    ):  # fmt: skip
        file.write_text(whole.replace(old, new))
        for start in (lambda: run_trial(folder, "dot-2", runs=runs), lambda: run_study(folder, runs=runs)):
            with pytest.raises(UsageError, match=rf"dot-2 was trained with other .*{message}.*another --runs"):
                start()
    assert trained == ["dot-2"]
    assert Results(folder / "results.json").get(one) is not None


def test_the_attention_is_measured_against_gold_links(settings, tmp_path):
    data = Data(cache=settings.data.cache, max_length=40, limit=60, grammar=settings.data.grammar)
    own = dataclasses.replace(
        settings,
        data=data,
        batching=dataclasses.replace(settings.batching, tokens=512),
        model=dataclasses.replace(settings.model, max_length=64),
    )
    folder = untrained(own, tmp_path / "grammar")
    model = api.load(folder)
    dev, test = (gold.read_own(Run(folder).data, name, own.data, model.tokenizers) for name in ("validation", "test"))
    rule = attention.best_rule(model.attend, *dev)
    loaded = api.load_predictor(folder)
    split = loaded.predictor.splits("test")[0]
    extras = loaded.extras(split)
    found = extras.report["alignment"]
    assert (extras.counts["AER"] == attention.error_rates(model.attend, *test, rule).counts["AER"]).all()
    L, H = own.model.cross
    assert [len(row) for row in found["heads"]] == [H] * L
    assert len(found["layers"]) == L
    assert error_rate(extras.counts["AER"].sum(0)) == pytest.approx(found["aer"])
    places = {(layer, head): found["heads"][layer][head] for layer in range(L) for head in range(H)}
    places |= {(layer, None): rate for layer, rate in enumerate(found["layers"])} | {(None, None): found["mean"]}
    assert found["aer"] == places[rule.layer, rule.head]
    # `transformer align` has the same, from the run alone.
    Align(str(folder), layer=L - 1, head=H - 1, formats=("pharaoh",), output=str(tmp_path / "out"))()
    assert json.loads((tmp_path / "out" / "aer.json").read_text())["aer"] == pytest.approx(places[L - 1, H - 1])
    assert found["against"] == "the grammar's gold links"
    # Without attention or links nothing is measured.
    (Run(folder).data / "validation.align").unlink()
    assert api.load_predictor(folder).extras(split) == Extras({}, {})


def test_a_run_with_absolute_paths_is_resumed_with_relative_ones(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = os.path.relpath(settings.data.train, tmp_path)
    own = dataclasses.replace(settings, data=dataclasses.replace(settings.data, train=train))
    untrained(training.with_absolute_paths(dataclasses.replace(own, seed=1)), tmp_path / "one-1")
    (one,) = variants.trials(variants.Study({"one": variants.Variant(own)}))
    trial.check(tmp_path / "one-1", one)
    monkeypatch.chdir("/")
    with pytest.raises(UsageError, match=r"other settings .*data.train is .* in the run"):
        trial.check(tmp_path / "one-1", one)
