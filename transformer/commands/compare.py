"""`transformer compare`: two runs side by side: their settings, their curves, their scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from transformer.commands.options import Command
from transformer.commands.runs import aligned, deciding
from transformer.config import Config, flatten, read_config, to_json
from transformer.errors import UsageError
from transformer.plurals import counted
from transformer.storage.run import Run

if TYPE_CHECKING:
    from transformer.tasks.task import Predictor, Split

SETS = ("test", "validation")
"""The sets of a run, each with those that are reported with it."""
WITHOUT_EFFECT = ("data.cache", "data.folder")
"""Settings that do not change results."""


@dataclass(frozen=True)
class Compare(Command):
    """Compare two runs: settings that differ, learning curves in one picture, and scores with significance.

    Scores come from the reports of `transformer evaluate RUN` on the run's own test and validation sets; a set is
    compared if both runs have a report on it. A difference is the second run minus the first, tested by paired
    bootstrap resampling of the lines.
    """

    first: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN", help="The directory of a trained run.")]
    second: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN", help="The directory of another run.")]
    output: str = ""
    """PNG file of the curves, which is overwritten; the default is report/compared-with-RUN.png in the second run."""

    def check(self) -> None:
        first, second = (type(read_config(Path(run)).task).__name__ for run in (self.first, self.second))
        if Path(self.first).resolve() == Path(self.second).resolve():
            raise UsageError(f"{self.first} and {self.second} are the same run: give two")
        if first != second:
            raise UsageError(
                f"{self.first} has the task {first}, and {self.second} has {second}: they are not compared"
            )
        if self.output and not self.output.endswith(".png"):
            raise UsageError(f"--output={self.output} is a picture: give a name that ends in .png")

    def execute(self) -> None:
        """Print the comparison and draw the curves."""
        from transformer.training.curve import draw_curves
        from transformer.training.logger import read

        first, second = sides(self.first, self.second)
        print(settings_that_differ(first, second))
        records = {side.name: read(Run(side.folder).metrics) for side in (first, second)}
        every = [record for each in records.values() for record in each]
        speed = next((name for record in every for name in record if name.endswith("_per_s")), "tokens_per_s")
        name = f"compared-with-{first.folder.resolve().name}.png"
        path = Path(self.output) if self.output else Run(second.folder).report / name
        draw_curves(records, path, speed.removesuffix("_per_s"), deciding(every, first.settings))
        print(f"\ncurves: {path}")
        print("\n".join(scores(first, second)))


class Side(NamedTuple):
    """One of the runs."""

    name: str
    """The name of its folder, or its path if both folders have the same name."""
    folder: Path
    settings: Config


def sides(first: str, second: str) -> tuple[Side, Side]:
    """Both runs."""
    names = [Path(run).resolve().name for run in (first, second)]
    if names[0] == names[1]:
        names = [first, second]
    one, other = (
        Side(name, Path(run), read_config(Path(run))) for name, run in zip(names, (first, second), strict=True)
    )
    return one, other


def settings_that_differ(first: Side, second: Side) -> str:
    """A line for each setting: its option, and its value in both runs."""
    values = [flatten(to_json(side.settings)) for side in (first, second)]
    rows = [
        (f"--{name.replace('_', '-')}", *(_text(each, name) for each in values))
        for name in dict.fromkeys([*values[0], *values[1]])
        if name not in WITHOUT_EFFECT and (name not in values[0] or values[0][name] != values[1].get(name))
    ]
    if not rows:
        return "All settings are equal."
    return aligned([("settings that differ", first.name, second.name), *rows], "<<<")


def _text(values: dict[str, Any], name: str) -> str:
    """A value as the command line takes it; - if the run has no such setting."""
    value = values.get(name, "-")
    return (" ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)) or '""'


def scores(first: Side, second: Side) -> Iterator[str]:
    """Lines for each set on which both runs were evaluated."""
    predictor, compared = first.settings.task.predictor(first.settings, first.folder), False
    for split in {split.name: split for name in SETS for split in predictor.splits(name)}.values():
        for lines in _scores((first, second), predictor, split):
            compared = True
            yield lines
    if not compared:
        yield (
            f"\nno scores: {first.name} and {second.name} share no reported set: run `transformer evaluate` on "
            f"{first.folder} and on {second.folder}"
        )


def _scores(both: tuple[Side, Side], predictor: "Predictor", split: "Split") -> Iterator[str]:
    """Lines of a set; none if a run has no report on it."""
    from transformer.evaluation import report
    from transformer.evaluation.measures import differences
    from transformer.evaluation.significance import p_text

    known = [report.find(Run(side.folder).report, split.lines, split.references, {}) for side in both]
    if any(each is None for each in known):
        return
    before, after = (predictor.statistics(each.predictions, split.references) for each in known if each is not None)
    yield f"\n{split.name}: {counted(len(split.lines), 'sentence')}"
    rows = [("", both[0].name, both[1].name, "difference", "95% interval", "")]
    for name, each in differences(after, before, predictor.measures).items():
        values = f"{each['baseline']:.2f}", f"{each['baseline'] + each['difference']:.2f}", f"{each['difference']:+.2f}"
        if each["p"] is None:
            rows.append((name, *values, "", f"not tested ({each['reason']})"))
        else:
            low, high = each["interval"]
            rows.append((name, *values, f"[{low:+.2f}, {high:+.2f}]", "p " + p_text(each["p"], each["at_most"])))
    yield aligned(rows, "<>>>>>")
