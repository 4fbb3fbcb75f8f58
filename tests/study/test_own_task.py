"""A study of a task from a file outside the package: its own measure and scoring, intervals, significance."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from transformer import api, cli, config, plugins
from transformer.commands import evaluate
from transformer.commands.evaluate import Evaluate
from transformer.commands.options import Model, Search
from transformer.errors import TransformerError, UsageError
from transformer.evaluation.measures import ratio
from transformer.evaluation.report import name_of_other
from transformer.evaluation.significance import compare
from transformer.storage.files import write_json
from transformer.storage.run import Run
from transformer.study import results, trial, variants
from transformer.study.results import Results
from transformer.tasks.task import Split
from transformer.training import run as training

TASK = '''
"""Has a sentence an even number of words? Only what studies and reports need of a task."""

from dataclasses import dataclass

import numpy as np

from transformer.errors import TransformerError, UsageError
from transformer.evaluation.measures import Measure, ratio
from transformer.tasks.table import TASKS
from transformer.tasks.task import Extras, Prediction, Split, Task

MEASURES = {"accuracy": Measure(ratio), "confidence": Measure(ratio, digits=1, column="sure")}
RANDOM = np.random.default_rng(1)
LINES = [" ".join("a" * n) for n in RANDOM.integers(1, 9, 80)]


@dataclass(frozen=True)
class Parity(Task):
    wrong: float = 0.0
    """Share of lines with a wrong answer."""

    def measures(self):
        return MEASURES

    def scoring(self, **options):
        if options.keys() - {"strict"}:
            raise UsageError(f"scoring={options}: did you mean strict?")
        return {"strict": True} | options

    def predictor(self, config, run):
        return Predictor(config)


class Predictor:
    measures = MEASURES

    def __init__(self, config):
        self.config = config

    def splits(self, name):
        even = ["no" if len(line.split()) % 2 else "yes" for line in LINES]
        return [Split(name, LINES, even), Split("short", LINES[:10], even[:10])]

    def predict(self, build, mesh, parameters, lines, first=1):
        random = np.random.default_rng(self.config.seed)
        answers = (len(line.split()) % 2 == (random.random() < self.config.task.wrong) for line in lines)
        return [Prediction("yes" if answer else "no") for answer in answers]

    def statistics(self, predictions, references, strict):
        right = [prediction == reference for prediction, reference in zip(predictions, references)]
        return {"accuracy": np.array([right, np.ones(len(right))], int).T}

    def details(self, build, mesh, parameters, split, predictions, counts, **scoring):
        return {"strict": scoring["strict"]}

    def extras(self, build, mesh, parameters, split):
        return Extras({"confidence": np.tile([3, 4], (len(split.lines), 1))}, {"calibrated": False})


TASKS["parity"] = Parity
'''
STUDY = """
import dataclasses
from pathlib import Path

from transformer import plugins
from transformer.config import Config, Data
from transformer.study.variants import Pair, Study, Variant
from transformer.tasks.table import TASKS

plugins.load([Path({task!r})])


def variant(wrong, **more):
    return Variant(Config(data=Data(test="test"), task=TASKS["parity"](wrong=wrong)), seeds=(1, 2), **more)


study = Study(
    {{"good": variant(0.1), "bad": variant(0.4), "same": variant(0.4000001)}},
    baselines=("bad",),
    pairs=(Pair("good", "same", {metric!r}),),
    metric={metric!r},
)
"""


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "parity.py"
    file.write_text(TASK)
    yield file
    plugins._loaded.pop(str(file), None)
    for table in plugins._tables.values():
        table.forget(str(file))


@pytest.fixture
def folder(tmp_path, plugin):
    """The study, of the measure that decides."""
    return write(tmp_path / "parities", plugin, "")


def write(folder, plugin, metric):
    folder.mkdir()
    (folder / "study.py").write_text(STUDY.format(task=str(plugin), metric=metric))
    return folder


class Trained:
    """Checkpoints of a run that was not trained."""

    def __init__(self, *given, **more):
        pass

    def choose(self, name):
        return 10

    def host(self, step):
        return {"minutes": 1.0}

    def close(self):
        pass


@pytest.fixture
def runs(folder, tmp_path, monkeypatch):
    """Run directories of all trials, which are evaluated but not trained: the seed decides which answers are wrong."""

    def train(settings, folder, name, *, resume):
        folder.mkdir(parents=True)
        run = Run(folder)
        run.metrics.write_text(
            '{"kind": "train", "step": 2, "loss": 1.0, "words_per_s": 1000.0}\n'
            '{"kind": "validation", "step": 2, "loss": 1.0}\n'
        )
        return run

    def load_predictor(folder, checkpoint="auto"):
        (one,) = (one for one in variants.trials(variants.load(study)) if one.name == Path(folder).name)
        predictor = one.settings.task.predictor(one.settings, folder)
        return api.LoadedPredictor(one.settings, predictor, {"w": np.zeros(3)}, "step 10", None, None)

    study, runs = folder, tmp_path / "runs"
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(api, "load_predictor", load_predictor)
    monkeypatch.setattr(trial, "StoredCheckpoints", Trained)
    for one in variants.trials(variants.load(folder)):
        trial.run(one, runs)
    return runs


def test_a_study_is_reported_by_the_measure_of_its_own_task(folder, runs, capsys):
    found = Results(folder / "results.json")
    found.collect(runs)
    report = json.loads((runs / "good-1" / "report" / "test.json").read_text())
    assert report["strict"] is True
    result = found.get(variants.find_trial(variants.load(folder), "good-1"))
    assert result["scoring"] == {"strict": True}
    assert (result["parameters"], result["updates"], result["words_per_s"]) == (3, 10, 1000.0)
    assert result["test"]["calibrated"] is False
    counts = results.counts_of(result["test"], "accuracy")
    accuracy = 100 * counts[:, 0].mean()
    assert counts.shape == (80, 2)
    assert report["scores"]["accuracy"]["value"] == result["test"]["scores"]["accuracy"]["value"] == accuracy
    low, high = report["scores"]["accuracy"]["interval"]
    assert low < accuracy < high
    assert result["test"]["scores"]["confidence"]["value"] == 75
    # The tables are made from the results alone: each variant, its difference from the baseline, and the pairs.
    shutil.rmtree(runs)
    cli.main(["report", str(folder)])
    text = (folder / "tables.md").read_text()
    rows = {row.split(" | ")[0].strip("| "): row.strip("| \n").split(" | ") for row in text.splitlines()}
    head = ["seeds", "parameters", "updates", "words/s", "minutes", "accuracy", "short", "sure"]
    assert text.splitlines()[0].strip("| ").split(" | ") == [*head, "accuracy − bad", "p", "tested over"]
    known = {
        name: np.stack([results.counts_of(found.get(one)["test"], "accuracy") for one in trials])
        for name in ("good", "bad", "same")
        for trials in ([one for one in variants.trials(variants.load(folder)) if one.variant == name],)
    }
    difference = compare(known["good"], known["bad"], ratio)
    assert difference.value == pytest.approx(100 * (known["good"][..., 0].mean() - known["bad"][..., 0].mean()))
    low, high = difference.interval
    assert rows["good"][9] == f"{difference.value:+.2f} [{low:+.2f}, {high:+.2f}]".replace("-", "−")
    assert "n.s." not in rows["good"][10]
    assert rows["good"][11] == "sentences, seeds"
    assert rows["same"][10].endswith("n.s.")
    assert rows["good − same"][1] == rows["good"][9]  # the answers of the two baselines are the same
    assert "![accuracy](results-accuracy.svg)" in text
    assert (folder / "results-accuracy.svg").is_file()
    assert "BLEU" not in text


def test_any_measure_of_the_task_is_a_metric(plugin, tmp_path, folder, runs):
    other = write(tmp_path / "confident", plugin, "confidence")
    found = Results(other / "results.json")
    found.collect(runs)
    cli.main(["report", str(other)])
    text = (other / "tables.md").read_text()
    assert "confidence − bad" in text
    assert "good − same (confidence) | +0.0 [+0.0, +0.0]" in text
    wrong = write(tmp_path / "wrong", plugin, "acuracy")
    with pytest.raises(UsageError, match="'acuracy': did you mean accuracy\\? Choose from accuracy, confidence"):
        variants.load(wrong)
    (wrong / "study.py").write_text(
        (folder / "study.py").read_text().replace("seeds=(1, 2)", "seeds=(1, 2), scoring={'tokenize': 'none'}")
    )
    with pytest.raises(UsageError, match=r"the variant good: scoring=.*did you mean strict\?"):
        variants.load(wrong)


def test_results_scored_otherwise_do_not_count(folder, runs):
    found = Results(folder / "results.json")
    found.collect(runs)
    one = variants.find_trial(variants.load(folder), "good-1")
    assert found.get(one) is not None
    loosely = one._replace(scoring=(("strict", False),))
    assert found.get(loosely) is None
    assert found.outdated([one, loosely]) == ["good-1"]


def test_evaluate_scores_any_task_and_refuses_options_of_translation(folder, runs, tmp_path, capsys):
    one = variants.find_trial(variants.load(folder), "good-1")
    run = Run(runs / "good-1")
    write_json(run.config, {"config": config.to_json(one.settings)})
    answers = tmp_path / "answers"
    answers.write_text("yes\n" * 80)
    Evaluate(str(run.folder), against=str(answers))()
    text = capsys.readouterr().out
    assert "test: 80 sentences, step 10" in text
    assert "accuracy" in text
    assert f"against {answers}: +" in text
    for options, flag in (
        ({"tokenize": "none"}, "--tokenize"),
        ({"lowercase": True}, "--lowercase"),
        ({"search": Search(top_k=3)}, "--top-k"),
        ({"model": Model(ensemble=("other",))}, "--ensemble"),
    ):
        with pytest.raises(UsageError, match=f"{flag} is an option of translation"):
            Evaluate(str(run.folder), **options).check()


def test_two_runs_are_compared_on_exactly_one_set(folder, runs, tmp_path, capsys):
    good, bad = runs / "good-1", runs / "bad-1"
    for run in (good, bad):
        one = variants.find_trial(variants.load(folder), run.name)
        write_json(Run(run).config, {"config": config.to_json(one.settings)})

    def compared(against, **files):
        Evaluate(str(good), against=str(against), **files)()
        return capsys.readouterr().out

    def reports(run):
        return {path.name: path.read_bytes() for path in Run(run).report.glob("*.json")}

    # The trials evaluated both on their own set; a run against itself has the same answers.
    before = reports(bad)
    text = compared(bad)
    assert f"    {bad}: step 10, from its report test.json" in text
    assert f"    {bad}: step 10, from its report short.json" in text  # the second set
    assert "2,000 resamples of 80 sentences" in text
    assert f"against {good}: +0.00 accuracy, p = 1.000, 95% [+0.00, +0.00]" in compared(good)
    assert reports(bad) == before

    # Another set, whose file has the name of the run's own: neither's report of its own set is touched.
    source, reference = tmp_path / "test", tmp_path / "answers"
    source.write_text("a\na a\na a a\n")
    reference.write_text("no\nyes\nno\n")
    own = reports(good)["test.json"]
    text = compared(bad, source=str(source), reference=str(reference))
    name = name_of_other("test", ["a", "a a", "a a a"], ["no", "yes", "no"])
    assert f"{name}: 3 sentences, step 10" in text
    assert f"{bad}: step 10, predicted now, kept as its report {name}.json" in text
    assert "2,000 resamples of 3 sentences" in text
    assert reports(good)["test.json"] == own
    assert reports(bad).keys() == {*before, f"{name}.json"}
    assert f"from its report {name}.json" in compared(bad, source=str(source), reference=str(reference))

    # A report of an unknown set is neither used nor overwritten.
    old = Run(bad).report / "test.json"
    old.write_text(json.dumps({k: v for k, v in json.loads(old.read_text()).items() if k != "digest"}))
    before = reports(bad)
    assert f"{bad}: step 10, predicted now, not kept: it has another report test.json" in compared(bad)
    assert reports(bad) == before


def test_incomparable_runs_are_refused(folder, runs, settings, tmp_path):
    one = variants.find_trial(variants.load(folder), "good-1")
    write_json(Run(runs / "good-1").config, {"config": config.to_json(one.settings)})
    (tmp_path / "translates").mkdir()
    write_json(Run(tmp_path / "translates").config, {"config": config.to_json(settings)})
    for against, message in (
        (tmp_path / "translates", "has the task Translation, and .*good-1 has Parity"),
        (tmp_path / "none", "there is no such run or file"),
        (folder, "not a run directory"),
    ):
        with pytest.raises(UsageError, match=message):
            Evaluate(str(runs / "good-1"), against=str(against)).check()
    (tmp_path / "short").write_text("yes\n")
    with pytest.raises(TransformerError, match=r"short has 1 line, the test set 80: .*--source and --reference"):
        Evaluate(str(runs / "good-1"), against=str(tmp_path / "short"))()


def test_the_report_of_a_set_that_is_not_the_other_runs_own_has_another_name(folder, runs, monkeypatch, capsys):
    good, bad = runs / "good-1", runs / "bad-1"
    for run in (good, bad):
        one = variants.find_trial(variants.load(folder), run.name)
        write_json(Run(run).config, {"config": config.to_json(one.settings)})
    shutil.rmtree(Run(bad).report)
    real = evaluate._own_splits
    others = [Split("test", ["a"], ["no"])]
    monkeypatch.setattr(evaluate, "_own_splits", lambda run, name: others if run == str(bad) else real(run, name))
    Evaluate(str(good), against=str(bad))()
    digest = json.loads((Run(good).report / "test.json").read_text())["digest"][:8]
    assert f"{bad}: step 10, predicted now, kept as its report test-{digest}.json" in capsys.readouterr().out
    assert not (Run(bad).report / "test.json").exists()
