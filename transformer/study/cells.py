"""What a study is made of, where it is found, and which runs it asks for."""

import dataclasses
import difflib
import json
import re
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from transformer import check as settings
from transformer import config, recipes
from transformer.config import Config
from transformer.errors import UsageError
from transformer.storage import checksums

TOKENIZE = ("13a", "none", "intl", "char", "zh")
"""sacreBLEU's tokenizers."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Of cells and tables, which name folders and files."""


@dataclass(frozen=True)
class Cell:
    """One way of doing it: settings, the seeds they are tried with, and how their translations are scored."""

    config: Config
    seeds: tuple[int, ...] = (1,)
    tokenize: str = "13a"
    """sacreBLEU's tokenizer."""
    table: str = "results"
    """The table that it is a row of. Cells of one table have one test set and one budget."""


Metric: TypeAlias = Literal["BLEU", "AER"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class Pair(NamedTuple):
    """Two cells of one table that are compared: how far the one is from the other."""

    one: str
    other: str
    metric: Metric = "BLEU"

    def __str__(self) -> str:
        return f"{self.one} − {self.other}" + f" ({self.metric})" * (self.metric != "BLEU")


@dataclass(frozen=True)
class Study:
    """Cells by name, in the order of their tables."""

    cells: Mapping[str, Cell]
    full: Mapping[str, Cell] = field(default_factory=dict)
    """--full: further cells, and again those of `cells` that have more seeds then."""
    baselines: tuple[str, ...] = ()
    """Cells that the others of their table are compared with, at most one a table."""
    pairs: tuple[Pair, ...] = ()
    """Further cells that are compared with each other, whatever the study's metric; their p is corrected for all pairs
    of the table."""
    drawn: tuple[str, ...] = ()
    """Cells in the figures; none of a table named: all of it."""
    beside: tuple[str, ...] = ()
    """Other studies, by their folder as seen from this one's: what they have of the very same settings and seed, by
    whatever name, is taken from their results.json and not run again."""
    metric: Metric = "BLEU"
    """What the comparisons and the main figure are about: BLEU (more is better), or the error rate of the attention as
    alignment, on test sets with gold links."""

    @property
    def whole(self) -> dict[str, Cell]:
        """All cells with all their seeds."""
        return {**self.cells, **self.full}

    def tables(self) -> dict[str, list[str]]:
        """The cells of each table."""
        found: dict[str, list[str]] = {}
        for name, cell in self.whole.items():
            found.setdefault(cell.table, []).append(name)
        return found


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

    @property
    def digest(self) -> str:
        """Of its settings."""
        return digest(self.settings)

    @property
    def key(self) -> str:
        """NAME@DIGEST: what another process runs, or refuses where the study has changed since."""
        return f"{self.name}@{self.digest}"


def digest(given: Config) -> str:
    """12 hexadecimal digits that stand for settings: of all that differ from the defaults, so that a version with
    further settings finds the same."""
    plain, default = _plain(given), _plain(dataclasses.replace(Config(), model=type(given.model)()))
    return checksums.short_digest(_differing(plain, default), sort_keys=True)


def _plain(given: Config) -> dict[str, Any]:
    """As JSON has it; 1.0 is 1, for these are the same settings."""
    tree: dict[str, Any] = json.loads(
        json.dumps(config.to_json(given)),
        parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text),
    )
    return tree


def _differing(tree: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            kept[name] = _differing(value, default[name])
        elif value != default[name] or name == "kind":
            kept[name] = value
    return kept


def home(path: Path) -> Path:
    """The folder of a study, which is named by it or by its file."""
    return path if path.is_dir() else path.parent


def find(path: Path) -> Study:
    """The `study` that study.py in a folder defines; the file is executed.

    Args:
        path: the folder, or its study.py.

    Raises UsageError when there is none.
    """
    file = path / "study.py" if path.is_dir() else path
    if not file.is_file():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1)
        hint = f"did you mean {path.with_name(near[0])}? Otherwise " if near and near[0] != path.name else ""
        raise UsageError(f"no study at {path}: {hint}give a folder with a study.py that defines `study`")
    if file.name != "study.py":
        raise UsageError(
            f"{path} is no study.py: results, tables and figures lie beside it, a folder a study; move it to "
            f"{path.with_suffix('')}/study.py"
        )
    try:
        found = runpy.run_path(str(file)).get("study")
    except (Exception, SystemExit) as error:
        raise UsageError(f"study {file} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, Study):
        raise UsageError(f"study {file} must define `study`, a transformer.study.cells.Study")
    _check_form(found, file)
    return found


def _check_form(study: Study, file: Path) -> None:
    """Python does not check types."""
    for name in ("drawn", "baselines", "beside"):
        if not isinstance(given := getattr(study, name), tuple) or not all(isinstance(one, str) for one in given):
            raise UsageError(f'study {file} has {name}={given!r}: a tuple of names, such as {name}=("one",)')
    if not isinstance(study.pairs, tuple) or not all(isinstance(pair, Pair) for pair in study.pairs):
        raise UsageError(f'study {file} has pairs={study.pairs!r}: a tuple of them, such as pairs=(Pair("a", "b"),)')
    for cells in (study.cells, study.full):
        if not isinstance(cells, Mapping):
            raise UsageError(f"study {file}: `cells` and `full` are dicts of names and Cells")
        for name, cell in cells.items():
            _check_cell(name, cell, file)
    paired = [name for pair in study.pairs for name in (pair.one, pair.other)]
    unknown = [name for name in (*study.drawn, *study.baselines, *paired) if name not in study.whole]
    if unknown or not study.whole:
        raise UsageError(f"study {file} has no cell {' '.join(unknown) or 'at all'}")
    tables = [study.whole[name].table for name in study.baselines]
    if len(set(tables)) < len(tables):
        raise UsageError(f"study {file}: a table has one cell of `baselines`, and here are {len(tables)} of them")
    for pair in study.pairs:
        if pair.one == pair.other or study.whole[pair.one].table != study.whole[pair.other].table:
            raise UsageError(f"study {file}: the pair {pair} must be of two cells of one table")
        if pair.metric not in METRICS:
            raise UsageError(f"study {file}: the pair {pair} has metric={pair.metric!r}: BLEU or AER")
    gone = [other for other in study.beside if not (file.parent / other).is_dir()]
    if gone:
        raise UsageError(
            f"study {file}: `beside` has {gone[0]}, and there is no folder {file.parent / gone[0]}: give the folder of "
            "another study as seen from this one's, or leave it out"
        )
    if study.metric not in METRICS:
        raise UsageError(f"study {file} has metric={study.metric!r}: BLEU or AER")
    for name in study.full.keys() & study.cells.keys():
        more, fewer = study.full[name], study.cells[name]
        if dataclasses.replace(more, seeds=fewer.seeds) != fewer or not set(fewer.seeds) <= set(more.seeds):
            raise UsageError(f"study {file}: in `full` the cell {name} may have more seeds than in `cells`, no others")


def _check_cell(name: str, cell: Cell, file: Path) -> None:
    if not isinstance(cell, Cell) or not isinstance(cell.config, Config):
        raise UsageError(f"study {file}: the cell {name} is no transformer.study.cells.Cell of a Config")
    if not isinstance(cell.seeds, tuple) or not cell.seeds or not all(type(seed) is int for seed in cell.seeds):
        raise UsageError(f"study {file}: the cell {name} needs a tuple of seeds, such as seeds=(1, 2)")
    if len(set(cell.seeds)) < len(cell.seeds):
        raise UsageError(f"study {file}: the cell {name} has a seed twice in seeds={cell.seeds}")
    if cell.tokenize not in TOKENIZE:
        raise UsageError(f"study {file}: the cell {name} has tokenize={cell.tokenize!r}: {', '.join(TOKENIZE)}")
    for what, given in (("cell", name), ("table", cell.table)):
        if not isinstance(given, str) or not NAME.fullmatch(given):
            raise UsageError(f"study {file}: the {what} {given!r} names files: give letters, digits, _ . and -")


def check(every: Iterable[Trial]) -> None:
    """Refuse what cannot work before the first run begins, not after the last. Raises UsageError naming the cell."""
    for trial in every:
        try:
            settings.everything(trial.settings)
        except UsageError as error:
            raise UsageError(f"the cell {trial.cell}: {error}") from None
        data = trial.settings.data
        if not (data.grammar.test if data.source == "grammar" else data.test):
            raise UsageError(f"the cell {trial.cell} has no test set: give its recipe data.test")


def trials(study: Study, only: Iterable[str] = (), *, full: bool = False, smoke: bool = False) -> list[Trial]:
    """Runs of a study, cell by cell.

    Args:
        study: the grid.
        only: some cells, those of `full` too; none: all.
        full: all cells and seeds, not those of every day alone.
        smoke: shrunk to seconds, one seed a cell.

    Raises UsageError for an unknown cell.
    """
    named = list(only)
    for name in named:
        if name not in study.whole:
            near = difflib.get_close_matches(name, study.whole, n=1, cutoff=0.0)[0]
            raise UsageError(f"--only {name}: no such cell; did you mean {near}? There are {', '.join(study.whole)}")
    grid = study.whole if full else {**{name: study.whole[name] for name in named}, **study.cells}
    pairs = [(name, cell, seed) for name, cell in study.whole.items() for seed in cell.seeds]
    return [
        Trial(name, seed, recipes.smoke(own) if smoke else own, cell.tokenize)
        for name, cell, seed in pairs
        if (not named or name in named) and name in grid and seed in grid[name].seeds[: 1 if smoke else None]
        for own in (dataclasses.replace(cell.config, seed=seed),)
    ]


def named(study: Study, key: str, *, smoke: bool = False) -> Trial:
    """One run by its name, CELL-SEED, or by its key, CELL-SEED@DIGEST.

    Raises UsageError where there is none of it, or its settings are no more those of the key.
    """
    name, _, wanted = key.partition("@")
    every = {trial.name: trial for trial in trials(study, full=True, smoke=smoke)}
    if name not in every:
        near = difflib.get_close_matches(name, every, n=1, cutoff=0.0)[0]
        raise UsageError(f"--trial {key}: no such trial; did you mean {near}? There are {', '.join(every)}")
    if wanted not in ("", every[name].digest):
        raise UsageError(f"--trial {key}: the settings of {name} have changed since this was started: start it anew")
    return every[name]
