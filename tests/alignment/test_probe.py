"""`transformer probe` on a small run of the toy language."""

import dataclasses
import json
import re

import numpy as np
import pytest

from tests.conftest import untrained
from transformer import api, cli
from transformer.alignment.faithfulness.amounts import Amount
from transformer.alignment.faithfulness.probe import Probed, Wanted
from transformer.alignment.links import Rule
from transformer.alignment.measure import Gold, measure
from transformer.alignment.select import all_links
from transformer.config import Attention, Rnn
from transformer.data.corpora import corpus
from transformer.errors import UsageError
from transformer.evaluation.faithfulness import summarize


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "run"


@pytest.fixture
def run(folder, settings):
    if not folder.exists():
        untrained(dataclasses.replace(settings, model=Rnn(embedding=8, width=8, max_length=32)), folder)
    return folder


def probe(*arguments):
    cli.parse(["probe", *map(str, arguments)])()


def test_the_table_and_the_file_say_what_the_python_api_says(run, tmp_path, capsys):
    part = corpus.read(run / "data", "test", ("xx", "yy"))
    for language, lines in (("xx", part.sources), ("yy", part.targets)):
        (tmp_path / f"text.{language}").write_text("\n".join([*lines[:6], ""]) + "\n")
    (tmp_path / "gold").write_text("1-1\n" * 6 + "\n")
    files = ("--source", tmp_path / "text.xx", "--target", tmp_path / "text.yy")
    links = ("--gold", tmp_path / "gold", "--first-word", 1)
    choose = ("--best", "--choose-on", tmp_path / "text.xx", tmp_path / "text.yy", tmp_path / "gold")
    options = ("--remove", 1, "50%", "--permutations", 3, "--seed", 4, "--output", tmp_path / "out")
    probe(run, *files, *links, *choose, "--shift", 0, "--by", "weights", "norms", *options)
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "faithfulness.json").read_text())

    rules = [Rule(**{k: v for k, v in row["rule"].items() if k != "links"}) for row in report["readouts"][:2]]
    assert [rule.by for rule in rules] == ["weights", "norms"]
    assert report["readouts"][2]["rule"] is None
    model, texts = api.load(run), (part.sources[:6], part.targets[:6])
    wanted = Wanted(amounts=[Amount.parse("1"), Amount.parse("50%")], permutations=3, seed=4)
    found = model.probe(*texts, rules=rules, wanted=wanted)
    assert (report["sentences"], report["left_out"], report["tokens"]) == (6, 1, found.tokens)
    gold = [Gold(frozenset({(0, 0)}), frozenset({(0, 0)}))] * 6
    for mine, row in zip(found.rows, report["readouts"], strict=True):
        for kind in ("comprehensiveness", "sufficiency", "flips"):
            assert row[kind]["value"] == pytest.approx(getattr(mine, kind).value, abs=1e-6)
            assert f"{row[kind]['value']:.3f} [{row[kind]['interval'][0]:.3f}, " in printed
        of_amounts = [row["by_amount"][amount]["comprehensiveness"]["value"] for amount in ("1", "50%")]
        assert row["comprehensiveness"]["value"] == pytest.approx(np.mean(of_amounts))
        assert row["aer"]["aer"] == pytest.approx(measure(mine.links, gold).aer)
        assert row["name"] in printed
    linked = all_links(model.attend(*texts, by=["norms"]), rules[1])
    assert found.rows[1].links == linked
    assert f"weights permuted: distance {report['permutation']['value']:.3f}" in printed
    assert re.search(
        r"target tokens of 6 pairs \(1 left out: empty, or too long\); AER against the gold links", printed
    )


def test_means_are_over_tokens_and_intervals_over_sentences():
    falls = np.zeros((2, 4, 2, 2))
    falls[0, :, 0] = [[1.0, 0.0], [2.0, 2.0], [9.0, 9.0], [0.0, 1.0]]
    tokens, links = np.array([2, 4, 0, 1]), [frozenset(), frozenset(), None, frozenset()]
    probed = Probed(tokens, falls, np.array([[1, 1, 9, 0], [0, 0, 0, 0]]), None, [links, links])
    amounts = [Amount.parse("1"), Amount.parse("10%")]
    found = summarize(probed, [Rule()], Wanted(["removal", "flips"], amounts))
    row, random = found.rows
    assert (found.tokens, found.sentences, found.left_out, found.permutation) == (7, 3, 1, None)
    assert row.comprehensiveness.value == pytest.approx((0.5 + 2 + 0.5) / 7)
    assert row.by_amount["1"][0].value == pytest.approx(3 / 7)
    assert row.by_amount["10%"][1].value == 0
    assert row.flips.value == pytest.approx(2 / 7)
    # A resample of one sentence alone has its own mean: 0.25, 0.5 or 0.5.
    assert 0.25 <= row.comprehensiveness.interval[0] < 3 / 7 < row.comprehensiveness.interval[1] <= 0.5
    assert random.rule is None
    assert random.flips.interval == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--remove", "0"], "--remove 0: give a number of words above 0"),
        (["--remove", "10%", "200%"], "no more than 100%"),
        (["--remove"], "--remove names no number"),
        (["--tests"], "--tests names nothing to test"),
        (["--permutations", "0"], "--permutations=0: give at least 1"),
        (["--seed", "-1"], "--seed=-1: 0 or more"),
        (["--by", "normes"], "--by normes: there is no such read-out: did you mean norms"),
        (["--by", "rollout", "--tests", "removal"], "rollout and alti are defined for self-attention"),
        (["--head", "1"], "--head=1: the attention of .* to the source has heads 0 to 0"),
        (["--by", "norms", "omission", "--head", "0"], "--by norms omission has no heads: leave out --head"),
        (["--output", "{run}"], "is not empty"),
    ],
)
def test_wrong_usage_names_the_right_one(arguments, complaint, run, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["probe", str(run), *(argument.format(run=run) for argument in arguments)])
    assert exit_.value.code == 2
    assert re.search(complaint, capsys.readouterr().err)


def test_a_model_without_attention_can_only_lose_words(settings, tmp_path, capsys):
    plain = Rnn(embedding=8, width=8, attention=Attention(score="none"), max_length=32)
    folder = untrained(dataclasses.replace(settings, model=plain), tmp_path / "run")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["probe", str(folder), "--by", "omission"])
    assert exit_.value.code == 2
    assert "has no attention to change (--model.attention.score=none): give --tests removal" in capsys.readouterr().err
    model = api.load(folder)
    with pytest.raises(UsageError, match="no attention to change"):
        model.probe(["ba"], ["BA"], rules=[Rule(by="omission")])
    found = model.probe(["ba be"], ["BA"], rules=[Rule(by="omission")], wanted=Wanted(["removal"]))
    assert found.rows[0].comprehensiveness.interval is None
