"""The run directory of a training: whether it may be written, its lock, its settings and their provenance."""

import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformer import config, plugins
from transformer.config import flatten, read_about, read_config
from transformer.errors import UsageError
from transformer.storage.files import DamagedFileError, read_object, write_json
from transformer.storage.locks import file_lock
from transformer.storage.run import Run

log = logging.getLogger(__name__)

# Settings that may differ between the sessions of a run: the length of training, memory use, what is kept and shown,
# but not what it computes. (The cosine schedule depends on the number of steps, so with it they may not differ.)
FREE = (
    "training.steps",
    "training.minutes",
    "training.accumulate",
    "training.remat",
    "training.loss_chunk",
    "training.patience",
    "training.log_every",
    "training.save_minutes",
    "training.keep_last",
    "training.keep_best",
    "training.average",
    "data.cache",
    "data.folder",
    "decoding",
    "mesh",
)


def check(folder: Path, settings: config.Config, resume: bool) -> dict[str, Any] | None:
    """Whether a run may train in a folder. Nothing is written.

    Returns:
        What `save` wrote, for a run to resume; None for a new one.

    Raises:
        UsageError: the folder contains something else, a different run, or a run and `resume` was not given.
        DamagedFileError: config.json is damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--run={folder} is a file")
    if (above := next((path for path in folder.parents if path.exists()), None)) and not above.is_dir():
        raise UsageError(f"--run={folder}: {above} is a file, not a folder")
    if not folder.is_dir() or _is_unfinished_start(Run(folder)):
        return None
    if not is_run(folder):
        raise UsageError(f"{folder} is not empty and is not a run directory: give another --run")
    if not resume:
        raise UsageError(f"{folder} already holds a run: add --resume to resume it, or give another --run")
    about = read_about(folder)
    if "imported" in about:
        raise UsageError(
            f"{folder} was imported and has no training to resume: fine-tune it with --init-from {folder} and "
            "another --run"
        )
    _compare(folder, read_config(folder), settings)
    # `init_from` is None if the run was not initialised from another.
    needed: dict[str, Any] = {"identity": dict, "init_from": str | None, "sittings": list}
    wrong = [name for name, kind in needed.items() if name not in about or not isinstance(about[name], kind)]
    if wrong:
        raise DamagedFileError(
            f"{Run(folder).config} is damaged: it has no valid `{wrong[0]}`, without which resuming may not be exact. "
            f"Restore it, or start a new --run with --init-from {folder}"
        )
    return about


def _is_unfinished_start(run: Run) -> bool:
    """Whether a folder is empty, or holds a run that was killed before config.json was written, which comes last."""
    found = {path.name for path in run.folder.iterdir()}
    ours = {run.lock.name, run.tokenizer.name, run.data.name, run.config.name + ".new"}
    return not found or (run.lock.name in found and found <= ours)


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Lock the run directory, so that no other process trains in it.

    Raises UsageError if another process is already training in it.
    """
    with file_lock(run.lock) as acquired:
        if not acquired:
            raise UsageError(f"another process is training in {run.folder}: wait for it, or give another --run")
        yield


def save(run: Run, settings: config.Config, about: dict[str, Any]) -> None:
    """Write config.json: the settings and their plugins, the provenance of this session, and `about`, which `check`
    returns."""
    if "config" in about:
        _report_changes(config.from_json(about["config"]), settings)
    sessions = [*about.get("sittings", []), provenance()]
    needed = {"plugins": plugins.needed(settings)}
    write_json(run.config, {**about, **needed, "sittings": sessions, "config": config.to_json(settings)})


def is_run(folder: Path) -> bool:
    """Whether a folder is a run directory of ours. Raises DamagedFileError if config.json is damaged."""
    path = Run(folder).config
    return path.is_file() and "config" in read_object(path)


def _changes(old: config.Config, new: config.Config) -> dict[str, tuple[Any, Any]]:
    before, now = flatten(config.to_json(old)), flatten(config.to_json(new))
    return {name: (before.get(name), value) for name, value in now.items() if value != before.get(name)}


def _report_changes(old: config.Config, new: config.Config) -> None:
    for name, (before, now) in _changes(old, new).items():
        log.info("--%s is now %s, was %s", name.replace("_", "-"), now, before)


def _compare(folder: Path, old: config.Config, new: config.Config) -> None:
    changed = _changes(old, new)
    if "model.kind" in changed:
        before, now = changed["model.kind"]
        raise UsageError(
            f"{folder} is a run of another kind of model ({before}, not {now}): resume it "
            f"with `transformer train {folder} --resume`, or give another --run"
        )
    for name, (before, now) in changed.items():
        flag = name.replace("_", "-")
        if name == "training.steps" and new.schedule.name == "cosine":
            raise UsageError(
                f"{folder} was trained with --{flag}={before}, not {now}, and its cosine schedule "
                f"ends at this step: to train longer, give another --run with --init-from {folder}"
            )
        if not any(name == free or name.startswith(free + ".") for free in FREE):
            raise UsageError(
                f"{folder} was trained with --{flag}={before}, not {now}: a resumed run keeps what it "
                f"computes (resume with `transformer train {folder} --resume`, or give another --run)"
            )


def provenance() -> dict[str, Any]:
    """Version of the package and, in a checkout, its git commit (with "+changes" when files were edited)."""
    from importlib.metadata import version  # slow to import, and needed by few commands

    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        tracked = git("ls-files", "--error-unmatch", str(Path(__file__).name))
        commit = git("rev-parse", "HEAD") if tracked else None
        if git("status", "--porcelain", "--untracked-files=no"):
            commit = f"{commit}+changes"
    except (OSError, subprocess.SubprocessError):
        commit = None
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"version": version("attention-transformer"), "commit": commit, "started": started}
