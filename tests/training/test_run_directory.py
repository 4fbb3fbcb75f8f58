"""Which process may start or resume a run, decided again under the lock; none of these tests trains."""

import dataclasses
import json
import logging
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.conftest import toy
from transformer.config import Config, Schedule
from transformer.errors import TransformerError, UsageError
from transformer.storage.files import DamagedFileError
from transformer.storage.run import Run
from transformer.tasks.translation.config import Translation
from transformer.training import run as training
from transformer.training import run_directory as rundir

PATIENCE = 20
"""Seconds until a test that hangs fails."""


class Prepared:
    """Data whose only property is a hash of the tokenizer."""

    def __init__(self, tokenizer: str) -> None:
        self.identity = {"tokenizer": tokenizer, "train": "t", "validation": "v"}
        self.closed = False

    def save(self, run: Path) -> None:
        Run(run).tokenizer.mkdir(exist_ok=True)
        (Run(run).tokenizer / "hash").write_text(self.identity["tokenizer"])

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def settings(corpora, tmp_path) -> Config:
    return toy(corpora, tmp_path / "cache")


def begin(settings, folder, *, resume=False, init_from=None):
    """Start or resume like `train`, and end at once."""
    with ExitStack() as held:
        start = training._Start(settings, Run(folder), init_from, resume)
        return training._begin(start, "toy", held)


def second_start(monkeypatch, first, second):
    """Run `second` in a thread; `first` starts and ends while it prepares its data. Returns the error of `second`, or
    None."""
    prepares, ended, raised = Event(), Event(), []

    def prepare(self, config, begun):
        if prepares.is_set():  # of the first, or of the second once more
            return Prepared("new" if begun is None else (Run(begun).tokenizer / "hash").read_text())
        prepares.set()
        assert ended.wait(PATIENCE)
        return Prepared("new" if begun is None else (Run(begun).tokenizer / "hash").read_text())

    monkeypatch.setattr(Translation, "prepare", prepare)

    def run():
        try:
            second()
        except Exception as error:
            raised.append(error)

    thread = Thread(target=run)
    thread.start()
    assert prepares.wait(PATIENCE)
    first()
    ended.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return raised[0] if raised else None


def stored(folder):
    return json.loads(Run(folder).config.read_text())


def test_a_run_that_began_and_ended_while_another_start_prepared_is_not_overwritten(settings, tmp_path, monkeypatch):
    other = dataclasses.replace(settings, schedule=Schedule(peak=1.0, warmup=10))
    folder, written = tmp_path / "run", []

    def first():
        begin(settings, folder)
        written.append(Run(folder).config.read_bytes())

    error = second_start(monkeypatch, first, lambda: begin(other, folder))
    assert isinstance(error, UsageError)
    assert "already holds a run: add --resume" in str(error)
    assert [Run(folder).config.read_bytes()] == written


def test_with_resume_the_second_start_resumes_what_the_first_began(settings, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    longer = dataclasses.replace(settings, training=dataclasses.replace(settings.training, steps=99))
    error = second_start(monkeypatch, lambda: begin(settings, folder), lambda: begin(longer, folder, resume=True))
    assert error is None
    assert len(stored(folder)["sittings"]) == 2
    assert stored(folder)["config"]["training"]["steps"] == 99
    other = dataclasses.replace(settings, seed=7)
    folder = tmp_path / "another"
    error = second_start(monkeypatch, lambda: begin(settings, folder), lambda: begin(other, folder, resume=True))
    assert "--seed=1, not 7" in str(error)
    assert len(stored(folder)["sittings"]) == 1


def test_two_that_resume_both_record_their_session(settings, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setattr(Translation, "prepare", lambda *_: Prepared("new"))
    begin(settings, folder)

    def resume():
        begin(settings, folder, resume=True)

    assert second_start(monkeypatch, resume, resume) is None
    assert len(stored(folder)["sittings"]) == 3


def test_the_second_start_from_another_run_is_decided_again_too(settings, tmp_path, monkeypatch):
    folder, parent = tmp_path / "run", tmp_path / "parent"
    monkeypatch.setattr(training, "check_shapes", lambda *_: None)
    monkeypatch.setattr(Translation, "prepare", lambda *_: Prepared("old"))
    begin(settings, parent)
    Run(parent).checkpoints.joinpath("12").mkdir(parents=True)
    fine_tune = {"resume": True, "init_from": parent}
    error = second_start(monkeypatch, lambda: begin(settings, folder), lambda: begin(settings, folder, **fine_tune))
    assert "started from fresh parameters, not from --init-from" in str(error)
    assert stored(folder)["init_from"] is None
    assert stored(folder)["identity"]["tokenizer"] == "new"


def test_while_another_process_trains_nothing_is_written(settings, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setattr(Translation, "prepare", lambda *_: Prepared("new"))
    begin(settings, folder)
    before = Run(folder).config.read_bytes()
    with rundir.locked(Run(folder)), pytest.raises(UsageError, match="another process is training in"):
        begin(settings, folder, resume=True)
    assert Run(folder).config.read_bytes() == before


def test_prepared_data_is_closed_when_the_start_is_refused(settings, tmp_path, monkeypatch):
    prepared = Prepared("new")
    monkeypatch.setattr(Translation, "prepare", lambda *_: prepared)
    (tmp_path / "run").mkdir()
    with rundir.locked(Run(tmp_path / "run")), pytest.raises(UsageError, match="another process"):
        begin(settings, tmp_path / "run")
    assert prepared.closed


@pytest.mark.parametrize("name", ["identity", "init_from", "sittings"])
@pytest.mark.parametrize("change", ["missing", "a number"])
def test_a_config_that_lacks_what_resuming_needs_is_damaged(settings, tmp_path, monkeypatch, name, change):
    monkeypatch.setattr(Translation, "prepare", lambda *_: Prepared("new"))
    begin(settings, tmp_path / "run")
    values = stored(tmp_path / "run") | {name: 5}
    if change == "missing":
        del values[name]
    Run(tmp_path / "run").config.write_text(json.dumps(values))
    with pytest.raises(DamagedFileError, match=rf"config.json is damaged: it has no valid `{name}`, .*--init-from"):
        begin(settings, tmp_path / "run", resume=True)


def test_a_damaged_config_is_reported_as_damaged(settings, tmp_path):
    Run(tmp_path).config.write_text("{")
    for resume in (False, True):
        with pytest.raises(DamagedFileError, match=r"config.json is damaged: line 1"):
            rundir.check(tmp_path, settings, resume)


def test_memory_settings_may_change_when_a_run_is_resumed(settings, tmp_path, monkeypatch, caplog):
    """The settings that the message about full memory advises, and none that changes results."""
    monkeypatch.setattr(Translation, "prepare", lambda *_: Prepared("new"))
    begin(settings, tmp_path / "run")
    smaller = dataclasses.replace(settings.training, accumulate=3, remat="all", loss_chunk=32)
    with caplog.at_level(logging.INFO):
        begin(dataclasses.replace(settings, training=smaller), tmp_path / "run", resume=True)
    assert "--training.accumulate is now 3, was 1" in caplog.text
    assert stored(tmp_path / "run")["config"]["training"]["remat"] == "all"
    bfloat16 = dataclasses.replace(settings.training, precision="bfloat16")
    with pytest.raises(UsageError, match=r"--training.precision=float32, not bfloat16"):
        begin(dataclasses.replace(settings, training=bfloat16), tmp_path / "run", resume=True)


def test_a_run_inside_a_file_is_refused_before_its_data_are_prepared(settings, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / "file" / "a" / "run"):
        with pytest.raises(UsageError, match=r"--run=.*file"):
            rundir.check(folder, settings, resume=False)


def test_another_tokenizer_is_refused(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(Translation, "prepare", lambda *_: Prepared("new"))
    begin(settings, tmp_path / "run")
    monkeypatch.setattr(Translation, "prepare", lambda *_: Prepared("other"))
    with pytest.raises(TransformerError, match="not the tokenizer this run was trained with"):
        begin(settings, tmp_path / "run", resume=True)


def test_a_run_resumes_only_with_its_own_tokenizers_and_data(tmp_path):
    run, prepared = Run(tmp_path), Prepared("one")
    training.check_identity(prepared, dict(prepared.identity), run)
    with pytest.raises(TransformerError, match="is not the tokenizer"):
        training.check_identity(prepared, prepared.identity | {"tokenizer": "two"}, run)
    with pytest.raises(TransformerError, match="the train data changed"):
        training.check_identity(prepared, prepared.identity | {"train": "u"}, run)
    earlier = dict(prepared.identity)
    prepared.identity["mixture"] = "2"
    with pytest.raises(TransformerError, match=r"earlier version, whose batches were different \(mixture\)"):
        training.check_identity(prepared, earlier, run)
