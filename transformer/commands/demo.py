"""`transformer demo`."""

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from transformer import recipes
from transformer.commands.align import Align
from transformer.commands.options import Command, program
from transformer.errors import UsageError
from transformer.storage.run import Run
from transformer.tasks.task import Split
from transformer.training import run_directory as rundir

SENTENCES = 8
"""On the page of attention."""


@dataclass(frozen=True)
class Demo(Command):
    """Train on the embedded grammar, then show the scores, some translations, and where everything is."""

    run: str = "runs/demo"
    """Directory of the run; an older demo in it is moved aside, not deleted."""

    def check(self) -> None:
        if Path(self.run).exists() and not rundir.is_run(Path(self.run)):
            raise UsageError(f"{self.run} is not a run directory: give another --run")

    def execute(self) -> None:
        """Train the recipe `demo`, then print scores, translations, and how well words are aligned."""
        from transformer import api
        from transformer.data.corpora import corpus
        from transformer.evaluation import report
        from transformer.training.run import train

        began, folder = time.perf_counter(), Path(self.run)
        _move_aside(folder)
        _, settings = recipes.find("demo")
        run = train(settings, folder, "demo")
        model = api.load(folder)
        for name in ("test", "unseen"):
            part = corpus.read(run.data, name, settings.data.languages)
            evaluation = model.evaluate(Split(name, part.sources, part.targets))
            report.write(run.report, evaluation)
            print(report.show(evaluation.result))
            if name == "test":
                print(report.examples(part.sources, part.targets, evaluation.predictions, 5))
        print("\nwords aligned by attention against the grammar's gold links (AER is the error rate: 0 is perfect)")
        output = run.report / "alignment"
        Align(str(folder), best=True, formats=("page", "png"), show=SENTENCES, pictures=1, output=str(output))()
        print(f"\nThe demo took {(time.perf_counter() - began) / 60:.1f} minutes.\n")
        print(_next(run))


def _next(run: Run) -> str:
    """What to open, and commands to try next."""
    report, name = run.report, run.folder.name
    pages = {
        report / "alignment" / "attention.html": f"the attention on {SENTENCES} sentences, for a browser",
        report / "alignment" / "heatmap-1.png": "the attention on the first of them",
        report / "curve.png": "losses and BLEU by update",
    }
    folder, other = shlex.quote(str(run.folder)), shlex.quote(str(run.folder.with_name(f"{name}-additive")))
    sentence, page = "'the old man who sold the house sleeps .'", shlex.quote(str(report / "self-attention.html"))
    commands = (
        f"echo {sentence} | {program()} translate {folder}",
        f"{program()} explain {folder} {sentence} --page {page}",
        f"{program()} train {folder} --run {other} --model.attention.score additive",
    )
    width = max(len(str(path)) for path in pages)
    return "\n".join(
        [
            "Open:",
            *(f"  {path!s:{width}}  {what}" for path, what in pages.items()),
            "",
            "Try (the last one trains the same model with another attention score):",
            *(f"  {command}" for command in commands),
        ]
    )


def _move_aside(folder: Path) -> None:
    """Rename an older run to the first free NAME-NUMBER."""
    if folder.exists():
        number = next(n for n in range(1, 10**6) if not folder.with_name(f"{folder.name}-{n}").exists())
        aside = folder.with_name(f"{folder.name}-{number}")
        folder.rename(aside)
        print(f"an older demo was moved to {aside}")
