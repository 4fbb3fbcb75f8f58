"""What a study is made of, where it is found, and its results on disk."""

import dataclasses
import difflib
import json
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transformer import config, rundir
from transformer.config import Config
from transformer.errors import TransformerError, UsageError


@dataclass(frozen=True)
class Cell:
    """One way of doing it: settings, the seeds they are tried with, and how their translations are scored."""

    config: Config
    seeds: tuple[int, ...] = (1,)
    tokenize: str = "13a"
    """sacreBLEU's tokenizer."""


@dataclass(frozen=True)
class Study:
    """Cells by name, in the order of the table."""

    cells: Mapping[str, Cell]
    drawn: tuple[str, ...] = ()
    """Cells in the figure; none named: all."""


class Trial(NamedTuple):
    """A cell with one of its seeds: one run."""

    cell: str
    seed: int
    settings: Config
    tokenize: str

    @property
    def name(self) -> str:
        """Its run directory, and its key among the results."""
        return f"{self.cell}-{self.seed}"


def find(path: Path) -> Study:
    """The `study` that a Python file defines (or study.py in a folder); the file is executed.

    Raises UsageError when there is none.
    """
    file = path / "study.py" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"no study at {path}: give a .py file that defines `study`, or a folder with a study.py")
    try:
        found = runpy.run_path(str(file)).get("study")
    except Exception as error:
        raise UsageError(f"study {file} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, Study):
        raise UsageError(f"study {file} must define `study`, a transformer.study.cells.Study")
    unknown = [name for name in found.drawn if name not in found.cells]
    if unknown or not found.cells:
        raise UsageError(f"study {file} has no cell {' '.join(unknown) or 'at all'}")
    return found


def trials(study: Study, only: Iterable[str] = ()) -> list[Trial]:
    """Every run of a study, cell by cell; with `only` those of some cells. Raises UsageError for a cell unknown."""
    wanted = list(only) or list(study.cells)
    for name in wanted:
        if name not in study.cells:
            near = difflib.get_close_matches(name, study.cells, n=1, cutoff=0.0)[0]
            raise UsageError(f"--only {name}: no such cell; did you mean {near}? There are {', '.join(study.cells)}")
    return [
        Trial(name, seed, dataclasses.replace(cell.config, seed=seed), cell.tokenize)
        for name, cell in study.cells.items()
        if name in wanted
        for seed in cell.seeds
    ]


class Results:
    """results.json: what came of each trial, written whole after each."""

    def __init__(self, path: Path):
        """Raises TransformerError when the file is there and is damaged."""
        self.path = path
        self._found = self._read()

    def of(self, trial: Trial) -> dict[str, Any] | None:
        """What came of a trial, if it was run with these very settings."""
        found: dict[str, Any] | None = self._found.get(trial.name)
        return found if found is not None and found["config"] == _plain(trial.settings) else None

    def add(self, trial: Trial, values: dict[str, Any]) -> None:
        """Keep what came of a trial, beside what others may have added by now."""
        self._found = self._read()
        self._found[trial.name] = {"cell": trial.cell, "seed": trial.seed, "config": _plain(trial.settings)} | values
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rundir.write_json(self.path, self._found)

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        except ValueError as error:
            raise TransformerError(f"{self.path} is damaged: {error}") from None
        return found


def _plain(settings: Config) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(config.to_json(settings)))
