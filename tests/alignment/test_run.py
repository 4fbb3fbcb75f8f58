"""`transformer align` on small runs of the grammar, in both directions."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from tests.conftest import tiny, untrained
from transformer import api, cli
from transformer.alignment import export, formats
from transformer.alignment.links import Rule, align
from transformer.alignment.measure import Gold, measure
from transformer.alignment.select import THRESHOLDS
from transformer.alignment.symmetrize import grow_diag_final_and
from transformer.config import Attention, Guided, Rnn
from transformer.data.corpora import corpus
from transformer.errors import TransformerError, UsageError
from transformer.tasks.task import Split


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A Transformer from English to German, and a recurrent model back; of a few updates each."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def forward(runs, settings):
    return _run_of(runs / "forward", settings, tiny(max_length=64), ("en", "de"))


@pytest.fixture
def backward(runs, settings):
    return _run_of(runs / "backward", settings, Rnn(embedding=8, width=8, max_length=64), ("de", "en"))


def _run_of(folder, settings, model, languages):
    if not folder.exists():
        data = dataclasses.replace(settings.data, source="grammar", languages=languages, max_length=40)
        batching = dataclasses.replace(settings.batching, tokens=512)
        settings = dataclasses.replace(settings, data=data, batching=batching, model=model)
        untrained(settings, folder)
    return folder


def run(*arguments):
    cli.parse(["align", *map(str, arguments)])()


def test_every_file_says_what_the_python_api_says(forward, tmp_path, capsys):
    out = tmp_path / "out"
    fixed = ("--shift", 0, "--pieces", "sum", "--end", "dropped")
    run(forward, "--best", *fixed, "--formats", "pharaoh", "npz", "json", "page", "png", "--show", 1, "--output", out)
    printed = capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert names == {
        "about.json",
        "aer.json",
        "attention.html",
        "attention.json",
        "attention.npz",
        "cross-1.png",
        "decoder-1.png",
        "encoder-1.png",
        "heatmap-1.png",
        "links.pharaoh",
    }
    model, part = api.load(forward), corpus.read(forward / "data", "test", ("en", "de"))
    expected = model.attend(part.sources, part.targets)
    about, found = formats.read_npz(out / "attention.npz")
    assert formats.read_json(out / "attention.json").about == about
    rule = Rule(about["rule"]["layer"], about["rule"]["head"], about["rule"]["threshold"])
    lines = (out / "links.pharaoh").read_text().splitlines()
    assert len(lines) == len(found) == 5
    links = []
    both = zip(expected, found, formats.read_json(out / "attention.json").sentences, strict=True)
    for number, (one, npz, text) in enumerate(both):
        for kind in ("cross", "encoder", "decoder"):
            np.testing.assert_array_equal(npz.matrix(kind), one.matrix(kind))
            np.testing.assert_array_equal(text.matrix(kind), one.matrix(kind))
        assert npz.line == number + 1
        weights, mine = align(one, rule)
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
        links.append(mine)
        assert lines[number] == formats.pharaoh(mine)
    measured = measure(links, [Gold(frozenset(a), frozenset(a)) for a in part.alignments])
    assert json.loads((out / "aer.json").read_text())["aer"] == measured.aer
    assert f"AER {measured.aer:.3f}" in printed


@pytest.mark.parametrize("given", [None, 0.2])
def test_the_best_is_the_best_of_all_heads_and_thresholds(forward, tmp_path, capsys, given):
    threshold = ["--shift", 0, "--pieces", "sum", "--end", "dropped"]
    threshold += [] if given is None else ["--threshold", given]
    run(forward, "--best", *threshold, "--output", tmp_path / "out")
    about = formats_about(forward, tmp_path, *threshold)
    model, dev = api.load(forward), corpus.read(forward / "data", "validation", ("en", "de"))
    pairs = model.attend(dev.sources, dev.targets)
    gold = [Gold(frozenset(a), frozenset(a)) for a in dev.alignments]
    every = {
        (layer, head, threshold): measure([align(one, Rule(layer, head, threshold))[1] for one in pairs], gold).aer
        for layer in (0, 1, None)
        for head in (0, 1, None)
        for threshold in (THRESHOLDS if given is None else [given])
        if layer is not None or head is None
    }
    rule = about["rule"]
    chosen = (rule["layer"], rule["head"], rule["threshold"])
    assert every[chosen] == min(every.values())
    assert f"AER {every[chosen]:.3f}" in capsys.readouterr().out


def formats_about(forward, tmp_path, *flags):
    run(forward, "--best", *flags, "--formats", "npz", "--output", tmp_path / "more")
    return formats.read_npz(tmp_path / "more" / "attention.npz").about


@pytest.mark.slow
def test_the_best_of_all_read_outs_shifts_and_rules(forward, tmp_path, capsys):
    """Chosen on a separate set, used on the test set, in every file."""
    model, part = api.load(forward), corpus.read(forward / "data", "test", ("en", "de"))
    files = [tmp_path / f"own.{kind}" for kind in ("en", "de", "gold")]
    links = [" ".join(f"{s + 1}-{t + 1}" for s, t in pair) for pair in part.alignments]
    for path, lines in zip(files, (part.sources, part.targets, links), strict=True):
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    out, by = tmp_path / "out", ("weights", "norms", "omission")
    chosen_on = ("--choose-on", *files, "--first-word", 1)
    run(forward, "--by", *by, "--best", *chosen_on, "--formats", "json", "page", "png", "--show", 1, "--output", out)
    assert "own pairs, against the gold links of" in capsys.readouterr().out
    assert {"readouts-1.png", "heatmap-1.png", "attention.html", "attention.json"} <= {p.name for p in out.iterdir()}
    about, pairs = formats.read_json(out / "attention.json")
    assert about["readouts"] == list(by)
    assert pairs[0].kinds == ("cross", "encoder", "decoder", "norms", "omission")
    rule = Rule(**{field.name: about["rule"][field.name] for field in dataclasses.fields(Rule)})
    attended = model.attend(part.sources, part.targets, by=by)
    gold = [Gold(frozenset(a), frozenset(a)) for a in part.alignments]

    def rate(rule):
        return measure([align(one, rule)[1] for one in attended], gold, bootstrap=0).aer

    assert json.loads((out / "aer.json").read_text())["aer"] == rate(rule)
    # It was chosen on the very set: no simple rule is better.
    others = [Rule(by=name, shift=shift) for name in by for shift in ((0,) if name == "omission" else (0, 1))]
    assert rate(rule) <= min(map(rate, others))


def test_two_directions_are_combined(forward, backward, tmp_path):
    run(forward, "--reverse", backward, "--output", tmp_path / "both", "--formats", "pharaoh")
    part = corpus.read(forward / "data", "test", ("en", "de"))
    one, other = api.load(forward), api.load(backward)
    lines = (tmp_path / "both" / "links.pharaoh").read_text().splitlines()
    for line, ahead, back in zip(
        lines, one.attend(part.sources, part.targets), other.attend(part.targets, part.sources), strict=True
    ):
        turned = frozenset((s, t) for t, s in align(back, Rule())[1])
        assert line == formats.pharaoh(grow_diag_final_and(align(ahead, Rule())[1], turned))


def test_a_corpus_of_any_size_is_aligned_piece_by_piece(forward, backward, tmp_path, monkeypatch):
    """Pieces of several sizes, with matrices or without, in one direction and in both: the links are the same."""
    both = ("--reverse", backward, "--symmetrize", "union")
    run(forward, *both, "--formats", "pharaoh", "--output", tmp_path / "whole")
    run(forward, *both, "--formats", "pharaoh", "npz", "--output", tmp_path / "matrices")
    expected = (tmp_path / "whole" / "links.pharaoh").read_text()
    assert len(expected.splitlines()) == 5
    assert (tmp_path / "matrices" / "links.pharaoh").read_text() == expected
    monkeypatch.setattr(export, "LINKED", 2)
    monkeypatch.setattr(export, "CHUNK", 1)
    attended = []
    attend = api.TrainedModel.attend
    monkeypatch.setattr(
        api.TrainedModel, "attend", lambda *a, **k: [attended.extend(pairs := attend(*a, **k)), pairs][1]
    )
    run(forward, *both, "--formats", "pharaoh", "page", "--show", 2, "--output", tmp_path / "pieces")
    assert (tmp_path / "pieces" / "links.pharaoh").read_text() == expected
    assert [pair.line for pair in attended] == [1, 2], "only what is shown has matrices"


def test_a_guided_run_uses_its_guided_head(settings, backward, tmp_path):
    guided = Guided(weight=0.5, heads=(1, 0), context="full")
    settings = dataclasses.replace(settings, task=dataclasses.replace(settings.task, guided=guided))
    folder = _run_of(tmp_path / "guided", settings, tiny(max_length=64), ("en", "de"))
    part, model = corpus.read(folder / "data", "test", ("en", "de")), api.load(folder)
    attended = model.attend(part.sources, part.targets, by=["full-context"])
    for number, (flags, back, rule) in enumerate(
        [
            ((), (), Rule(1, 1, by="full-context")),
            (("--by", "weights"), (), Rule()),
            (("--layer", 0), ("--symmetrize", "union", "--reverse", backward), Rule(0, by="full-context")),
            (("--head", "mean"), (), Rule(by="full-context")),
        ]
    ):
        if back:  # the other run is not guided, and cannot read the whole target
            with pytest.raises(UsageError, match="--by full-context needs a decoder"):
                run(folder, *back, "--by", "full-context", "--output", tmp_path / "no")
        run(folder, *flags, "--formats", "pharaoh", "--output", tmp_path / str(number))
        lines = (tmp_path / str(number) / "links.pharaoh").read_text().splitlines()
        assert lines == [formats.pharaoh(align(pair, rule)[1]) for pair in attended]
        about = json.loads((tmp_path / str(number) / "about.json").read_text())
        assert about["rule"] == rule.describe()
    assert model.default_rule() == Rule(1, 1, by="full-context")
    assert model.default_rule("norms") == Rule(by="norms")
    assert model.links(part.sources, part.targets) == [align(pair, model.default_rule())[1] for pair in attended]
    assert "layer 1, head 1" in model.heatmap(part.sources[0], part.targets[0]).axes[0].get_title(loc="left")
    run(folder, "--reverse", backward, "--formats", "pharaoh", "--output", tmp_path / "both")
    about = json.loads((tmp_path / "both" / "about.json").read_text())
    assert about["chosen"] == "full-context, layer 1, head 1"
    assert about["symmetrized"]["chosen"] == "mean of layers, mean of heads"
    assert api.ensemble([model, model]).default_rule() == Rule()
    # `evaluate` measures the same read-out.
    report = api.load_predictor(folder).extras(Split("test", part.sources, part.targets)).report["alignment"]
    assert report["rule"].startswith("full-context, ")
    gold = [Gold(frozenset(links), frozenset(links)) for links in part.alignments]
    links = [align(pair, Rule(1, 1, by="full-context"))[1] for pair in attended]
    assert report["heads"][1][1] == measure(links, gold, bootstrap=0).aer


def test_files_with_custom_gold_links(backward, tmp_path, capsys):
    (tmp_path / "text.de").write_text("der Hund schläft .\n\nein Mann .\n")
    (tmp_path / "text.en").write_text("the dog sleeps .\nnothing\na man .\n")
    (tmp_path / "gold").write_text("1-1 2-2 3p3\n\n1-1\n")
    files = ("--source", tmp_path / "text.de", "--target", tmp_path / "text.en")
    run(backward, *files, "--gold", tmp_path / "gold", "--first-word", 1, "--formats", "pharaoh", "png")
    folder = backward / "report" / "align-text"
    lines = (folder / "links.pharaoh").read_text().split("\n")
    assert lines[1] == ""
    assert len(lines) == 4
    assert "AER" in capsys.readouterr().out
    assert {path.name for path in folder.glob("*.png")} == {"heatmap-1.png", "heatmap-3.png"}


def test_the_models_own_translations_are_aligned(backward, tmp_path):
    (tmp_path / "text").write_text("der Hund schläft .\n\n")
    run(backward, "--source", tmp_path / "text", "--translate", "--formats", "json", "--output", tmp_path / "out")
    about, found = formats.read_json(tmp_path / "out" / "attention.json")
    assert about["target"] == "the model's own"
    translation = api.load(backward).translate(["der Hund schläft ."])[0]
    assert [" ".join(one.target.words) for one in found] == [translation] * bool(translation)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--layer", "2"], "--layer=2: the attention of .* to the source has layers 0 to 1"),
        (["--threshold", "5"], "--threshold=5.0: give a weight from 0 to 1"),
        (["--threshold", "nan"], "--threshold=nan"),
        (["--shift", "-1"], "--shift=-1"),
        (["--show", "0"], "need at least one pair"),
        (["--formats"], "names nothing to write"),
        (["--first-word", "1"], "which are not given"),
        (["--symmetrize", "union"], "give the other one with --reverse"),
        (["--reverse", "{run}"], "translates en to de, but the other direction is de to en"),
        (["--reverse", "{run}/data"], "is not a run directory"),
        (["--output", "{run}/config.json"], "is not a folder"),
        (["--head", "-1"], "has heads 0 to 1"),
        (["--best", "--layer", "0"], "leave out --layer"),
        (["--gold", "x"], "--gold needs --first-word"),
        (["--source", "x"], "--source needs either --target"),
        (["--translate"], "speak of given translations|own"),
        (["--output", "{run}"], "is not empty"),
        (["--by", "omission", "--shift", "1"], "--shift=1 is for read-outs of the attention"),
        (["--by", "omission", "--layer", "1"], "has neither layers nor heads"),
        (["--by", "norms", "--head", "0"], "--by norms has no heads: leave out --head"),
        (["--by", "normes"], "--by normes: there is no such read-out: did you mean norms"),
        (["--choose-on", "a", "b", "c", "--first-word", "1"], "give --best too"),
        (["--source", "{run}/config.json", "--target", "{run}/data/test.en"], r"has \d+ lines but .* has"),
    ],
)
def test_wrong_usage_names_the_right_one(arguments, complaint, forward, capsys, tmp_path):
    given = [argument.format(run=forward) for argument in arguments]
    if given == ["--translate"]:
        given += ["--gold", "x", "--first-word", "0"]
    with pytest.raises(SystemExit) as exit_:
        cli.main(["align", str(forward), *given])
    assert exit_.value.code in (1, 2)
    assert re.search(complaint, capsys.readouterr().err)


def test_a_model_without_attention_has_nothing_to_align_by(settings, tmp_path, capsys):
    plain = Rnn(embedding=8, width=8, attention=Attention(score="none"), max_length=32)
    untrained(dataclasses.replace(settings, model=plain), tmp_path / "run")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["align", str(tmp_path / "run")])
    assert exit_.value.code == 2
    assert "has no attention" in capsys.readouterr().err


def test_gold_links_outside_their_pair_are_refused(backward, tmp_path):
    (tmp_path / "text.de").write_text("der Hund schläft .\n")
    (tmp_path / "text.en").write_text("the dog sleeps .\n")
    files = ("--source", tmp_path / "text.de", "--target", tmp_path / "text.en", "--output", tmp_path / "out")
    for gold, first in (("4-4", 0), ("1-1 9-2", 1), ("1p50", 1)):
        (tmp_path / "gold").write_text(gold + "\n")
        with pytest.raises(TransformerError, match=r"line 1: \d+-\d+ is outside a pair of 4 and 4 words"):
            run(backward, *files, "--gold", tmp_path / "gold", "--first-word", first)
    for link in ("1-²", "1-" + "9" * 5_000):  # more digits than Python reads
        (tmp_path / "gold").write_text(link + "\n")
        with pytest.raises(TransformerError, match="line 1: neither"):
            run(backward, *files, "--gold", tmp_path / "gold", "--first-word", 1)
    assert not (tmp_path / "out").exists()


def test_existing_files_are_never_overwritten(forward, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    run(forward, "--formats", "pharaoh", "--output", out)  # an empty folder will do
    before = (out / "links.pharaoh").read_text()
    with pytest.raises(UsageError, match="is not empty"):
        run(forward, "--formats", "pharaoh", "--layer", 0, "--output", out)
    assert (out / "links.pharaoh").read_text() == before
    run(forward, "--formats", "pharaoh", "--split", "validation")
    with pytest.raises(UsageError, match="align-validation is not empty"):
        run(forward, "--formats", "pharaoh", "--split", "validation")


def test_words_are_separated_only_by_plain_spaces(forward, tmp_path):
    """French has other spaces within its words; every picture and file must number words as the tokenizer does."""
    (tmp_path / "text.en").write_text("the\u00a0dog sleeps\u3000.\n")
    (tmp_path / "text.de").write_text("der Hund\tschläft .\n")
    files = ("--source", tmp_path / "text.en", "--target", tmp_path / "text.de")
    run(forward, *files, "--formats", "png", "json", "page", "--output", tmp_path / "out")
    (one,) = formats.read_json(str(tmp_path / "out" / "attention.json")).sentences
    assert one.source.words == ("the\u00a0dog", "sleeps\u3000.")
    assert one.target.words == ("der", "Hund\tschläft", ".")


def test_a_run_without_a_test_set_is_aligned_on_its_validation_set(settings, tmp_path, caplog):
    data = dataclasses.replace(settings.data, test="")
    untrained(dataclasses.replace(settings, data=data), tmp_path / "run")
    run(tmp_path / "run", "--formats", "pharaoh")
    assert "using its validation set" in caplog.text
    lines = (tmp_path / "run" / "report" / "align-validation" / "links.pharaoh").read_text().splitlines()
    assert len(lines) == 24
    with pytest.raises(UsageError, match="--best needs links"):
        run(tmp_path / "run", "--best", "--output", tmp_path / "out")


def test_empty_files_and_blank_pairs_are_reported(forward, tmp_path, caplog):
    for side in ("en", "de"):
        (tmp_path / f"empty.{side}").write_text("")
        (tmp_path / f"blank.{side}").write_text("\n\n")

    def files(name):
        return "--source", tmp_path / f"{name}.en", "--target", tmp_path / f"{name}.de", "--output", tmp_path / name

    with pytest.raises(TransformerError, match="the file is empty"):
        run(forward, *files("empty"))
    run(forward, *files("blank"))
    assert "no page: the first 2 pairs cannot be aligned" in caplog.text


def test_pairs_that_are_left_out_are_in_no_count(backward, tmp_path, capsys, caplog):
    """A pair longer than the model and an empty one: the counts of pairs, of links and in the report agree."""
    (tmp_path / "text.de").write_text("der Hund schläft .\n" + "der Hund " * 60 + "\n\n")
    (tmp_path / "text.en").write_text("the dog sleeps .\nthe dog\nnothing\n")
    (tmp_path / "gold").write_text("0-0 1-1 2-2 3-3\n0-0\n\n")
    files = ("--source", tmp_path / "text.de", "--target", tmp_path / "text.en", "--output", tmp_path / "out")
    run(backward, *files, "--gold", tmp_path / "gold", "--first-word", 0, "--formats", "pharaoh")
    first = (tmp_path / "out" / "links.pharaoh").read_text().splitlines()[0]
    links = frozenset(tuple(map(int, link.split("-"))) for link in first.split())
    right = frozenset({(0, 0), (1, 1), (2, 2), (3, 3)})
    report = json.loads((tmp_path / "out" / "aer.json").read_text())
    assert report["aer"] == pytest.approx(1 - 2 * len(links & right) / (len(links) + 4))
    assert report["recall"] == pytest.approx(len(links & right) / 4)
    assert (report["sentences"], report["left_out"]) == (1, 2)
    assert report["against"] == f"the gold links of {tmp_path / 'gold'}"
    printed = capsys.readouterr().out
    assert "3 pairs (2 left out: empty, or too long)" in printed
    assert f"(1 of 3 pairs, against the gold links of {tmp_path / 'gold'})" in printed
    assert "omitted pairs longer than 64 tokens: 1 (first: line 2)" in caplog.text
    assert "omitted pairs with an empty side: 1 (first: line 3)" in caplog.text


def test_links_that_came_with_the_data_are_checked_and_not_called_gold(forward, tmp_path, capsys):
    """A run made before its --data.alignments were checked: they count from 1."""
    config = json.loads((forward / "config.json").read_text())
    config["config"]["data"] |= {"source": "files", "alignments": "links"}
    own = tmp_path / "run"
    shutil.copytree(forward, own, ignore=shutil.ignore_patterns("report"))
    (own / "config.json").write_text(json.dumps(config))
    run(own, "--split", "validation", "--formats", "pharaoh", "--best", "--output", tmp_path / "out")
    printed = capsys.readouterr().out
    assert printed.count("against the links of the data (--data.alignments, an aligner's output)") == 2
    assert "gold" not in printed
    (own / "data" / "checksums.json").unlink()  # such a run has none
    file = own / "data" / "validation.align"
    lines = [line.split() for line in file.read_text().splitlines()]
    moved = [" ".join("-".join(str(int(n) + 1) for n in link.split("-")) for link in line) for line in lines]
    file.write_text("".join(line + "\n" for line in moved))
    for flags in (["--split", "validation"], ["--best"]):
        with pytest.raises(TransformerError, match=r"validation\.align: .*words seem to count from 1"):
            run(own, *flags, "--output", tmp_path / "other")
    assert not (tmp_path / "other").exists()
