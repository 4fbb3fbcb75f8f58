"""`transformer data inspect` and `transformer data prepare`: the text of a training."""

from dataclasses import dataclass, field
from pathlib import Path

from transformer import check, recipes
from transformer.commands.options import Command, Recipe, Settings
from transformer.config import Config


@dataclass(frozen=True)
class Inspect(Command):
    """Show what a recipe's data look like, before hours are spent on them.

    What is left out and why, lengths, use of the vocabulary, unknown words, repeated pairs, held-out pairs that are
    also in training, padding, epochs. Every setting of the recipe is an option below.
    """

    recipe: Recipe
    smoke: bool = False
    """Inspect the recipe as `train --smoke` shrinks it; options that are given stay."""
    output: str = ""
    """Folder for data.json and data.png, which are overwritten; the default is runs/RECIPE-data."""
    config: Settings = field(default_factory=Config)

    def check(self) -> None:
        check.everything(self.config)

    def execute(self) -> None:
        from transformer.inspection.run import inspect

        name = recipes.name_of(self.recipe) + "-smoke" * self.smoke
        inspect(self.config, name, Path(self.output) if self.output else Path("runs") / f"{name}-data")


@dataclass(frozen=True)
class Prepare(Command):
    """Download, clean and tokenise the data of a recipe, ahead of training.

    Everything is kept in --data.cache (datasets of TFDS in --data.folder), where `train` finds it. Interrupted
    downloads and tokenisation are resumed. Give the same options as for `train`: they decide what is prepared.
    """

    recipe: Recipe
    smoke: bool = False
    """Prepare the recipe as `train --smoke` shrinks it; options that are given stay."""
    config: Settings = field(default_factory=Config)

    def check(self) -> None:
        check.everything(self.config)

    def execute(self) -> None:
        from transformer.training.run import prepare_data

        prepare_data(self.config)
