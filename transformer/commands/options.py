"""Options that several commands share. Like every module of a command's options, it imports no JAX."""

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

import tyro

from transformer import recipes
from transformer.config import Config, read_config
from transformer.errors import UsageError
from transformer.tasks.translation.config import Translation

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
    tyro.conf.arg(
        help="Which checkpoint: best, last, average, or a step; auto: the average if there is one, otherwise the best."
    ),
]
OfTheRun: TypeAlias = Annotated[T | None, tyro.conf.arg(help_behavior_hint="(default: the run's own setting)")]
"""An option whose default is the run's own setting."""

STANDARD_OUTPUT = "/dev/stdout"
DESCRIPTORS = (STANDARD_OUTPUT, "/dev/stderr", "/dev/fd/", "/proc/self/fd/")
"""Names of open files, which may be regular ones."""


SEARCH_MEMORY = "lower --batch, --beam (or --samples) or --workers"
"""How to reduce the memory of a search."""


class Command:
    """Options of a command, and what it does with them: a frozen dataclass for each."""

    memory: ClassVar[str] = ""
    """What to do if memory is full, such as "lower --batch"."""

    def check(self) -> None:
        """Refuse invalid options before anything is computed; imports no JAX. Raises UsageError."""

    def execute(self) -> None:
        """Run the command; `check` has accepted its options."""
        raise NotImplementedError

    def __call__(self) -> None:
        self.check()
        self.execute()


@dataclass(frozen=True)
class Model:
    """Which checkpoint, and which other runs to combine with it."""

    checkpoint: Checkpoint = "auto"
    ensemble: tuple[str, ...] = ()
    """Further runs with the same tokenizer, of any family: all predict as one model."""
    ensemble_average: Literal["probability", "log-probability"] = "probability"
    """How the members of --ensemble are averaged."""

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
    """The search for translations. The defaults are the run's own settings (its --decoding options)."""

    beam: OfTheRun[int] = None
    """Hypotheses kept per sentence; 1 is greedy search."""
    normalize: OfTheRun[Literal["gnmt", "average", "none"]] = None
    """Length normalisation: scores are divided by ((5 + length) / 6) ^ alpha, length ^ alpha, or 1."""
    length_penalty: OfTheRun[float] = None
    """Exponent of the length normalisation (alpha)."""
    coverage_penalty: OfTheRun[float] = None
    """Weight of the penalty for source tokens without attention; 0 disables it."""
    min_length: OfTheRun[int] = None
    """Minimum length of a translation in tokens, without the end-of-sentence token."""
    max_ratio: OfTheRun[float] = None
    """Maximum length as a multiple of the source length; --max-extra is added to it."""
    max_extra: OfTheRun[int] = None
    """Tokens by which a translation may exceed --max-ratio times the source length."""
    max_length: OfTheRun[int] = None
    """Absolute maximum length in tokens, including the end-of-sentence token; 0: the model's limit."""
    samples: OfTheRun[int] = None
    """Samples drawn per sentence instead of a beam search; 0 disables sampling."""
    temperature: OfTheRun[float] = None
    """Sampling temperature: below 1 the distribution is sharper, above 1 flatter."""
    top_k: OfTheRun[int] = None
    """Sampling is restricted to the k most likely tokens; 0 disables it."""
    top_p: OfTheRun[float] = None
    """Sampling is restricted to the most likely tokens with this total probability; 1 disables it."""
    min_p: OfTheRun[float] = None
    """Sampling is restricted to tokens with at least this fraction of the largest probability; 0 disables it."""
    seed: OfTheRun[int] = None
    """Random seed for sampling. Samples depend only on the seed and the line number."""
    n_best: OfTheRun[int] = None
    """Translations returned per sentence, best first (translate: with --format json)."""
    mbr: OfTheRun[Literal["none", "chrf", "bleu"]] = None
    """Minimum Bayes risk: rank the samples or the n best by their mean chrF or BLEU with all of them."""
    batch: OfTheRun[int] = None
    """Sentences searched at once."""
    workers: OfTheRun[int] = None
    """Threads that search in parallel; 0: two on a CPU with more than one core, otherwise one."""
    replace_unknown: bool = False
    """Replace each unknown word by the source word with the most attention; for word tokenizers."""
    lexicon: OfTheRun[str] = None
    """File of source words and their translations for --replace-unknown: one pair on each line, separated by a tab."""

    def overrides(self) -> dict[str, Any]:
        """The settings of the search that were given."""
        given = dataclasses.asdict(self)
        return {name: value for name, value in given.items() if value is not None and value is not False}

    def check(self, run: str, *, alone: bool = True) -> None:
        """Refuse values that are out of range or incompatible, without loading the model.

        Args:
            run: whose settings are the defaults.
            alone: whether the run translates without an ensemble, which has a different attention.

        Raises UsageError.
        """
        from transformer import check

        settings = read_translation(run)
        if self.lexicon and not Path(self.lexicon).is_file():
            raise UsageError(f"--lexicon={self.lexicon}: there is no such file")
        if alone:
            decoding = dataclasses.replace(settings.decoding, **self.overrides())
            check.decoding(dataclasses.replace(settings, decoding=decoding), flags="--")


def read_translation(run: str) -> Config:
    """The settings of a run. Raises UsageError for a run of a task other than translation, and like `read_config`."""
    settings = read_config(Path(run))
    if not isinstance(settings.task, Translation):
        raise UsageError(f"{run} has a task other than translation: use `transformer predict`")
    return settings


def program() -> str:
    """The beginning of a command line that calls this program as it was called: `transformer`, its path, or
    `python -m transformer`."""
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("transformer", "__main__.py"):
        return f"{shlex.quote(sys.executable)} -m transformer"
    found = shutil.which("transformer")
    if called.name != "transformer" or (found is not None and Path(found).resolve() == called.resolve()):
        return "transformer"
    return shlex.quote(str(called))


def refuse_existing(flag: str, path: str) -> None:
    """Raises UsageError if an output file exists or cannot be written; streams may exist."""
    if not path or is_stream(path):
        return
    if Path(path).exists():
        raise UsageError(f"{flag}={path} exists: give another name, or remove it")
    folder = Path(path).parent
    if not folder.is_dir():
        raise UsageError(f"{flag}={path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{flag}={path}: {folder} cannot be written to")


def is_stream(path: str) -> bool:
    """Whether output to a path goes to standard output (-), a device, a pipe or an open file descriptor: it is written
    as it arrives, and nothing is overwritten."""
    return path == "-" or path.startswith(DESCRIPTORS) or _is_special(Path(path))


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def open_stream(path: str) -> Iterator[IO[str]]:
    """A stream to write text to; standard output stays open."""
    if path in ("-", STANDARD_OUTPUT):
        yield sys.stdout
        return
    with Path(path).open("w", encoding="utf-8") as stream:
        yield stream
