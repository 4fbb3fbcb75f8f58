"""Commands that train: a run, a study of many, the demo."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from transformer import recipes
from transformer.config import Cluster, Config
from transformer.errors import UsageError

RECIPE = f"One of {', '.join(recipes.names())}; or a .py file; or a run directory."


@dataclass(frozen=True)
class Train:
    """Train a model: `transformer train RECIPE [options]`.

    RECIPE is a name (`transformer train grammar`), a .py file, or a run directory whose settings serve again.
    Every setting of the recipe is an option below.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE", help=RECIPE)]
    run: str = ""
    """Directory of the run; the default is runs/RECIPE."""
    resume: bool = False
    """Go on with the run in the directory, exactly; start it when there is none yet."""
    init_from: str = ""
    """Start from the parameters (and the tokenizer) of another run: its best or averaged checkpoint."""
    smoke: bool = False
    """Shrink the recipe to seconds, to see that it runs."""
    profile: bool = False
    """Write a trace of some updates into the run, which TensorBoard's profiler opens."""
    cluster: Cluster = field(default_factory=Cluster)
    config: Annotated[tyro.conf.AvoidSubcommands[tyro.conf.FlagConversionOff[Config]], tyro.conf.arg(name="")] = field(
        default_factory=Config
    )

    def __call__(self) -> None:
        from transformer.commands.workflow import train

        settings = recipes.smoke(self.config) if self.smoke else self.config
        continued = (Path(self.recipe) / "config.json").is_file()
        name = Path(self.recipe).stem if not continued else Path(self.recipe).name
        default = Path(self.recipe) if continued and self.resume else Path("runs") / (name + "-smoke" * self.smoke)
        folder = Path(self.run) if self.run else default
        train(
            settings,
            folder,
            name,
            resume=self.resume,
            init_from=Path(self.init_from) if self.init_from else None,
            profile=self.profile,
        )


STUDY = "A folder with a study.py that defines `study`."


@dataclass(frozen=True)
class Study:
    """Run the trials of a study that have no result yet, then do as `transformer report`.

    A study is a grid of runs under one budget. One that was stopped resumes where it was, and two of these commands on
    one study share the work. Results are kept in results.json in the study's folder.
    """

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY", help=STUDY)]
    runs: str = ""
    """Folder of its run directories (with --smoke: RUNS-smoke); the default is runs/ and the name of the study's
    folder."""
    only: tuple[str, ...] = ()
    """Variants to run; the default is all of them."""
    full: bool = False
    """All variants and seeds, not only those that two cores train overnight."""
    workers: int = 1
    """Trials that run at a time, each on its own share of the cores, or on its own accelerator."""
    trial: str | None = None
    """Run only this trial, VARIANT-SEED, in this process, as a task of a job array does."""
    slurm: bool = False
    """Print a job array of the missing trials and run nothing: `transformer study STUDY --slurm | sbatch`."""
    smoke: bool = False
    """Shrink every trial to seconds, with one seed per variant, as a test; results stay with the runs."""

    def __call__(self) -> None:
        from transformer.study.run import run_study, run_trial

        runs = Path(self.runs) if self.runs else None
        if self.trial is not None:
            others = {
                "--slurm": self.slurm,
                "--only": self.only,
                "--full": self.full,
                "--workers": self.workers != 1,
            }
            for flag, given in others.items():
                if given:
                    raise UsageError(f"--trial runs one trial in this process: it cannot be combined with {flag}")
            run_trial(Path(self.study), self.trial, runs=runs, smoke=self.smoke)
            return
        run_study(
            Path(self.study),
            runs=runs,
            only=self.only,
            full=self.full,
            smoke=self.smoke,
            num_workers=self.workers,
            print_slurm=self.slurm,
        )


@dataclass(frozen=True)
class Report:
    """Make tables (Markdown, LaTeX) and figures of a study from its results.json alone, and run nothing.

    Writes tables.md, tables.tex and figures (SVG and PDF) beside the study's file, and fills the places of its README
    that are marked <!-- table:NAME --> ... <!-- end -->.
    """

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY", help=STUDY)]

    def __call__(self) -> None:
        from transformer.study.report import present

        present(Path(self.study))


@dataclass(frozen=True)
class Demo:
    """Train on the embedded grammar, then show the scores, some translations, and where everything is."""

    run: str = "runs/demo"
    """Directory of the run; an older demo there is moved aside, not deleted."""

    def __call__(self) -> None:
        from transformer.commands.workflow import demo

        demo(Path(self.run))
