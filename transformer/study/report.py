"""From results.json to tables, figures and the marked places of a README: `transformer report STUDY`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformer.errors import TransformerError, UsageError
from transformer.locks import claimed
from transformer.study import cells, figures, tables
from transformer.study.cells import Study
from transformer.study.results import Results

MARK = re.compile(r"<!-- table:(?P<name>[^\s>]+) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)
BEGINNING = re.compile(r"<!-- table:")
NOTHING = "No results yet.\n"


class Part(NamedTuple):
    """One table of a study, and what there is of it."""

    name: str
    done: dict[str, list[dict[str, Any]]]
    """Results of the trials of each cell that has any."""
    baseline: str
    drawn: dict[str, list[dict[str, Any]]]
    missing: list[str]
    """Trials of every day (not of --full) without a result."""


def parts(study: Study, results: Results, *, smoke: bool = False) -> list[Part]:
    """The tables of a study."""
    every = [(one, results.of(one)) for one in cells.trials(study, full=True, smoke=smoke)]
    asked = {one.name for one in cells.trials(study, smoke=smoke)}
    found = []
    for name, names in study.tables().items():
        here = [(one, result) for one, result in every if one.cell in names]
        done: dict[str, list[dict[str, Any]]] = {}
        for one, result in here:
            if result is not None:
                done.setdefault(one.cell, []).append(result)
        missing = [one.name for one, result in here if result is None and one.name in asked]
        baseline = next((cell for cell in study.baselines if cell in names), "")
        drawn = [cell for cell in study.drawn if cell in done] or list(done)
        found.append(Part(name, done, baseline, {cell: done[cell] for cell in drawn}, missing))
    return found


def texts(study: Study, every: list[Part]) -> dict[str, str]:
    """The Markdown of each table, with the figures that `draw` makes."""
    return {part.name: _text(study, part) if part.done else NOTHING for part in every}


def _text(study: Study, part: Part) -> str:
    main = tables.main(part.done, part.baseline, study.metric, part.missing).markdown()
    blocks = [main] + [f"![{study.metric}]({part.name}-{study.metric.lower()}.svg)\n"] * (len(part.done) > 1)
    if study.metric == "AER":
        by_head = {name: table for name, trials in part.done.items() if (table := tables.heads(trials))}
        for name, table in by_head.items():
            blocks.append(f"AER of {name}, seed {part.done[name][0]['seed']}:\n\n{table.markdown()}")
        blocks += [f"![AER of every head]({part.name}-heads.svg)\n"] * bool(by_head)
    blocks.append(f"BLEU by words of the source:\n\n{tables.lengths(part.done).markdown()}")
    blocks.append(f"![BLEU by words of the source]({part.name}-lengths.svg)\n")
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
    if not any(part.done for part in every):
        raise UsageError(f"the study has no results yet in {results.path}")
    told = texts(study, every)
    readme = folder / "README.md"
    with claimed(folder, wait=True):  # two runners of one study end at once
        if readme.is_file():  # first, so that nothing is written where its marks are wrong
            before = readme.read_text(encoding="utf-8")
            if (after := filled(before, told, readme)) != before:
                _write(readme, after)
        _write(folder / "tables.md", joined(told))
        _write(folder / "tables.tex", "\n".join(_latex(study, part, folder) for part in every if part.done))
        for part in every:
            if part.done:
                draw(study, part, folder)
    print(joined(told))
    print(f"{folder / 'tables.md'}   {folder / 'tables.tex'}   figures: {folder}/*.svg, *.pdf")


def draw(study: Study, part: Part, folder: Path) -> None:
    """The figures of one table."""
    if len(part.done) > 1:
        figures.dots(part.done, study.metric, folder / f"{part.name}-{study.metric.lower()}")
    figures.lengths(part.drawn, folder / f"{part.name}-lengths")
    if study.metric == "AER":
        figures.heads(part.drawn, folder / f"{part.name}-heads")


def _latex(study: Study, part: Part, folder: Path) -> str:
    name = folder.resolve().name
    main = tables.main(part.done, part.baseline, study.metric, part.missing)
    by_length = tables.lengths(part.done)
    caption = f"{name}, {part.name}."
    return "\n".join(
        [
            main.latex(caption, f"tab:{name}-{part.name}"),
            by_length.latex(f"{caption} BLEU by words of the source.", f"tab:{name}-{part.name}-lengths"),
        ]
    )


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def present(path: Path) -> None:
    """What `transformer report` does."""
    found = cells.find(path)
    folder = cells.home(path)
    report(found, Results(folder / "results.json"), folder)
