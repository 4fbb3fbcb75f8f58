"""Results of trials are collected, and never lost."""

import copy
import fcntl
import json
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.study.conftest import entry, version_0_1
from transformer.errors import TransformerError
from transformer.study import results, variants
from transformer.study.results import Results

EXPERIMENTS = Path(__file__).parent.parent.parent / "experiments"
BAD = """{{"plain-1": {{"cell": "plain", "seed": 1, "config": {}, "parameters": 1, "updates": 1, "minutes": 1,
"validation": [], "test": {}}}}}"""


def leave(runs, found):
    """Write a result as a trial does."""
    folder = runs / f"{found['variant']}-{found['seed']}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(found))


@pytest.fixture
def plain(folder):
    """The trial plain-1 of the study."""
    return variants.trials(variants.load(folder))[0]


def test_counts_are_packed_without_loss():
    table = np.random.default_rng(1).integers(0, 65_536, (37, 10))
    assert np.array_equal(results.unpack(results.pack(table), 10), table)
    assert results.unpack(results.pack(np.zeros((0, 4), int)), 4).shape == (0, 4)
    with pytest.raises(ValueError, match="16 bits"):
        results.pack(np.array([[65_536]]))
    for damaged in ("!", "AAAA", results.pack(np.zeros((3, 3), int))):
        with pytest.raises(TransformerError, match="damaged"):
            results.unpack(damaged, 10)


def test_merging_depends_only_on_the_entries_of_both_sides(settings):
    old, new = entry(settings, "a"), entry(settings, "b")
    assert results.merged({"a-1": old}, [new]) == {"a-1": old, "b-1": new}
    assert results.merged({"a-1": old}, []) == {"a-1": old}
    again = {**old, "minutes": 9.0}  # the same settings, run elsewhere: what is kept stays
    assert results.merged({"a-1": old}, [again]) == {"a-1": old}
    once = results.merged({"a-1": old}, [again, new])
    assert results.merged(once, [again, new]) == once == {"a-1": old, "b-1": new}


def test_results_of_other_settings_are_kept_and_found_again(folder, plain, tmp_path):
    one = entry(plain.settings, "plain")
    other = entry(plain.settings, "plain")
    other["config"]["training"]["steps"] = 13
    leave(tmp_path / "runs", one)
    found = Results(folder / "results.json")
    found.collect(tmp_path / "runs")
    leave(tmp_path / "elsewhere", other)
    found.collect(tmp_path / "elsewhere")  # where plain-1 is not
    kept = json.loads((folder / "results.json").read_text())
    assert kept == {"plain-1": other, f"plain-1@{plain.digest}-none": one}
    assert Results(folder / "results.json").get(plain) == one
    found.collect(tmp_path / "runs")
    kept = json.loads((folder / "results.json").read_text())
    assert len(kept) == 2
    assert kept["plain-1"] == one
    assert other in kept.values()


def test_results_of_another_study_with_equal_settings_are_reused(folder, plain, tmp_path):
    other = tmp_path / "others" / "results.json"
    other.parent.mkdir()
    dot = next(one for one in variants.trials(variants.load(folder)) if one.variant == "dot")
    same, scored = entry(plain.settings, "by_another_name"), entry(dot.settings, "scored_alike")
    other.write_text(json.dumps({"by_another_name-1": same, "scored_alike-1": scored}))
    found = Results(folder / "results.json")
    found.reuse([plain, dot], [other, tmp_path / "not_yet_run" / "results.json"])
    kept = json.loads((folder / "results.json").read_text())
    assert kept == {
        "plain-1": {**same, "variant": "plain", "from": "others/by_another_name-1"},
        "dot-1": {**scored, "variant": "dot", "from": "others/scored_alike-1"},
    }
    assert found.get(plain) == kept["plain-1"] == Results(folder / "results.json").get(plain)


def test_results_are_not_reused_if_they_exist_or_differ(folder, plain, tmp_path):
    own = entry(plain.settings, "plain")
    leave(tmp_path / "runs", own)
    found = Results(folder / "results.json")
    found.collect(tmp_path / "runs")
    dot, seed_2 = (one for one in variants.trials(variants.load(folder)) if one.variant == "dot")
    scored_otherwise, other_seed = entry(dot.settings, "a"), entry(seed_2.settings, "b", 3)
    scored_otherwise["scoring"] = {"tokenize": "13a"}
    entries = {"plain-1": {**own, "minutes": 9.0}, "a-1": scored_otherwise, "b-3": other_seed}
    other = tmp_path / "results.json"
    other.write_text(json.dumps(entries))
    found.reuse([plain, dot, seed_2], [other])
    assert json.loads((folder / "results.json").read_text()) == {"plain-1": own}


def test_results_scored_otherwise_are_ignored_and_kept(folder, plain, tmp_path, caplog):
    one = entry(plain.settings, "plain")
    leave(tmp_path / "runs", one)
    found = Results(folder / "results.json")
    found.collect(tmp_path / "runs")
    otherwise = plain._replace(scoring=(("tokenize", "13a"),))
    assert found.get(otherwise) is None
    assert found.outdated([plain, otherwise]) == ["plain-1"]
    assert not results.exists(tmp_path / "runs" / "plain-1", otherwise)
    again = entry(plain.settings, "plain")
    again["scoring"] = {"tokenize": "13a"}
    leave(tmp_path / "runs", again)
    found.collect(tmp_path / "runs")
    assert json.loads((folder / "results.json").read_text()) == {"plain-1": again, f"plain-1@{plain.digest}-none": one}
    assert (found.get(plain), found.get(otherwise)) == (one, again)


def test_a_renamed_variant_reuses_the_result_of_its_study(folder, plain, tmp_path):
    before = entry(plain.settings, "its_old_name")
    (folder / "results.json").write_text(json.dumps({"its_old_name-1": before}))
    found = Results(folder / "results.json")
    found.reuse([plain], [])
    assert found.get(plain) == {**before, "variant": "plain", "from": f"{folder.name}/its_old_name-1"}


def test_results_of_deleted_runs_are_kept(folder, plain, tmp_path):
    leave(tmp_path / "runs", entry(plain.settings, "plain"))
    found = Results(folder / "results.json")
    found.collect(tmp_path / "runs")
    before = (folder / "results.json").read_bytes()
    found.collect(tmp_path / "nothing")
    assert (folder / "results.json").read_bytes() == before
    assert found.get(plain) is not None


@pytest.mark.parametrize("shared", [False, True])
def test_concurrent_collecting_loses_nothing(shared, folder, settings, tmp_path, monkeypatch):
    if shared:  # as storage that machines share is: a folder's lock is seen by its own machine alone
        flock = fcntl.flock
        monkeypatch.setattr(
            fcntl, "flock", lambda file, how: None if stat.S_ISDIR(os.fstat(file).st_mode) else flock(file, how)
        )
    every = [entry(settings, f"cell{number}") for number in range(6)]

    def work(number):
        # Each has its own runs, like two runners with different --runs.
        leave(tmp_path / f"runs{number}", every[number])
        Results(folder / "results.json").collect(tmp_path / f"runs{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((folder / "results.json").read_text())) == 6
    assert [path.name for path in folder.iterdir() if path.suffix == ".new"] == []


def test_results_of_version_0_1_are_understood(folder, plain, settings, tmp_path):
    """The file is rewritten only with a new result."""
    path = folder / "results.json"
    new = entry(plain.settings, "plain", unseen=True)
    aligned = {"value": 0.25, "interval": [0.2, 0.3]}
    for name in ("test", "unseen"):
        new[name] = copy.deepcopy(new[name])
        new[name]["scores"]["AER"] = {"name": "AER", **aligned}
        new[name]["counts"] |= results.packed({"AER": np.ones((60, 4), int)})
        new[name]["alignment"] = {"aer": 0.25, "interval": [0.2, 0.3], "heads": [[0.5]], "layers": [0.5], "mean": 0.5}
    old = version_0_1(new)
    assert set(old) >= {"cell", "test", "unseen"}
    assert isinstance(old["test"]["counts"], str)
    assert results.migrated(old) == new == results.migrated(new)
    text = json.dumps({"plain-1": old})
    path.write_text(text)
    found = Results(path)
    assert found.get(plain) == new
    found.collect(tmp_path / "nothing")
    assert path.read_text() == text
    leave(tmp_path / "runs", entry(settings, "other"))
    found.collect(tmp_path / "runs")
    assert json.loads(path.read_text()) == {"plain-1": new, "other-1": entry(settings, "other")}


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("study.py")), ids=lambda path: path.parent.name)
def test_the_committed_results_are_those_of_the_studies(path):
    """No trial is missing: settings have the same digest although some moved from `training` to `task`."""
    study, found = variants.load(path), Results(path.parent / "results.json")
    every = variants.trials(study, full=True)
    assert found.outdated(every) == []
    assert [trial.name for trial in variants.trials(study) if found.get(trial) is None] == []


def test_a_result_without_newer_settings_counts(folder, plain):
    """A setting that did not exist then had the value that is its default now."""
    path = folder / "results.json"
    old = entry(plain.settings, "plain")
    del old["config"]["model"]["reverse"], old["config"]["decoding"]["coverage_penalty"]
    path.write_text(json.dumps({"plain-1": old}))
    assert Results(path).get(plain) is not None
    old["config"]["model"]["from_tomorrow"] = 1
    path.write_text(json.dumps({"plain-1": old}))
    assert Results(path).get(plain) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "results.json is damaged: line 1: "),
        ("[]", r"results.json is damaged: it holds \[\], not an object"),
        ('{"plain-1": {}}', "plain-1 has no variant, seed, config"),
        ('{"plain-1": 3}', "plain-1 has no variant"),
        (BAD.format("3", '{"scores": {"BLEU": {"signature": "tok:none"}}}'), "the settings or scores of plain-1"),
        (BAD.format("{}", "{}"), "the settings or scores of plain-1"),
        (BAD.format('{"data": []}', '{"scores": {"BLEU": 3}}'), "the settings or scores of plain-1"),
    ],
)
def test_a_damaged_file_is_named_in_the_error(content, message, folder, tmp_path):
    (folder / "results.json").write_text(content)
    with pytest.raises(TransformerError, match=message):
        Results(folder / "results.json")
    (folder / "results.json").unlink()
    (tmp_path / "runs" / "plain-1").mkdir(parents=True)
    (tmp_path / "runs" / "plain-1" / "result.json").write_text("{}")
    with pytest.raises(TransformerError, match=r"plain-1/result.json is damaged: the result has no variant"):
        Results(folder / "results.json").collect(tmp_path / "runs")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("test.perplexity", None, "test.perplexity is None"),
        ("test.scores.chrF2", None, "not valid"),
        ("test.scores.BLEU.value", "9", "test.scores.BLEU is '9'"),
        ("test.by_length", [{}], "no 'words'"),
        ("test.by_length", [{"words": "0-5", "bleu": None}], "test.by_length.0 is None"),
        ("test.by_length", [{"words": "x-y", "bleu": 1.0}], "invalid literal"),
        ("test.counts", None, "counts of sentences are damaged"),
        ("test.counts", "xx", "counts of sentences are damaged"),
        ("test.sentences", 7, "counts of 60 sentences, of 7"),
        ("tokens_per_s", "fast", "tokens_per_s is 'fast'"),
        ("test.alignment", {}, "no 'aer'"),
        ("test.alignment", {"aer": 0.1, "counts": "xx"}, "counts of sentences are damaged"),
        ("test.alignment", {"aer": 0.1, "heads": [[]]}, "not valid"),
        ("unseen", {}, "no 'scores'"),
        ("parameters", None, "parameters is None"),
        ("minutes", "long", "minutes is 'long'"),
    ],
)
def test_damaged_numbers_of_results_of_version_0_1_are_named(place, value, message, settings, tmp_path):
    damage(version_0_1(entry(settings, "plain")), place, value, message, tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("scoring", None, "not valid"),
        ("test.scores", None, "not valid"),
        ("test.scores.BLEU.value", "9", "test.scores.BLEU is '9'"),
        ("test.perplexity", None, "test.perplexity is None"),
        ("test.by_length", [{}], "no 'words'"),
        ("test.counts", None, "not valid"),
        ("test.counts.BLEU", {"columns": 10, "packed": "xx"}, "counts of sentences are damaged"),
        ("test.counts.BLEU", {"packed": "xx"}, "no 'columns'"),
        ("test.sentences", 7, "counts of 60 sentences, of 7"),
        ("test.alignment", {"heads": [[]]}, "not valid"),
        ("minutes", "long", "minutes is 'long'"),
    ],
)
def test_damaged_numbers_of_results_are_named(place, value, message, settings, tmp_path):
    damage(entry(settings, "plain"), place, value, message, tmp_path)


def damage(found, place, value, message, tmp_path):
    found = copy.deepcopy(found)
    at = found
    *way, last = place.split(".")
    for name in way:
        at = at[name]
    at[last] = value
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"plain-1": found}))
    with pytest.raises(TransformerError, match=message) as raised:
        Results(path)
    assert "results.json is damaged: the settings or scores of plain-1 are not valid" in str(raised.value)
    assert "restore it from version control" in str(raised.value)


def test_other_results_are_collected_despite_a_damaged_one(folder, settings, tmp_path):
    for variant in ("a", "b", "c"):
        leave(tmp_path / "runs", entry(settings, variant))
    damaged = next((tmp_path / "runs").glob("b-1/result.json"))
    damaged.write_text("{")
    found = Results(folder / "results.json")
    with pytest.raises(TransformerError, match=r"b-1/result.json is damaged: line 1: .* \(move it away: its run"):
        found.collect(tmp_path / "runs")
    assert list(json.loads((folder / "results.json").read_text())) == ["a-1", "c-1"]
