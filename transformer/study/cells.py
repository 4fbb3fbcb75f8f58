"""What a study is made of, where it is found, and its results on disk."""

import dataclasses
import difflib
import json
import logging
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transformer import check as settings
from transformer import config, rundir
from transformer.config import Config
from transformer.errors import TransformerError, UsageError

log = logging.getLogger(__name__)

TOKENIZE = ("13a", "none", "intl", "char", "zh")
"""sacreBLEU's tokenizers."""
KEYS = ("cell", "seed", "config", "parameters", "updates", "minutes", "validation", "test")
"""What a result has."""


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
    except (Exception, SystemExit) as error:
        raise UsageError(f"study {file} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, Study):
        raise UsageError(f"study {file} must define `study`, a transformer.study.cells.Study")
    _check_form(found, file)
    unknown = [name for name in found.drawn if name not in found.cells]
    if unknown or not found.cells:
        raise UsageError(f"study {file} has no cell {' '.join(unknown) or 'at all'}")
    return found


def _check_form(study: Study, file: Path) -> None:
    """Python does not check types."""
    if not isinstance(study.cells, Mapping):
        raise UsageError(f"study {file}: `cells` are a dict of names and Cells")
    for name, cell in study.cells.items():
        if not isinstance(cell, Cell) or not isinstance(cell.config, Config):
            raise UsageError(f"study {file}: the cell {name} is no transformer.study.cells.Cell of a Config")
        if not isinstance(cell.seeds, tuple) or not cell.seeds:
            raise UsageError(f"study {file}: the cell {name} needs a tuple of seeds, such as seeds=(1, 2)")
        if cell.tokenize not in TOKENIZE:
            raise UsageError(f"study {file}: the cell {name} has tokenize={cell.tokenize!r}: {', '.join(TOKENIZE)}")


def check(every: Iterable[Trial]) -> None:
    """Refuse what cannot work before the first run begins, not after the last. Raises UsageError naming the cell."""
    for trial in every:
        try:
            settings.everything(trial.settings)
        except UsageError as error:
            raise UsageError(f"the cell {trial.cell}: {error}") from None
        data = trial.settings.data
        if not (data.test if data.source == "files" else data.grammar.test):
            raise UsageError(f"the cell {trial.cell} has no test set: give its recipe data.test")


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
        found = self._found.get(trial.name)
        if found is None:
            return None
        if _settings(found) == config.from_json(_plain(trial.settings)):
            return found
        log.warning("%s: the result of %s is of other settings; a run replaces it", self.path, trial.name)
        return None

    def add(self, trial: Trial, values: dict[str, Any]) -> None:
        """Keep what came of a trial, beside what others may have added by now."""
        self._found = self._read()
        self._found[trial.name] = {"cell": trial.cell, "seed": trial.seed, "config": _plain(trial.settings)} | values
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rundir.write_json(self.path, self._found)

    def _read(self) -> dict[str, Any]:
        try:
            found: Any = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        except (OSError, ValueError) as error:
            raise TransformerError(f"{self.path} cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise TransformerError(f"{self.path} is no results of a study: it holds no object of names")
        for name, entry in found.items():
            missing = [key for key in KEYS if not isinstance(entry, dict) or key not in entry]
            if missing:
                raise TransformerError(f"{self.path} is damaged: {name} has no {', '.join(missing)}")
        return found


def _plain(given: Config) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(config.to_json(given)))


def _settings(result: Mapping[str, Any]) -> Config | None:
    """Of a result; None where another version wrote settings that this one does not know."""
    try:
        return config.from_json(result["config"])
    except UsageError:
        return None
