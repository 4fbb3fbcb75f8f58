"""Lines in, lines out: several translations, prefixes, alignments, scores, and resuming after an interruption."""

import dataclasses
import json
import os

import numpy as np
import pytest

from tests.conftest import toy, untrained
from transformer import api
from transformer.commands import stream
from transformer.commands.evaluate import Evaluate
from transformer.commands.options import Model, Search
from transformer.commands.score import Score
from transformer.commands.translate import Translate
from transformer.config import Attention, Rnn, Tokenizer
from transformer.errors import TransformerError, UsageError
from transformer.models.config import SequenceToSequence

LINES = ["ba be", "", "bi bo bu da", "de", "ba ge ki lo mu"] * 3


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in"
    path.write_text("".join(line + "\n" for line in LINES))
    return path


def translate(run, source, target, **changes):
    values = {"search": Search(beam=2)} | changes
    Translate(str(run), str(source), str(target), **values)()


def test_json_has_n_best_with_scores_and_alignments(trained_run, trained_model, source, tmp_path):
    search = Search(beam=4, n_best=3)
    translate(trained_run, source, tmp_path / "out", search=search, format="json", alignments=True)
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [row["source"] for row in rows] == LINES
    assert [row["line"] for row in rows] == list(range(1, len(LINES) + 1))
    for row in rows:
        if not row["source"]:
            assert [one["text"] for one in row["hypotheses"]] == [""]
            continue
        assert len(row["hypotheses"]) == 3
        scores = [one["score"] for one in row["hypotheses"]]
        assert scores == sorted(scores, reverse=True)
        for one in row["hypotheses"]:
            # The attention of the search equals that of teacher forcing on its translation.
            (pair,) = trained_model.attend([row["source"]], [one["text"]])
            if pair is None:
                assert one["links"] == ""
                continue
            weights = pair.cross.mean((0, 1))[:-1, :-1]
            expected = {(int(np.argmax(weights[t])), t) for t in range(len(weights))}
            assert {tuple(map(int, link.split("-"))) for link in one["links"].split()} == expected


def test_translations_begin_with_their_prefixes(trained_run, source, tmp_path):
    (tmp_path / "prefix").write_text("".join("DE GE\n" if i % 2 else "\n" for i in range(len(LINES))))
    translate(trained_run, source, tmp_path / "out", prefix=str(tmp_path / "prefix"))
    translate(trained_run, source, tmp_path / "free")
    found, free = ((tmp_path / name).read_text().split("\n") for name in ("out", "free"))
    for number, line in enumerate(LINES):
        if line and number % 2:
            assert found[number].startswith("DE GE")
        else:
            assert found[number] == free[number]
    for count, ends in ((1, "prefix"), (len(LINES) + 1, "in")):
        (tmp_path / "prefix").write_text("DE\n" * count)
        first = min(count, len(LINES)) + 1
        with pytest.raises(TransformerError, match=f"{ends} ends before line {first}: there must be as many prefixes"):
            translate(trained_run, source, tmp_path / "other", prefix=str(tmp_path / "prefix"))
        (tmp_path / "other.part").unlink()


def test_unusable_prefixes_are_reported(trained_model, caplog):
    found = trained_model.translate(["ba", "be", "bi"], prefixes=["DE", "DE ÜÜ", "DE " * 40], max_length=9)
    assert "prefixes truncated to 8 tokens: 1 (first: line 3)" in caplog.text
    assert "does not know, written as its unknown token: 1 (first: line 2)" in caplog.text
    assert found[2].startswith("DE DE")
    # There is room after a prefix, however short the source is.
    start = len(trained_model.tokenizers.target.encode("DE GE BA BI"))
    (one,) = trained_model.search(["ba"], prefixes=["DE GE BA BI"], max_ratio=0.0, max_extra=5, min_length=start + 4)
    assert len(one.tokens) == start + 4


def test_a_translation_respects_its_maximum_length(trained_model):
    for most in (1, 2, 4):
        found = trained_model.search([line for line in LINES if line], max_length=most)
        assert max(len(one.tokens) for one in found) <= most - 1
    with pytest.raises(
        UsageError, match=r"--max-length=3 includes the end-of-sentence token, so it must exceed --min-length=3"
    ):
        trained_model.search(["ba"], max_length=3, min_length=3)


def interrupted(run, source, out, pieces, monkeypatch, **changes):
    """A translation that is killed after this many pieces."""
    hypotheses, left = api.TrainedModel.hypotheses, iter(range(pieces))

    def until(*arguments, **settings):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return hypotheses(*arguments, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(api.TrainedModel, "hypotheses", until)
        with pytest.raises(KeyboardInterrupt):
            translate(run, source, out, **changes)


def test_an_interrupted_translation_resumes_where_it_stopped(trained_run, source, tmp_path, monkeypatch):
    """At any place in the output; the same interruption is used for all places."""
    monkeypatch.setattr(stream, "FIRST_OF_FILE", 4)
    monkeypatch.setattr(stream, "PIECE", 4)
    search = Search(samples=1)
    translate(trained_run, source, tmp_path / "whole", search=search)
    out, part, about = (tmp_path / name for name in ("out", "out.part", "out.part.json"))
    interrupted(trained_run, source, out, 2, monkeypatch, search=search)
    assert json.loads(about.read_text())["lines"] == 8
    whole = (tmp_path / "whole").read_bytes()
    assert part.read_bytes() == b"".join(whole.splitlines(keepends=True)[:8])
    written, described = part.read_bytes(), about.read_bytes()
    for cut in (0, 1, 7, 20, None):
        part.write_bytes(written[:cut])
        about.write_bytes(described)
        if cut != 0:
            with pytest.raises(UsageError, match="interrupted: resume it with --resume"):
                translate(trained_run, source, out, search=search)
        translate(trained_run, source, out, search=search, resume=True)
        assert out.read_bytes() == whole, cut
        assert not part.exists()
        assert not about.exists()
        out.unlink()


def test_a_changed_translation_is_not_resumed(trained_run, source, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "FIRST_OF_FILE", 4)
    out, part, about = (tmp_path / name for name in ("out", "out.part", "out.part.json"))
    part.write_text("BA\n")
    with pytest.raises(UsageError, match="missing or damaged"):
        translate(trained_run, source, out, resume=True)
    part.unlink()
    interrupted(trained_run, source, out, 1, monkeypatch)
    begun, made_of = part.read_bytes(), json.loads(about.read_text())
    with pytest.raises(UsageError, match="made with a different search"):
        translate(trained_run, source, out, search=Search(beam=3), resume=True)
    about.write_text(json.dumps(made_of | {"checkpoint": "step 1"}))  # the run was trained further
    with pytest.raises(UsageError, match="made with a different checkpoint"):
        translate(trained_run, source, out, resume=True)
    about.write_text(json.dumps(made_of))
    text = source.read_text()
    source.write_text(text.replace("ba be", "ba bi", 1))
    with pytest.raises(UsageError, match="made from other lines"):
        translate(trained_run, source, out, resume=True)
    source.write_text(text)
    assert part.read_bytes() == begun
    part.write_text("BA\n" * 50)
    with pytest.raises(UsageError, match="50 lines, more than the input"):
        translate(trained_run, source, out, resume=True)
    assert part.read_text() == "BA\n" * 50
    with pytest.raises(UsageError, match="give --input and --output"):
        translate(trained_run, "-", out, resume=True)


def test_scores_of_given_translations(trained_run, trained_model, tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    sources, good = ["ba be bi", "de", "bo bu"], ["BI BE BA", "DE", "BU BO"]
    other = ["BI BE", "", "BU BO"]
    for name, side in (("s", sources), ("t", good), ("a", other)):
        (tmp_path / name).write_text("".join(line + "\n" for line in side))
    Score(str(trained_run), str(tmp_path / "s"), str(tmp_path / "t"), str(tmp_path / "a"))()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected, against = trained_model.score(sources, good), trained_model.score(sources, other)
    for number, row in enumerate(rows):
        assert row["logp"] == pytest.approx(expected.logp[number], abs=1e-4)
        assert sum(value for _, value in row["tokens"]) == pytest.approx(row["logp"], abs=1e-4)
        assert [piece for piece, _ in row["tokens"]] == [*good[number].split(), "</s>"]
        assert row["against"]["logp"] == pytest.approx(against.logp[number], abs=1e-4)
    assert rows[2]["prefers"] == "neither"
    first = sum(expected.logp > against.logp)
    assert f"in {first} of 3" in caplog.text
    (tmp_path / "t").write_text("DE\n")
    with pytest.raises(TransformerError, match="3 lines but"):
        Score(str(trained_run), str(tmp_path / "s"), str(tmp_path / "t"))()


@pytest.mark.slow
def test_an_ensemble_of_two_families_translates_and_scores(trained_run, recurrent_run, source, tmp_path):
    both = Model(ensemble=(str(recurrent_run),))
    translate(trained_run, source, tmp_path / "out", search=Search(beam=3), model=both)
    assert len((tmp_path / "out").read_text().splitlines()) == len(LINES)
    members = [api.load(run) for run in (trained_run, recurrent_run)]
    sources, targets = ["ba be bi", "de"], ["BI BE BA", "DE"]
    each = [member.score(sources, targets).each for member in members]
    found = both.load(str(trained_run)).score(sources, targets).each
    for row in range(2):
        mean = np.log(np.mean([np.exp(own[row]) for own in each], 0))
        np.testing.assert_allclose(found[row], mean, rtol=1e-4, atol=1e-4)


def test_an_ensemble_attends_where_one_member_does(trained_run, corpora, tmp_path):
    blind = Rnn(embedding=8, width=16, attention=Attention(score="none"), max_length=24)
    untrained(dataclasses.replace(toy(corpora, tmp_path), model=blind), tmp_path / "run")
    members = [api.load(run) for run in (trained_run, tmp_path / "run")]
    for order in (members, members[::-1]):
        together = api.ensemble(order)
        model = together.settings.model
        assert isinstance(model, SequenceToSequence)
        assert model.max_length == 24
        (found,) = together.search(["ba be bi"], attention=True)
        np.testing.assert_allclose(found.attention.sum(-1), 1, rtol=1e-5)


@pytest.mark.slow
def test_an_ensemble_has_its_own_report(trained_run, recurrent_run, tmp_path):
    (tmp_path / "s").write_text("ba\nbe\n")
    files = {"source": str(tmp_path / "s"), "reference": str(tmp_path / "s")}
    for model in (Model(), Model(ensemble=(str(recurrent_run),))):
        Evaluate(str(trained_run), **files, tokenize="none", model=model)()
    report = trained_run / "report"
    alone, together = (
        json.loads(next(path.glob("s-????????.json")).read_text()) for path in (report, report / "with-recurrent")
    )
    assert together["checkpoint"].startswith(alone["checkpoint"] + " + ")
    assert together["ensemble"] == [str(recurrent_run.resolve())]


def test_an_ensemble_needs_one_tokenizer(trained_run, corpora, tmp_path):
    settings = dataclasses.replace(toy(corpora, tmp_path), tokenizer=Tokenizer(kind="word", vocabulary=20))
    untrained(settings, tmp_path / "run")
    with pytest.raises(UsageError, match="a different tokenizer"):
        Model(ensemble=(str(tmp_path / "run"),)).load(str(trained_run))


def test_remarks_about_lines_are_reported_once(trained_run, tmp_path, caplog, monkeypatch):
    """An empty line with a prefix, unknown words on both sides and long lines, in pieces of two lines each."""
    monkeypatch.setattr(stream, "FIRST_OF_FILE", 2)
    monkeypatch.setattr(stream, "PIECE", 2)
    lines = ["ba", "ÜÜ be", "", "ba " * 40, "ÜÜ", "be", "\u3000"]
    prefixes = ["DE", "", "DE", "", "ÜÜ", "DE", ""]
    for name, side in (("in", lines), ("prefix", prefixes)):
        (tmp_path / name).write_text("".join(line + "\n" for line in side))
    translate(trained_run, tmp_path / "in", tmp_path / "out", prefix=str(tmp_path / "prefix"))
    assert (tmp_path / "out").read_text().split("\n")[2] == ""
    warnings = [record.getMessage() for record in caplog.records if record.name == "transformer.decoding.remarks"]
    assert sorted(warnings) == [
        "lines truncated to 32 tokens: 1 (first: line 4)",
        "lines with words or letters that the model does not know, read as its unknown token: 2 (first: line 2)",
        "prefixes of empty lines, whose translations stay empty: 1 (first: line 3)",
        "prefixes with words or letters that the model does not know, written as its unknown token: 1 (first: line 5)",
    ]


def test_devices_and_pipes_are_written_and_files_are_kept(trained_run, trained_model, source, tmp_path, capsys):
    expected = "".join(line + "\n" for line in trained_model.translate(LINES, beam=2))
    translate(trained_run, source, "/dev/null")
    translate(trained_run, source, "/dev/stdout")
    assert capsys.readouterr().out == expected
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    translate(trained_run, source, tmp_path / "pipe")
    assert os.read(reader, 65_536).decode() == expected
    os.close(reader)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "pipe"}
    with pytest.raises(UsageError, match="give --input and --output"):
        translate(trained_run, source, "/dev/null", resume=True)
    for name, message in (("in", "exists"), ("none/out", "there is no folder .*none")):
        with pytest.raises(UsageError, match=message):
            translate(trained_run, source, tmp_path / name)
        with pytest.raises(UsageError, match=message):
            Score(str(trained_run), str(source), str(source), output=str(tmp_path / name)).check()


def test_a_search_that_cannot_fit_memory_names_the_flag(trained_model, monkeypatch):
    with pytest.raises(
        TransformerError, match=r"with 1,000,000 hypotheses each needs at least [\d,.]+ GiB .*lower --batch"
    ):
        trained_model.translate(["ba be"], beam=1_000_000)
    monkeypatch.setattr("transformer.decoding.memory.available", lambda mesh: 1_000)
    with pytest.raises(
        TransformerError, match=r"of 3 sentences with 5 hypotheses .*lower --batch, --beam or --samples"
    ):
        trained_model.translate(["ba be"], samples=5, batch=3)


def test_pairs_without_a_score_or_with_unknown_words_are_counted(trained_model, caplog):
    scores = trained_model.score(["ba", "ÜÜ", "ba " * 40], ["DE", "DE", "DE"])
    assert np.isfinite(scores.logp).tolist() == [True, True, False]
    assert "does not know, scored as its unknown token: 1 (first: line 2)" in caplog.text
    assert "pairs longer than 32 tokens, which have no score: 1 (first: line 3)" in caplog.text
