"""What `transformer align` is asked for: checked before anything is computed, and the pairs and gold links read."""

from dataclasses import dataclass, field
from pathlib import Path

from transformer.alignment import formats
from transformer.alignment.links import Rule
from transformer.alignment.measure import Gold, all_sure
from transformer.config import Config
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpus
from transformer.data.corpora.files import read_parallel
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.training.run_directory import Run


@dataclass(frozen=True)
class Task:
    """What to align, by which rule, and what to write; `commands.seeing.Align` says what each field means."""

    run: Path
    split: str = "test"
    files: tuple[Path, Path] | None = None
    own: bool = False
    rule: Rule = field(default_factory=Rule)
    best: bool = False
    gold: Path | None = None
    first_word: int | None = None
    reverse: Path | None = None
    symmetrize: str | None = None
    reverse_checkpoint: str = "auto"
    output: Path | None = None
    formats: tuple[str, ...] = ("pharaoh", "page")
    show: int = 8
    checkpoint: str = "auto"


def check(task: Task) -> None:
    """What can be seen before anything is read."""
    threshold = task.rule.threshold
    if threshold is not None and not 0 < threshold <= 1:
        raise UsageError(f"--threshold={threshold}: a weight is above 0 and at most 1")
    if task.rule.shift < 0:
        raise UsageError(f"--shift={task.rule.shift}: later by 0 or more tokens")
    if not task.formats:
        raise UsageError("--formats names nothing to write")
    if task.show < 1 and {"page", "png"} & set(task.formats):
        raise UsageError(f"--show={task.show}: a page and pictures need at least one pair")
    if task.best and (task.rule.layer is not None or task.rule.head is not None):
        raise UsageError("--best chooses layer and head: leave out --layer and --head")
    if task.gold is not None and task.first_word is None:
        raise UsageError("--gold needs --first-word 0 or 1: the number that its first word has; no file says it itself")
    if task.first_word is not None and task.gold is None:
        raise UsageError("--first-word says how --gold counts, which is not given")
    if task.symmetrize is not None and task.reverse is None:
        raise UsageError("--symmetrize joins two directions: give the other one with --reverse")
    if task.own and (task.gold is not None or task.reverse is not None):
        raise UsageError("--translate aligns the model's own words: --gold and --reverse speak of given translations")


def check_model(task: Task, run: Path, settings: Config) -> None:
    """Whether a run has the attention that is asked for."""
    attention = settings.model.attention
    if attention.score == "none":
        raise UsageError(f"{run} has no attention (--model.attention.score=none): there is nothing to align by")
    layers, heads = settings.model.cross
    for flag, value, count in (("layer", task.rule.layer, layers), ("head", task.rule.head, heads)):
        if value is not None and not 0 <= value < count:
            raise UsageError(f"--{flag}={value}: the attention of {run} to the source has {flag}s 0 to {count - 1}")


def check_folder(folder: Path, *, given: bool) -> None:
    """Nothing that is there is written over."""
    flag = f"--output={folder}" if given else str(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{flag} is no folder: give another one")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{flag} is not empty: give another --output, or remove it")


def pairs(task: Task, settings: Config) -> Corpus:
    """What is to be aligned."""
    if task.files is None:
        folder, languages = Run(task.run).data, settings.data.languages
        if task.split != "test" and not corpus.exists(folder, task.split, languages):
            raise UsageError(f"--split={task.split}: {task.run} has no such set")
        return corpus.read_or_validation(folder, task.split, languages)
    source = task.files[0]
    sources, *rest = read_parallel(*([source] if task.own else task.files))
    return Corpus(sources, rest[0] if rest else [""] * len(sources), None, source.stem)


def read_gold(task: Task, part: Corpus, tokenizers: Tokenizers) -> list[Gold] | None:
    """Gold links, if there are any; every one of them within its pair."""
    if task.gold is None:
        return None if part.alignments is None or task.own else all_sure(part.alignments)
    gold = formats.read_gold(task.gold, task.first_word or 0)
    if len(gold) != len(part.sources):
        raise TransformerError(f"{task.gold} has {len(gold)} lines for {len(part.sources)} pairs")
    for number, (pair, links) in enumerate(zip(zip(part.sources, part.targets, strict=True), gold, strict=True), 1):
        counts = [len(side.split_words(text)) for side, text in zip(tokenizers, pair, strict=True)]
        for link in sorted(links.possible):
            if link[0] >= counts[0] or link[1] >= counts[1]:
                first = task.first_word or 0
                raise TransformerError(
                    f"{task.gold}, line {number}: {link[0] + first}-{link[1] + first} is outside a pair of {counts[0]} "
                    f"and {counts[1]} words, the first being word {first}: is --first-word {1 - first} meant?"
                )
    return gold
