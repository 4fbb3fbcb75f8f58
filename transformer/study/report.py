"""From results.json to tables, figures and the marked places of a README: `transformer report STUDY`."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformer.errors import TransformerError, UsageError
from transformer.storage.files import write_text
from transformer.storage.locks import file_lock
from transformer.study import figures, tables, variants
from transformer.study.figures import Drawing
from transformer.study.results import Results, lock
from transformer.study.tables import Table
from transformer.study.variants import Pair, Study

log = logging.getLogger(__name__)

MARK = re.compile(r"<!-- table:(?P<name>[^\s>]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)
BEGINNING = re.compile(r"<!-- table:")
FIGURES = {
    "bleu": "BLEU",
    "aer": "AER",
    "heads": "AER of every head",
    "lengths": "BLEU by words of the source",
}
NOTHING = "No results yet.\n"


@dataclass(frozen=True)
class Part:
    """One table of a study, and what there is of it."""

    study: Study
    name: str
    done: dict[str, list[dict[str, Any]]]
    """Results of the trials of each variant that has any."""
    baseline: str
    drawn: dict[str, list[dict[str, Any]]]
    pairs: list[Pair]
    missing: list[str]
    """Trials of every day (not of --full) without a result."""

    @cached_property
    def tables(self) -> dict[str, list[tuple[str, Table]]]:
        """With their captions, by the kind of figure that belongs to them; none where nothing is done."""
        if not self.done:
            return {}
        metric = self.study.metric
        found = {metric.lower(): [("", tables.main(self.done, self.baseline, metric, self.missing))]}
        if (paired := tables.pairs(self.done, self.pairs)) is not None:
            found["pairs"] = [("Further comparisons", paired)]
        if metric == "AER":
            by_head = {name: made for name, trials in self.done.items() if (made := tables.heads(trials))}
            found["heads"] = [(f"AER of {name}, seed {seed}", table) for name, (seed, table) in by_head.items()]
        found["lengths"] = [(FIGURES["lengths"], tables.lengths(self.done))]
        return found

    @cached_property
    def drawings(self) -> dict[str, Drawing]:
        """The figures, by kind; a file is named PART-KIND."""
        if not self.done:
            return {}
        metric = self.study.metric
        found = {
            metric.lower(): figures.dots(self.done, metric) if len(self.done) > 1 else None,
            "heads": figures.heads(self.drawn) if metric == "AER" else None,
            "lengths": figures.lengths(self.drawn),
        }
        return {kind: drawing for kind, drawing in found.items() if drawing is not None}


def parts(study: Study, results: Results, *, smoke: bool = False) -> list[Part]:
    """The tables of a study."""
    every = [(one, results.get(one)) for one in variants.trials(study, full=True, smoke=smoke)]
    asked = {one.name for one in variants.trials(study, smoke=smoke)}
    found = []
    for name, names in study.tables().items():
        here = [(one, result) for one, result in every if one.variant in names]
        done: dict[str, list[dict[str, Any]]] = {}
        for one, result in here:
            if result is not None:
                done.setdefault(one.variant, []).append(result)
        missing = [one.name for one, result in here if result is None and one.name in asked]
        baseline = next((variant for variant in study.baselines if variant in names), "")
        drawn = [variant for variant in study.plotted if variant in done] or list(done)
        pairs = [pair for pair in study.pairs if pair.system in done and pair.baseline in done]
        found.append(Part(study, name, done, baseline, {variant: done[variant] for variant in drawn}, pairs, missing))
    return found


def texts(every: list[Part]) -> dict[str, str]:
    """The Markdown of each table, with its figures."""
    return {part.name: _text(part) if part.done else NOTHING for part in every}


def _text(part: Part) -> str:
    """Tables, each with its figure."""
    blocks = []
    for kind, captioned in part.tables.items():
        blocks += [f"{caption}:\n\n{table.markdown()}" if caption else table.markdown() for caption, table in captioned]
        if kind in part.drawings:
            blocks.append(f"![{FIGURES[kind]}]({part.name}-{kind}.svg)\n")
    return "\n".join(blocks)


def joined(every: Mapping[str, str]) -> str:
    """tables.md: all tables, named where there are several."""
    if len(every) == 1:
        return "".join(every.values())
    return "\n".join(f"## {name}\n\n{text}" for name, text in every.items())


def filled(readme: str, every: Mapping[str, str], path: Path) -> str:
    """A README with the tables where it has their marks, `<!-- table:NAME -->` and `<!-- end -->`.

    Raises TransformerError for a mark that is not closed, or names no table.
    """

    def put(mark: re.Match[str]) -> str:
        name = mark["name"]
        if name not in every:
            raise TransformerError(f"{path} has a mark for the table {name}, and there are {', '.join(every)}")
        return f"<!-- table:{name} -->\n{every[name]}<!-- end -->"

    if len(BEGINNING.findall(readme)) != len(MARK.findall(readme)):
        raise TransformerError(f"{path} has a mark <!-- table:NAME --> that no <!-- end --> follows")
    return MARK.sub(put, readme)


def report(study: Study, results: Results, folder: Path, *, smoke: bool = False) -> None:
    """Write tables.md, tables.tex and the figures into a folder, fill in its README, and print the tables.

    Raises UsageError when there are no results, TransformerError for a README whose marks are wrong.
    """
    every = parts(study, results, smoke=smoke)
    if outdated := results.outdated(variants.trials(study, full=True, smoke=smoke)):
        log.warning(
            "%s: what it has of %s is of other settings or scored otherwise, and does not count",
            results.path,
            ", ".join(outdated),
        )
    if not any(part.done for part in every):
        raise UsageError(f"the study has no results yet in {results.path}")
    told, in_latex = texts(every), latex(every, folder.resolve().name)
    readme = folder / "README.md"
    with file_lock(lock(folder), wait=True):  # two runners of one study end at once
        if readme.is_file():  # first, so that nothing is written where its marks are wrong
            before, newline = _read(readme)
            if (after := filled(before, told, readme)) != before:
                write_text(readme, after, newline)
        write_text(folder / "tables.md", joined(told))
        write_text(folder / "tables.tex", in_latex)
        for part in every:
            for kind, drawing in part.drawings.items():
                drawing.save(folder / f"{part.name}-{kind}")
    print(joined(told))
    print(f"{folder / 'tables.md'}   {folder / 'tables.tex'}   figures: {folder}/*.svg, *.pdf")


def latex(every: list[Part], name: str) -> str:
    """tables.tex of a study of this name: all tables."""
    made = []
    for part in every:
        for kind, captioned in part.tables.items():
            for number, (caption, table) in enumerate(captioned, 1):
                label = f"tab:{name}-{part.name}-{kind}" + f"-{number}" * (len(captioned) > 1)
                made.append(table.latex(" ".join([f"{name}, {part.name}.", *[f"{caption}."] * bool(caption)]), label))
    return "\n".join(made)


def _read(path: Path) -> tuple[str, str]:
    """A text, and how its lines end."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TransformerError(f"{path} is not in UTF-8 ({error}): save it so") from None
    return text.replace("\r\n", "\n"), "\r\n" if "\r\n" in text else "\n"


def present(path: Path) -> None:
    """What `transformer report` does."""
    found = variants.load(path)
    folder = variants.folder_of(path)
    report(found, Results(folder / "results.json"), folder)
