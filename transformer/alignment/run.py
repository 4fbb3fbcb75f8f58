"""What `transformer align` does: from a run and sentence pairs to links, matrices, pictures and error rates."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformer import api, rundir
from transformer.alignment import draw, formats
from transformer.alignment.choose import all_links, name, rank
from transformer.alignment.formats import WRITERS
from transformer.alignment.measure import Gold, Measured, all_sure, measure
from transformer.alignment.page import write_page
from transformer.alignment.record import Attended
from transformer.alignment.symmetrize import SYMMETRIZATIONS
from transformer.alignment.words import Links, Rule
from transformer.api import Translation
from transformer.config import Config
from transformer.data import corpus
from transformer.data.corpus import Corpus
from transformer.errors import TransformerError, UsageError
from transformer.rundir import Run

log = logging.getLogger(__name__)

CHUNK = 500
"""Pairs held at a time."""
RANKED = 5
"""Candidates that are shown when the best is chosen."""


@dataclass(frozen=True)
class Task:
    """What to align, by which rule, and what to write; `cli.Align` says what each field means."""

    run: Path
    split: str = "test"
    files: tuple[Path, Path] | None = None
    own: bool = False
    rule: Rule = field(default_factory=Rule)
    best: bool = False
    gold: Path | None = None
    first_word: int | None = None
    reverse: Path | None = None
    symmetrize: str = "grow-diag-final-and"
    output: Path | None = None
    formats: tuple[str, ...] = ("pharaoh", "page")
    show: int = 8
    checkpoint: str = "auto"


def align(task: Task) -> None:
    """Align, write what was asked for into a folder, and print how well it agrees with gold links, if there are any."""
    model = api.load(task.run, task.checkpoint)
    _check(task, model.settings)
    part = _pairs(task, model.settings)
    gold = _gold(task, part)
    folder = task.output or Run(task.run).report / f"align-{part.name}"
    if task.output is not None and task.output.exists() and any(task.output.iterdir()):
        raise UsageError(f"--output={task.output} is not empty: give another folder")
    rule = _best(task, model) if task.best else task.rule
    about = _about(task, model, part, rule)
    folder.mkdir(parents=True, exist_ok=True)

    shown: list[Attended | None] = []
    links: list[Links] = []
    with ExitStack() as stack:
        writers = {form: WRITERS[form] for form in task.formats if form in WRITERS}
        adders = [stack.enter_context(writer(folder / f"attention.{form}", about)) for form, writer in writers.items()]
        for chunk in _attended(model, part, own=task.own):
            links += all_links(chunk, rule)
            shown += chunk[: max(0, task.show - len(shown))]
            for add in adders:
                for one in chunk:
                    if one is not None:
                        add(one)
    if task.reverse is not None:
        backward = _backward(task, part)
        combine = SYMMETRIZATIONS[task.symmetrize]
        links = [combine(one, other) for one, other in zip(links, backward, strict=True)]
    if "pharaoh" in task.formats:
        lines = "".join(formats.pharaoh(one) + "\n" for one in links)
        (folder / "links.pharaoh").write_text(lines, encoding="utf-8")
    examples = [one for one in shown if one is not None]
    if "page" in task.formats and examples:
        write_page(folder / "attention.html", about, examples)
    if "png" in task.formats:
        _draw(folder, shown, rule, gold)
    print(f"{len(links)} pairs, {name(rule)}" + (f", {task.symmetrize} with {task.reverse}" if task.reverse else ""))
    if gold is not None:
        measured = measure(links, gold)
        rundir.write_json(folder / "aer.json", {"about": about} | measured._asdict())
        print(show(measured))
    print("\n".join(f"  {path}" for path in sorted(folder.iterdir())))


def show(measured: Measured) -> str:
    """As a line for the terminal."""
    low, high = measured.interval or (measured.aer, measured.aer)
    return (
        f"AER {measured.aer:.3f} [{low:.3f}, {high:.3f}]   precision {measured.precision:.3f}   "
        f"recall {measured.recall:.3f}   ({measured.sentences} pairs)"
    )


def _check(task: Task, settings: Config) -> None:
    attention = settings.model.attention
    if attention.score == "none":
        raise UsageError(f"{task.run} has no attention (--model.attention.score=none): there is nothing to align by")
    rnn = not hasattr(settings.model, "feedforward")
    layers, heads = (1, 1) if rnn else (getattr(settings.model, "decoder_layers", 1), attention.heads)
    for flag, value, count in (("layer", task.rule.layer, layers), ("head", task.rule.head, heads)):
        if value is not None and not 0 <= value < count:
            raise UsageError(f"--{flag}={value}: the attention to the source has {flag}s 0 to {count - 1}")
    if task.best and (task.rule.layer is not None or task.rule.head is not None):
        raise UsageError("--best chooses layer and head: leave out --layer and --head")
    if task.gold is not None and task.first_word is None:
        raise UsageError("--gold needs --first-word 0 or 1: the number that its first word has; no file says it itself")
    if task.own and (task.gold is not None or task.reverse is not None):
        raise UsageError("--translate aligns the model's own words: --gold and --reverse speak of given translations")


def _pairs(task: Task, settings: Config) -> Corpus:
    if task.files is None:
        return corpus.read(Run(task.run).data, task.split, settings.data.languages)
    source, target = task.files
    sources = corpus.read_lines(source)
    targets = [""] * len(sources) if task.own else corpus.read_lines(target)
    if len(sources) != len(targets):
        raise TransformerError(f"{source} has {len(sources)} lines but {target} has {len(targets)}")
    return Corpus(sources, targets, None, source.stem)


def _gold(task: Task, part: Corpus) -> list[Gold] | None:
    if task.gold is not None:
        gold = formats.read_gold(task.gold, task.first_word or 0)
        if len(gold) != len(part.sources):
            raise TransformerError(f"{task.gold} has {len(gold)} lines for {len(part.sources)} pairs")
        return gold
    if part.alignments is None or task.own:
        return None
    return all_sure(part.alignments)


def _best(task: Task, model: Translation) -> Rule:
    dev = corpus.read(Run(task.run).data, "validation", model.settings.data.languages)
    if dev.alignments is None:
        raise UsageError(
            f"--best needs gold links of the validation set, and {task.run} has none: give --layer and --head"
        )
    gold = all_sure(dev.alignments)
    ranked = rank(model.attend(dev.sources, dev.targets), gold, task.rule)
    print(f"on {len(gold)} validation pairs:")
    for choice in ranked[:RANKED]:
        print(f"  AER {choice.measured.aer:.3f}   {name(choice.rule)}")
    return ranked[0].rule if ranked else task.rule


def _attended(model: Translation, part: Corpus, *, own: bool) -> Iterator[list[Attended | None]]:
    for begin in range(0, len(part.sources), CHUNK):
        targets = None if own else part.targets[begin : begin + CHUNK]
        yield model.attend(part.sources[begin : begin + CHUNK], targets, begin + 1)


def _backward(task: Task, part: Corpus) -> list[Links]:
    """Links of the other direction's run, turned round."""
    assert task.reverse is not None
    model = api.load(task.reverse, task.checkpoint)
    _check(dataclasses.replace(task, run=task.reverse), model.settings)
    rule = _best(dataclasses.replace(task, run=task.reverse), model) if task.best else task.rule
    turned = Corpus(part.targets, part.sources, None, part.name)
    found = [links for chunk in _attended(model, turned, own=False) for links in all_links(chunk, rule)]
    return [frozenset((t, s) for s, t in links) for links in found]


def _about(task: Task, model: Translation, part: Corpus, rule: Rule) -> dict[str, Any]:
    return {
        "model": type(model.settings.model).__name__.lower(),
        "attention": dataclasses.asdict(model.settings.model.attention),
        "run": task.run.name,
        "checkpoint": model.checkpoint,
        "pairs": part.name,
        "target": "the model's own" if task.own else "given",
        "chosen": name(rule),
        "rule": rule.describe(),
    }


def _draw(folder: Path, shown: Sequence[Attended | None], rule: Rule, gold: Sequence[Gold] | None) -> None:
    for number, one in enumerate(shown):
        if one is not None:
            right = gold[number].possible if gold is not None else None
            draw.heatmap(one, rule, folder / f"heatmap-{number + 1}.png", right)
            for kind in ("cross", "encoder", "decoder"):
                if getattr(one, kind) is not None and one.matrix(kind).shape[:2] != (1, 1):
                    draw.grid(one, folder / f"{kind}-{number + 1}.png", kind)
