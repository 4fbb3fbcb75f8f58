"""Commands that train: a run, a study of many, the demo."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from transformer import recipes
from transformer.config import Cluster, Config

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
        from transformer.workflow import train

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


@dataclass(frozen=True)
class Study:
    """Run what is missing of a study (a grid of runs under one budget), and print its tables.

    Results, tables and figure are kept beside the study's file; a study that was stopped goes on where it was.
    """

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY")]
    """A .py file that defines `study`, or a folder with a study.py."""
    runs: str = ""
    """Where its run directories are; the default is runs/ and the name of the study's folder."""
    only: tuple[str, ...] = ()
    """Cells to run; the default is all of them."""
    smoke: bool = False
    """Shrink every cell to seconds, to see that the study runs; results stay with the runs."""
    report: bool = False
    """Run nothing: make tables and figure anew from the results there are."""

    def __call__(self) -> None:
        from transformer.study.run import study

        runs = Path(self.runs) if self.runs else None
        study(Path(self.study), runs, self.only, smoke=self.smoke, report_only=self.report)


@dataclass(frozen=True)
class Demo:
    """Train on the embedded grammar, then show the scores, some translations, and where everything is."""

    run: str = "runs/demo"
    """Directory of the run; an older demo there is moved aside, not deleted."""

    def __call__(self) -> None:
        from transformer.workflow import demo

        demo(Path(self.run))
