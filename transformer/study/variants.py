"""A study: its variants, loading it from study.py, and the trials that it consists of."""

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from transformer import check as settings
from transformer import config, plugins, recipes
from transformer.config import Config
from transformer.errors import UsageError
from transformer.evaluation.measures import Measure
from transformer.storage import checksums

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names of variants and tables, which folders and files are named after."""


@dataclass(frozen=True)
class Variant:
    """Settings, their seeds, and how the predictions are scored."""

    config: Config
    seeds: tuple[int, ...] = (1,)
    scoring: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task's scoring; for translation, such as `{"tokenize": "none"}` (sacreBLEU's tokenizer)."""
    table: str = "results"
    """The table in which the variant is a row. The variants of a table share a test set and a training budget."""


class Pair(NamedTuple):
    """Two variants of one table whose difference is tested."""

    system: str
    baseline: str
    metric: str = ""
    """A measure of the task; "" is the one that decides."""

    def __str__(self) -> str:
        return f"{self.system} − {self.baseline}" + f" ({self.metric})" * bool(self.metric)


@dataclass(frozen=True)
class Study:
    """Variants by name, in the order of their tables."""

    variants: Mapping[str, Variant]
    full: Mapping[str, Variant] = field(default_factory=dict)
    """--full: further variants, and variants of `variants` with more seeds."""
    baselines: tuple[str, ...] = ()
    """Variants that the others of their table are compared with, at most one per table."""
    pairs: tuple[Pair, ...] = ()
    """Further comparisons, each by its own metric; their p is corrected for all pairs of the table."""
    plotted: tuple[str, ...] = ()
    """Variants in the figures; if none of a table is named, all of its variants."""
    reuse_from: tuple[str, ...] = ()
    """Other studies, by their folder relative to this one's: trials with equal settings and seed, whatever their name,
    are copied from their results.json and not run again."""
    metric: str = ""
    """The measure that the comparisons and the main figure show, such as BLEU or, on test sets with gold links, AER;
    "" is the one that decides for the task."""

    @property
    def all_variants(self) -> dict[str, Variant]:
        """All variants with all their seeds."""
        return {**self.variants, **self.full}

    def tables(self) -> dict[str, list[str]]:
        """Names of the variants of each table."""
        tables: dict[str, list[str]] = {}
        for name, variant in self.all_variants.items():
            tables.setdefault(variant.table, []).append(name)
        return tables

    def measures(self, table: str) -> dict[str, Measure]:
        """Measures of the tasks of a table's variants, the one that decides first."""
        tasks = [self.all_variants[name].config.task for name in self.tables()[table]]
        return {name: measure for task in tasks for name, measure in task.measures().items()}


class Trial(NamedTuple):
    """A variant with one of its seeds: one run."""

    variant: str
    seed: int
    settings: Config
    scoring: tuple[tuple[str, Any], ...] = ()
    """Options of the task's scoring, the defaults included."""

    @property
    def name(self) -> str:
        """Names its run directory and its entry in results.json."""
        return f"{self.variant}-{self.seed}"

    @property
    def digest(self) -> str:
        """Digest of its settings."""
        return digest(self.settings)

    @property
    def identity(self) -> str:
        """Identity of its settings and scoring; see `identity`."""
        return identity(self.digest, dict(self.scoring))

    @property
    def key(self) -> str:
        """NAME@DIGEST: another process runs it only if the study has not changed since."""
        return f"{self.name}@{self.digest}"


def digest(given: Config) -> str:
    """12 hexadecimal digits that identify settings.

    They depend only on values that differ from the defaults, so that a version with additional settings computes the
    same digest.
    """
    default = Config()
    default = dataclasses.replace(default, task=type(given.task)(), model=type(given.model)())
    return checksums.short_digest(_differing(_plain(given), _plain(default)), sort_keys=True)


def identity(digest: str, scoring: Mapping[str, Any]) -> str:
    """DIGEST-SCORING: results with the same value are results of the same trial."""
    return "-".join([digest, *(str(value) for _, value in sorted(scoring.items()))])


def _plain(given: Config) -> dict[str, Any]:
    """The JSON form. 1.0 becomes 1, because the settings are equal."""
    tree: dict[str, Any] = json.loads(
        json.dumps(config.to_json(given)),
        parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text),
    )
    return tree


def _differing(tree: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    differing: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            differing[name] = _differing(value, default[name])
        elif value != default[name] or name == "kind":
            differing[name] = value
    return differing


def folder_of(path: Path) -> Path:
    """The folder of a study that is given by its folder or its file."""
    return path if path.is_dir() else path.parent


def load(path: Path) -> Study:
    """Execute a study.py and return the `study` that it defines.

    Args:
        path: the study's folder, or its study.py.

    Raises UsageError if there is none, or it is not valid.
    """
    file = path / "study.py" if path.is_dir() else path
    if not file.is_file():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f"did you mean {path.with_name(near[0])}? Otherwise " if near and near[0] != path.name else ""
        raise UsageError(f"no study at {path}: {hint}give a folder with a study.py that defines `study`")
    if file.name != "study.py":
        raise UsageError(
            f"{path} is not named study.py: each study has its own folder, which receives its results, tables and "
            f"figures; move it to {path.with_suffix('')}/study.py"
        )
    try:
        study = getattr(plugins.execute(file), "study", None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, and classes of the file itself
        raise UsageError(f"study {file} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(study, Study):
        raise UsageError(f"study {file} must define `study`, a transformer.study.variants.Study")
    _check_study(study, file)
    return study


def _check_study(study: Study, file: Path) -> None:
    """Types, names and references. Raises UsageError."""
    for name in ("plotted", "baselines", "reuse_from"):
        if not isinstance(given := getattr(study, name), tuple) or not all(isinstance(item, str) for item in given):
            raise UsageError(f'study {file} has {name}={given!r}: give a tuple of names, such as {name}=("one",)')
    if not isinstance(study.pairs, tuple) or not all(isinstance(pair, Pair) for pair in study.pairs):
        raise UsageError(f'study {file} has pairs={study.pairs!r}: give a tuple, such as pairs=(Pair("a", "b"),)')
    for group in (study.variants, study.full):
        if not isinstance(group, Mapping):
            raise UsageError(f"study {file}: `variants` and `full` must be dicts from names to Variants")
        for name, variant in group.items():
            _check_variant(name, variant, file)
    every = study.all_variants
    paired = [name for pair in study.pairs for name in (pair.system, pair.baseline)]
    unknown = [name for name in (*study.plotted, *study.baselines, *paired) if name not in every]
    if unknown:
        near = difflib.get_close_matches(unknown[0], every, n=1, cutoff=0.0)
        raise UsageError(f"study {file} has no variant {unknown[0]}" + f"; did you mean {near[0]}?" * bool(near))
    if not every:
        raise UsageError(f"study {file} has no variants")
    tables = [every[name].table for name in study.baselines]
    if len(set(tables)) < len(tables):
        raise UsageError(f"study {file}: a table has at most one baseline, but `baselines` has {len(tables)} in all")
    for pair in study.pairs:
        table = every[pair.system].table
        if pair.system == pair.baseline or table != every[pair.baseline].table:
            raise UsageError(f"study {file}: the pair {pair} must be of two variants of one table")
        _check_metric(pair.metric, study.measures(table), f"study {file}: the pair {pair}")
    for table in study.tables():
        _check_metric(study.metric, study.measures(table), f"study {file}")
    missing = [other for other in study.reuse_from if not (file.parent / other).is_dir()]
    if missing:
        raise UsageError(
            f"study {file}: `reuse_from` has {missing[0]}, but there is no folder {file.parent / missing[0]}: give the "
            "folder of another study relative to this one's, or leave it out"
        )
    for name in study.full.keys() & study.variants.keys():
        more, fewer = study.full[name], study.variants[name]
        if dataclasses.replace(more, seeds=fewer.seeds) != fewer or not set(fewer.seeds) <= set(more.seeds):
            raise UsageError(
                f"study {file}: in `full` the variant {name} may have more seeds than in `variants`, but otherwise "
                "must be the same"
            )


def _check_metric(metric: str, measures: Mapping[str, Measure], where: str) -> None:
    if metric and metric not in measures:
        near = difflib.get_close_matches(str(metric), measures, n=1, cutoff=0.0)[0]
        raise UsageError(f"{where} has metric={metric!r}: did you mean {near}? Choose from {', '.join(measures)}")


def _check_variant(name: str, variant: Variant, file: Path) -> None:
    if not isinstance(variant, Variant) or not isinstance(variant.config, Config):
        raise UsageError(f"study {file}: the variant {name} must be a transformer.study.variants.Variant of a Config")
    seeds = variant.seeds
    if not isinstance(seeds, tuple) or not seeds or not all(type(seed) is int for seed in seeds):
        raise UsageError(f"study {file}: the variant {name} needs a tuple of seeds, such as seeds=(1, 2)")
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"study {file}: the variant {name} has a seed twice in seeds={seeds}")
    try:
        variant.config.task.scoring(**variant.scoring)
    except (UsageError, TypeError) as error:
        raise UsageError(f"study {file}: the variant {name}: {error}") from None
    for what, given in (("variant", name), ("table", variant.table)):
        if not isinstance(given, str) or not FILE_NAME.fullmatch(given):
            raise UsageError(
                f"study {file}: files are named after the {what} {given!r}: use letters, digits, _ . and -"
            )


def check(every: Iterable[Trial]) -> None:
    """Refuse settings that cannot work before the first trial runs. Raises UsageError that names the variant."""
    for trial in every:
        try:
            settings.everything(trial.settings)
        except UsageError as error:
            raise UsageError(f"the variant {trial.variant}: {error}") from None
        data = trial.settings.data
        if not (data.grammar.test if data.source == "grammar" else data.test):
            raise UsageError(f"the variant {trial.variant} has no test set: give its recipe data.test")


def trials(study: Study, only: Iterable[str] = (), *, full: bool = False, smoke: bool = False) -> list[Trial]:
    """Trials of a study, variant by variant.

    Args:
        study: its variants and seeds.
        only: names of variants, of `full` too; none selects all.
        full: all variants and seeds, those of `full` included.
        smoke: shrunk to seconds, one seed per variant.

    Raises UsageError for an unknown variant.
    """
    wanted, every = list(only), study.all_variants
    for name in wanted:
        if name not in every:
            near = difflib.get_close_matches(name, every, n=1, cutoff=0.0)[0]
            raise UsageError(f"--only {name}: no such variant; did you mean {near}? Choose from {', '.join(every)}")
    grid = every if full else {**{name: every[name] for name in wanted}, **study.variants}
    return [
        Trial(
            name,
            seed,
            recipes.smoke(seeded) if smoke else seeded,
            tuple(sorted(variant.config.task.scoring(**variant.scoring).items())),
        )
        for name, variant in every.items()
        for seed in variant.seeds
        if (not wanted or name in wanted) and name in grid and seed in grid[name].seeds[: 1 if smoke else None]
        for seeded in (dataclasses.replace(variant.config, seed=seed),)
    ]


def find_trial(study: Study, key: str, *, smoke: bool = False) -> Trial:
    """A trial by its name, VARIANT-SEED, or by its key, VARIANT-SEED@DIGEST.

    Raises UsageError if there is none, or its settings no longer have the key's digest.
    """
    name, _, wanted = key.partition("@")
    every = {trial.name: trial for trial in trials(study, full=True, smoke=smoke)}
    if name not in every:
        near = difflib.get_close_matches(name, every, n=1, cutoff=0.0)[0]
        raise UsageError(f"--trial {key}: no such trial; did you mean {near}? Choose from {', '.join(every)}")
    if wanted not in ("", every[name].digest):
        raise UsageError(f"--trial {key}: the settings of {name} have changed since this was started: start it again")
    return every[name]
