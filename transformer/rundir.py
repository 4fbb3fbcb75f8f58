"""The run directory: all that a run leaves, and all that the commands after `train` need.

config.json       the resolved settings, the recipe's name, and version and git commit of each sitting
tokenizer/        pieces and their hash
data/             the validation and test sets as text
checkpoints/      see `checkpoint`
average/          averaged parameters, when the recipe asks for them
metrics.jsonl     one JSON object a line; events/ has the same for TensorBoard
report/           curves and scores
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformer import config
from transformer.errors import TransformerError, UsageError

# What may differ between the sittings of one run: how long it goes and what is kept and shown, not what it computes.
FREE = (
    "training.steps",
    "training.minutes",
    "training.patience",
    "training.log_every",
    "training.validate_sentences",
    "training.keep_last",
    "training.keep_best",
    "training.average",
    "data.cache",
    "decoding",
    "mesh",
)


@dataclass(frozen=True)
class Run:
    """Paths of a run directory."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def average(self) -> Path:
        return self.folder / "average"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def events(self) -> Path:
        return self.folder / "events"

    @property
    def report(self) -> Path:
        return self.folder / "report"


def read_config(folder: Path) -> config.Config:
    """The settings of a run. Raises TransformerError when the folder is not a run directory."""
    path = Run(folder).config
    if not folder.is_dir():
        raise UsageError(f"no run directory at {folder}")
    if not path.is_file():
        raise UsageError(f"{folder} is not a run directory: it has no config.json")
    try:
        return config.from_json(json.loads(path.read_text(encoding="utf-8"))["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise TransformerError(f"{path} is damaged: {error}") from error


def begin(folder: Path, settings: config.Config, recipe: str, resume: bool) -> tuple[Run, bool]:
    """Make a new run directory, or (with `resume`) go on in one.

    Returns:
        The run, and whether it goes on.

    Raises:
        UsageError: the folder holds something else, another run, or this run and `resume` was not given.
    """
    run = Run(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--run={folder} is a file")
    # A start that failed before its first update left nothing worth keeping.
    there = run.config.is_file() and (run.metrics.is_file() or run.checkpoints.is_dir())
    if there and not resume:
        raise UsageError(f"{folder} already holds a run: add --resume to go on with it, or give another --run")
    if not run.config.is_file() and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and is no run directory: give another --run")
    about: dict[str, Any] = {"recipe": recipe, "sittings": []}
    if there:
        _compare(folder, read_config(folder), settings)
        stored = json.loads(run.config.read_text(encoding="utf-8"))
        about = {name: stored[name] for name in about}
    about["sittings"].append(provenance())
    about["config"] = config.to_json(settings)
    try:
        if not there:
            for made in (run.tokenizer, run.data):
                shutil.rmtree(made, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(run.config, about)
    except OSError as error:
        raise TransformerError(f"cannot write to the run directory {folder}: {error.strerror}") from error
    return run, there


def _compare(folder: Path, old: config.Config, new: config.Config) -> None:
    before, now = flatten(config.to_json(old)), flatten(config.to_json(new))
    for name, value in now.items():
        free = any(name == f or name.startswith(f + ".") for f in FREE)
        if not free and value != before[name]:
            flag = name.replace("_", "-")
            raise UsageError(
                f"{folder} was trained with --{flag}={before[name]}, not {value}: a resumed run keeps what it "
                f"computes (resume with `transformer train {folder} --resume`, or give another --run)"
            )


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts to one dict with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def provenance() -> dict[str, Any]:
    """Version of the package and, in a checkout, its git commit (with "+changes" when files were edited)."""
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


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Whole or not at all: written beside and moved into place."""
    beside = path.with_suffix(path.suffix + ".new")
    beside.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)
