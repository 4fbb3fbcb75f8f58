"""`transformer train`."""

from dataclasses import dataclass, field
from pathlib import Path

from transformer import check, recipes
from transformer.commands.options import Command, Recipe, Settings
from transformer.config import Cluster, Config


@dataclass(frozen=True)
class Train(Command):
    """Train a model.

    RECIPE is a name (`transformer train grammar`), a .py file, or the directory of a run whose settings are used again.
    Every setting of the recipe is an option below.
    """

    recipe: Recipe
    run: str = ""
    """Directory of the run; the default is runs/RECIPE."""
    resume: bool = False
    """Resume the run in the directory, exactly; start it if there is none yet."""
    init_from: str = ""
    """Start from the parameters (and the tokenizer) of another run: its best or averaged checkpoint."""
    smoke: bool = False
    """Shrink the recipe to seconds, to test that it runs; options that are given stay."""
    profile: bool = False
    """Write a trace of some updates into the run, which TensorBoard's profiler opens."""
    config: Settings = field(default_factory=Config)
    cluster: Cluster = field(default_factory=Cluster)

    def check(self) -> None:
        check.everything(self.config)

    def execute(self) -> None:
        from transformer.training.run import train

        name = recipes.name_of(self.recipe)
        resumed = self.resume and recipes.is_run(self.recipe)
        default = Path(self.recipe) if resumed else Path("runs") / (name + "-smoke" * self.smoke)
        train(
            self.config,
            Path(self.run) if self.run else default,
            name,
            resume=self.resume,
            init_from=Path(self.init_from) if self.init_from else None,
            profile=self.profile,
        )
