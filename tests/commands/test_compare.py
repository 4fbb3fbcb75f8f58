"""Two runs side by side: their settings, their curves and their scores."""

import dataclasses
import json

import numpy as np
import pytest

from tests.conftest import untrained
from transformer import cli
from transformer.data.corpora import corpus
from transformer.evaluation import report
from transformer.evaluation.metrics import bleu
from transformer.tasks.task import Split
from transformer.tasks.translation.scoring import SCORES, statistics


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def two(runs, settings):
    """Two runs that differ in a setting, with records of their training."""
    for number, name in enumerate(("one", "two"), 1):
        if not (runs / name).exists():
            other = dataclasses.replace(
                settings, seed=number, data=dataclasses.replace(settings.data, cache=str(runs / "cache" / name))
            )
            untrained(other, runs / name)
            records = [{"kind": "train", "step": n, "loss": 5.0 / n, "tokens_per_s": 10.0} for n in (1, 2, 3)]
            records.append({"kind": "validation", "step": 3, "loss": 1.0 + number})
            (runs / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records))
    return runs / "one", runs / "two"


def predicted(run, settings, how):
    """A report of predictions: the references with some words left out."""
    part = corpus.read(run / "data", "test", settings.data.languages)
    split = Split("test", part.sources, part.targets)
    predictions = [how(n, line) for n, line in enumerate(part.targets)]
    evaluation = report.evaluate(
        *split, predict=lambda _: predictions, statistics=statistics, measures=SCORES, about={"checkpoint": "step 1"}
    )
    report.write(run / "report", evaluation)
    return predictions, list(part.targets)


def test_runs_are_compared(two, settings, capsys):
    first, second = map(str, two)
    cli.main(["compare", first, second])
    out = capsys.readouterr().out
    differ, *rest = out.split("\n\n")
    assert [line.split() for line in differ.splitlines()[1:]] == [["--seed", "1", "2"]]
    assert f"curves: {two[1] / 'report' / 'compared-with-one.png'}" in rest[0]
    assert (two[1] / "report" / "compared-with-one.png").read_bytes().startswith(b"\x89PNG")
    assert f"no scores: one and two share no reported set: run `transformer evaluate` on {first}" in out

    worse, references = predicted(two[0], settings, lambda n, line: line.split()[0] if n % 2 else line)
    better, _ = predicted(two[1], settings, lambda n, line: line)
    cli.main(["compare", first, second])
    lines = [line.split() for line in capsys.readouterr().out.split("\ntest: ")[1].splitlines()]
    assert lines[0] == ["16", "sentences"]
    assert lines[1] == ["one", "two", "difference", "95%", "interval"]
    name, before, after, difference, low, high, *_ = lines[2]
    assert name == "BLEU"
    expected = bleu(worse, references), bleu(better, references)
    assert [float(before), float(after)] == pytest.approx(expected, abs=0.01)
    assert float(difference) == pytest.approx(np.diff(expected)[0], abs=0.01)
    assert float(low.strip("[,")) <= float(difference) <= float(high.strip("],"))
    assert [line[0] for line in lines[2:]] == ["BLEU", "chrF2", "TER"]
    assert all(" ".join(line[6:]).startswith("p ") for line in lines[2:])


def test_incomparable_runs_are_refused(two, tmp_path, capsys):
    first = str(two[0])
    for arguments, complaint in (
        ([first, first], "are the same run"),
        ([first, str(tmp_path / "none")], "no run directory at"),
        ([first, str(two[1]), "--output", "curves.pdf"], "ends in .png"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["compare", *arguments])
        assert stop.value.code == 2
        assert complaint in capsys.readouterr().err
