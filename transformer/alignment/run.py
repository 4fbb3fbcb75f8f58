"""What `transformer align` does: from a run and sentence pairs to links, matrices, pictures and error rates."""

import dataclasses
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from transformer import api
from transformer.alignment import draw, formats
from transformer.alignment.formats import WRITERS
from transformer.alignment.links import Links, Rule
from transformer.alignment.measure import Gold, Measured, all_sure, measure
from transformer.alignment.page import write_page
from transformer.alignment.record import Attended
from transformer.alignment.select import THRESHOLDS, all_links, name, rank
from transformer.alignment.symmetrize import SYMMETRIZATIONS, transpose
from transformer.alignment.task import Task, check, check_folder, check_model, pairs, read_gold
from transformer.api import TrainedModel
from transformer.config import Config
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpus
from transformer.errors import UsageError
from transformer.storage.files import write_json
from transformer.training.run_directory import Run

log = logging.getLogger(__name__)

CHUNK = 500
"""Pairs held at a time."""
SYMMETRIZE = "grow-diag-final-and"
"""How both directions are joined where nothing else is said."""
RANKED = 5
"""Candidates that are shown when the best is chosen."""


class Aligner(NamedTuple):
    """A trained run and the rule by which it aligns."""

    model: TrainedModel
    rule: Rule


def align(task: Task) -> None:
    """Align, write what was asked for into a folder, and print how well it agrees with gold links, if there are any.

    The folder appears under its name when all of it is there.
    """
    check(task)
    model = api.load(task.run, task.checkpoint)
    check_model(task, task.run, model.settings)
    part = pairs(task, model.settings)
    gold = read_gold(task, part, model.tokenizers)
    folder = task.output or Run(task.run).report / f"align-{part.name}"
    check_folder(folder, given=task.output is not None)
    reverse = _reverse(task, model.settings)
    forward = Aligner(model, _best(task, task.run, model) if task.best else task.rule)
    about = _about(task, forward, reverse, part)

    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    links, shown = _align(task, forward, part, beside, about)
    if reverse is not None:
        combine = SYMMETRIZATIONS[about["symmetrized"]["how"]]
        links = [combine(one, other) for one, other in zip(links, _backward(reverse, part), strict=True)]
    _write(task, forward.rule, links, shown, gold, beside, about)
    print(f"{len(links)} pairs, {name(forward.rule)}" + _with_reverse(about))
    if gold is not None:
        measured = measure(links, gold)
        write_json(beside / "aer.json", {"about": about} | measured._asdict())
        print(show(measured))
    beside.rename(folder)
    print("\n".join(f"  {path}" for path in sorted(folder.iterdir())))


def _align(
    task: Task, by: Aligner, part: Corpus, folder: Path, about: dict[str, Any]
) -> tuple[list[Links], list[Attended | None]]:
    """Links of all pairs, and the first so many with all their weights; matrices go into their files."""
    shown: list[Attended | None] = []
    links: list[Links] = []
    with ExitStack() as stack:
        writers = {form: WRITERS[form] for form in task.formats if form in WRITERS}
        adders = [stack.enter_context(writer(folder / f"attention.{form}", about)) for form, writer in writers.items()]
        for chunk in _attended(by.model, part, own=task.own):
            links += all_links(chunk, by.rule)
            shown += chunk[: max(0, task.show - len(shown))]
            for add in adders:
                for one in chunk:
                    if one is not None:
                        add(one)
    return links, shown


def _write(
    task: Task,
    rule: Rule,
    links: Sequence[Links],
    shown: Sequence[Attended | None],
    gold: Sequence[Gold] | None,
    folder: Path,
    about: dict[str, Any],
) -> None:
    """Links, pictures, the page, and what all of it is made of."""
    write_json(folder / "about.json", about)
    if "pharaoh" in task.formats:
        lines = "".join(formats.pharaoh(one) + "\n" for one in links)
        (folder / "links.pharaoh").write_text(lines, encoding="utf-8")
    examples = [one for one in shown if one is not None]
    looked_at = [form for form in ("page", "png") if form in task.formats]
    if looked_at and not examples:
        log.warning("no %s: the first %d pairs are empty or too long", " and no ".join(looked_at), len(shown))
        return
    if "page" in task.formats:
        write_page(folder / "attention.html", about, examples)
    if "png" in task.formats:
        _draw(folder, shown, rule, gold)


def _with_reverse(about: dict[str, Any]) -> str:
    joined = about.get("symmetrized")
    return f", {joined['how']} with {joined['run']} ({joined['chosen']})" if joined else ""


def show(measured: Measured) -> str:
    """As a line for the terminal."""
    interval = ""
    if measured.interval is not None:
        interval = f" [{measured.interval[0]:.3f}, {measured.interval[1]:.3f}]"
    return (
        f"AER {measured.aer:.3f}{interval}   precision {measured.precision:.3f}   "
        f"recall {measured.recall:.3f}   ({measured.sentences} pairs)"
    )


def _best(task: Task, run: Path, model: TrainedModel) -> Rule:
    if not (Run(run).data / "validation.align").is_file():
        raise UsageError(f"--best needs gold links of the validation set, and {run} has none: give --layer and --head")
    dev = corpus.read(Run(run).data, "validation", model.settings.data.languages)
    gold = all_sure(dev.alignments or [])
    given = task.rule.threshold
    thresholds = THRESHOLDS if given is None else (given,)
    ranked = rank(model.attend(dev.sources, dev.targets), gold, task.rule, thresholds)
    print(f"{run}, on {len(gold)} validation pairs:")
    for choice in ranked[:RANKED]:
        print(f"  AER {choice.measured.aer:.3f}   {name(choice.rule)}")
    return ranked[0].rule if ranked else task.rule


def _reverse(task: Task, settings: Config) -> Aligner | None:
    """The run of the other direction."""
    if task.reverse is None:
        return None
    model = api.load(task.reverse, task.reverse_checkpoint)
    check_model(task, task.reverse, model.settings)
    there, back = settings.data.languages, model.settings.data.languages
    if back != there[::-1]:
        raise UsageError(
            f"--reverse={task.reverse} translates {back[0]} to {back[1]}, and the other direction is {there[1]} to "
            f"{there[0]}"
        )
    return Aligner(model, _best(task, task.reverse, model) if task.best else task.rule)


def _attended(model: TrainedModel, part: Corpus, *, own: bool) -> Iterator[list[Attended | None]]:
    for begin in range(0, len(part.sources), CHUNK):
        targets = None if own else part.targets[begin : begin + CHUNK]
        yield model.attend(part.sources[begin : begin + CHUNK], targets, begin + 1)


def _backward(by: Aligner, part: Corpus) -> list[Links]:
    """Links of the other direction's run, turned round."""
    backward = Corpus(part.targets, part.sources, None, part.name)
    return transpose(links for chunk in _attended(by.model, backward, own=False) for links in all_links(chunk, by.rule))


def _about(task: Task, by: Aligner, reverse: Aligner | None, part: Corpus) -> dict[str, Any]:
    settings = by.model.settings.model
    about = {
        "model": type(settings).__name__.lower(),
        "attention": dataclasses.asdict(settings.attention),
        "run": task.run.name,
        "checkpoint": by.model.checkpoint,
        "pairs": part.name,
        "target": "the model's own" if task.own else "given",
        "chosen": name(by.rule),
        "rule": by.rule.describe(),
    }
    if reverse is not None and task.reverse is not None:
        about["symmetrized"] = {
            "how": task.symmetrize or SYMMETRIZE,
            "run": task.reverse.name,
            "checkpoint": reverse.model.checkpoint,
            "chosen": name(reverse.rule),
        }
    return about


def _draw(folder: Path, shown: Sequence[Attended | None], rule: Rule, gold: Sequence[Gold] | None) -> None:
    for number, one in enumerate(shown):
        if one is not None:
            right = gold[number].possible if gold is not None else None
            draw.heatmap(one, rule, folder / f"heatmap-{number + 1}.png", right)
            for kind in ("cross", "encoder", "decoder"):
                if getattr(one, kind) is not None and one.matrix(kind).shape[:2] != (1, 1):
                    draw.grid(one, folder / f"{kind}-{number + 1}.png", kind)
