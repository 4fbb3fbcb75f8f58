"""Options that several commands share. Like every module of a command's options, it imports no JAX."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

import tyro

from transformer import recipes
from transformer.config import Config
from transformer.errors import UsageError
from transformer.training import run_directory as rundir

if TYPE_CHECKING:
    from transformer.api import TrainedModel

T = TypeVar("T")

Recipe: TypeAlias = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="RECIPE", help=f"One of {', '.join(recipes.names())}; or a .py file; or the directory of a run."
    ),
]
Settings: TypeAlias = Annotated[tyro.conf.AvoidSubcommands[tyro.conf.FlagConversionOff[Config]], tyro.conf.arg(name="")]
"""Every setting of a recipe as an option; the recipe's values are the defaults."""
RunFolder: TypeAlias = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN", help="The directory of a trained run.")
]
StudyFolder: TypeAlias = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY", help="A folder with a study.py that defines `study`.")
]
Checkpoint: TypeAlias = Annotated[
    str,
    tyro.conf.arg(help="best, last, average, or a step; auto: the average where there is one, otherwise the best."),
]
OfTheRun: TypeAlias = Annotated[T | None, tyro.conf.arg(help_behavior_hint="(default: the run's own setting)")]
"""An option that is as the run's settings have it unless it is given."""


class Command:
    """Options of a command, and what it does with them: a frozen dataclass for each."""

    def check(self) -> None:
        """Refuse what can be seen to be wrong before anything is computed; imports no JAX. Raises UsageError."""

    def execute(self) -> None:
        """Do it. Options that `check` refuses are not expected."""
        raise NotImplementedError

    def __call__(self) -> None:
        self.check()
        self.execute()


@dataclass(frozen=True)
class Model:
    """Which checkpoint, and which other runs together with it."""

    checkpoint: Checkpoint = "auto"
    ensemble: tuple[str, ...] = ()
    """Further runs with the same tokenizer, of any family: all predict as one model."""
    ensemble_average: Literal["probability", "log-probability"] = "probability"
    """--ensemble: what is averaged."""

    def load(self, run: str) -> "TrainedModel":
        """The trained model. Raises UsageError and TransformerError as `api.load` and `api.ensemble` do."""
        from transformer import api

        members = [api.load(folder, self.checkpoint) for folder in (run, *self.ensemble)]
        return members[0] if len(members) == 1 else api.ensemble(members, self.ensemble_average)

    def describe(self, run: str) -> dict[str, Any]:
        """What identifies the model in files."""
        average = self.ensemble_average
        return {"run": run, "checkpoint": self.checkpoint, "ensemble": self.ensemble, "average": average}


@dataclass(frozen=True)
class Search:
    """The search for translations. What is not given is as in the run's own settings (its --decoding options)."""

    beam: OfTheRun[int] = None
    """Hypotheses kept per sentence; 1 is greedy search."""
    normalize: OfTheRun[Literal["gnmt", "average", "none"]] = None
    """Length penalty: ((5 + length) / 6) ^ alpha, length ^ alpha, or none."""
    length_penalty: OfTheRun[float] = None
    """Its alpha."""
    coverage_penalty: OfTheRun[float] = None
    """The beta of the penalty for source tokens that got no attention."""
    min_length: OfTheRun[int] = None
    """Fewest tokens of a translation."""
    max_ratio: OfTheRun[float] = None
    """Most tokens, as a multiple of the source's length ..."""
    max_extra: OfTheRun[int] = None
    """... plus this many tokens ..."""
    max_length: OfTheRun[int] = None
    """... and at most this many."""
    samples: OfTheRun[int] = None
    """Draw this many samples per sentence instead of searching."""
    temperature: OfTheRun[float] = None
    """--samples: below 1 sharpens the distribution, above 1 flattens it."""
    top_k: OfTheRun[int] = None
    """--samples: only the k most probable tokens."""
    top_p: OfTheRun[float] = None
    """--samples: only the most probable tokens that together have this probability."""
    min_p: OfTheRun[float] = None
    """--samples: only tokens with at least this fraction of the most probable token's probability."""
    seed: OfTheRun[int] = None
    """Random seed for sampling."""
    n_best: OfTheRun[int] = None
    """Translations per sentence (translate: with --format json)."""
    mbr: OfTheRun[Literal["none", "chrf", "bleu"]] = None
    """Choose among samples or the n best by expected chrF or BLEU against the others (minimum Bayes risk)."""
    batch: OfTheRun[int] = None
    """Sentences searched at once."""
    workers: OfTheRun[int] = None
    """Threads that search in parallel."""
    replace_unknown: bool = False
    """Word tokenizers: replace each unknown word by the source word with the most attention."""
    lexicon: OfTheRun[str] = None
    """--replace-unknown: a file of translations to use instead where it has the word: a word, a tab, its translation
    per line."""

    def overrides(self) -> dict[str, Any]:
        """The settings of the search that were given."""
        given = dataclasses.asdict(self)
        return {name: value for name, value in given.items() if value is not None and value is not False}

    def check(self, run: str, *, alone: bool = True) -> None:
        """Refuse values that are out of range or do not go together, without loading the model.

        Args:
            run: whose settings hold for the rest.
            alone: whether the run translates by itself; the attention of an ensemble is another one.

        Raises UsageError.
        """
        from transformer import check

        settings = rundir.read_config(Path(run))
        if alone:
            decoding = dataclasses.replace(settings.decoding, **self.overrides())
            check.decoding(dataclasses.replace(settings, decoding=decoding), flags="--")


def refuse_existing(flag: str, path: str) -> None:
    """Raises UsageError where a file that is to be written exists; - is standard output."""
    if path not in ("", "-") and Path(path).exists():
        raise UsageError(f"{flag}={path} exists: give another name, or remove it")
