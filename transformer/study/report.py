"""Tables, figures and the placeholders of a README, made from results.json: `transformer report STUDY`."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformer.errors import TransformerError, UsageError
from transformer.evaluation.measures import Measure
from transformer.storage.files import write_text
from transformer.storage.locks import file_lock
from transformer.study import figures, tables, variants
from transformer.study.figures import Drawing
from transformer.study.results import Results, lock
from transformer.study.tables import Table
from transformer.study.variants import Pair, Study

log = logging.getLogger(__name__)

PLACEHOLDER = re.compile(r"<!-- table:(?P<name>[^\s>]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)
PLACEHOLDER_BEGIN = re.compile(r"<!-- table:")
HEADS = "AER of every head"
LENGTHS = "BLEU by words of the source"
NO_RESULTS = "No results yet.\n"


@dataclass(frozen=True)
class Part:
    """One table of a study, with its results so far."""

    study: Study
    name: str
    done: dict[str, list[dict[str, Any]]]
    """Results of the trials of each variant that has any."""
    baseline: str
    plotted: dict[str, list[dict[str, Any]]]
    """The same of the variants in the figures."""
    pairs: list[Pair]
    missing: list[str]
    """Names of trials without a result, except those that only --full runs."""

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """Measures of the task, the one that decides first."""
        return self.study.measures(self.name)

    @property
    def metric(self) -> str:
        """The measure that is compared."""
        return self.study.metric or next(iter(self.measures))

    @cached_property
    def tables(self) -> dict[str, list[tuple[str, Table]]]:
        """The tables with their captions, by the kind of the figure that belongs to them; {} without results."""
        if not self.done:
            return {}
        main = tables.main(self.done, self.baseline, self.metric, self.measures, self.missing)
        found = {self.metric.lower(): [("", main)]}
        if (paired := tables.pairs(self.done, self.pairs, self.measures)) is not None:
            found["pairs"] = [("Further comparisons", paired)]
        if self.metric == "AER":
            by_head = {name: made for name, trials in self.done.items() if (made := tables.heads(trials))}
            found["heads"] = [(f"AER of {name}, seed {seed}", table) for name, (seed, table) in by_head.items()]
        if (by_length := tables.lengths(self.done)) is not None:
            found["lengths"] = [(LENGTHS, by_length)]
        return found

    @cached_property
    def drawings(self) -> dict[str, Drawing]:
        """The figures, by kind; a file is named TABLE-KIND."""
        if not self.done:
            return {}
        dots = figures.dots(self.done, self.metric, self.measures[self.metric]) if len(self.done) > 1 else None
        found = {
            self.metric.lower(): dots,
            "heads": figures.heads(self.plotted) if self.metric == "AER" else None,
            "lengths": figures.lengths(self.plotted),
        }
        return {kind: drawing for kind, drawing in found.items() if drawing is not None}


def parts(study: Study, results: Results, *, smoke: bool = False) -> list[Part]:
    """The tables of a study."""
    every = [(trial, results.get(trial)) for trial in variants.trials(study, full=True, smoke=smoke)]
    expected = {trial.name for trial in variants.trials(study, smoke=smoke)}
    found = []
    for name, names in study.tables().items():
        own = [(trial, result) for trial, result in every if trial.variant in names]
        done: dict[str, list[dict[str, Any]]] = {}
        for trial, result in own:
            if result is not None:
                done.setdefault(trial.variant, []).append(result)
        missing = [trial.name for trial, result in own if result is None and trial.name in expected]
        baseline = next((variant for variant in study.baselines if variant in names), "")
        plotted = [variant for variant in study.plotted if variant in done] or list(done)
        pairs = [pair for pair in study.pairs if pair.system in done and pair.baseline in done]
        found.append(Part(study, name, done, baseline, {variant: done[variant] for variant in plotted}, pairs, missing))
    return found


def texts(every: list[Part]) -> dict[str, str]:
    """The Markdown of each table, with its figures."""
    return {part.name: _text(part) if part.done else NO_RESULTS for part in every}


def _text(part: Part) -> str:
    """Tables, each with its figure."""
    blocks = []
    for kind, captioned in part.tables.items():
        blocks += [f"{caption}:\n\n{table.markdown()}" if caption else table.markdown() for caption, table in captioned]
        if kind in part.drawings:
            caption = {"heads": HEADS, "lengths": LENGTHS}.get(kind, part.metric)
            blocks.append(f"![{caption}]({part.name}-{kind}.svg)\n")
    return "\n".join(blocks)


def joined(every: Mapping[str, str]) -> str:
    """The text of tables.md: all tables, with headings if there are several."""
    if len(every) == 1:
        return "".join(every.values())
    return "\n".join(f"## {name}\n\n{text}" for name, text in every.items())


def filled(readme: str, every: Mapping[str, str], path: Path) -> str:
    """A README with the tables in its placeholders, `<!-- table:NAME -->` to `<!-- end -->`.

    Raises TransformerError for a placeholder without an end, or for a table that does not exist.
    """

    def fill(placeholder: re.Match[str]) -> str:
        name = placeholder["name"]
        if name not in every:
            raise TransformerError(f"{path} has a placeholder for the table {name}; the tables are {', '.join(every)}")
        return f"<!-- table:{name} -->\n{every[name]}<!-- end -->"

    if len(PLACEHOLDER_BEGIN.findall(readme)) != len(PLACEHOLDER.findall(readme)):
        raise TransformerError(f"{path} has a placeholder <!-- table:NAME --> without an <!-- end -->")
    return PLACEHOLDER.sub(fill, readme)


def report(study: Study, results: Results, folder: Path, *, smoke: bool = False) -> None:
    """Write tables.md, tables.tex and the figures into a folder, fill in its README, and print the tables.

    Raises UsageError if there are no results, TransformerError for a README with wrong placeholders.
    """
    every = parts(study, results, smoke=smoke)
    if outdated := results.outdated(variants.trials(study, full=True, smoke=smoke)):
        log.warning(
            "%s: the results of %s are ignored, because they have different settings or were scored differently",
            results.path,
            ", ".join(outdated),
        )
    if not any(part.done for part in every):
        raise UsageError(f"the study has no results yet in {results.path}")
    markdown, in_latex = texts(every), latex(every, folder.resolve().name)
    readme = folder / "README.md"
    with file_lock(lock(folder), wait=True):  # two runners of a study may end at once
        if readme.is_file():  # first, so that nothing is written if its placeholders are wrong
            before, newline = _read(readme)
            if (after := filled(before, markdown, readme)) != before:
                write_text(readme, after, newline)
        write_text(folder / "tables.md", joined(markdown))
        write_text(folder / "tables.tex", in_latex)
        for part in every:
            for kind, drawing in part.drawings.items():
                drawing.save(folder / f"{part.name}-{kind}")
    print(joined(markdown))
    print(f"{folder / 'tables.md'}   {folder / 'tables.tex'}   figures: {folder}/*.svg, *.pdf")


def latex(every: list[Part], name: str) -> str:
    """The text of tables.tex of a study of this name: all tables."""
    made = []
    for part in every:
        for kind, captioned in part.tables.items():
            for number, (caption, table) in enumerate(captioned, 1):
                label = f"tab:{name}-{part.name}-{kind}" + f"-{number}" * (len(captioned) > 1)
                text = " ".join([f"{name}, {part.name}.", *[f"{caption}."] * bool(caption)])
                made.append(table.latex(text, label))
    return "\n".join(made)


def _read(path: Path) -> tuple[str, str]:
    """A text, and its line ending."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TransformerError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from None
    return text.replace("\r\n", "\n"), "\r\n" if "\r\n" in text else "\n"


def present(path: Path) -> None:
    """Report a study, given by its file or folder."""
    found = variants.load(path)
    folder = variants.folder_of(path)
    report(found, Results(folder / "results.json"), folder)
