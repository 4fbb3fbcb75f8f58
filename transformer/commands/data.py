"""Commands about text that is to be trained on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from transformer import recipes
from transformer.commands.training import RECIPE
from transformer.config import Config


@dataclass(frozen=True)
class Inspect:
    """See what a recipe's data look like, before hours are spent on them: `transformer data inspect RECIPE [options]`.

    What is left out and why, lengths, use of the vocabulary, unknown words, repeated pairs, held-out pairs that are
    also in training, padding, epochs. Every setting of the recipe is an option below.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE", help=RECIPE)]
    smoke: bool = False
    """Look at the recipe as `train --smoke` shrinks it."""
    output: str = ""
    """Folder for data.json and data.png, which are written anew; the default is runs/RECIPE-data."""
    config: Annotated[tyro.conf.AvoidSubcommands[tyro.conf.FlagConversionOff[Config]], tyro.conf.arg(name="")] = field(
        default_factory=Config
    )

    def __call__(self) -> None:
        from transformer.inspection.run import inspect

        continued = (Path(self.recipe) / "config.json").is_file()
        name = Path(self.recipe).name if continued else Path(self.recipe).stem
        name += "-smoke" * self.smoke
        settings = recipes.smoke(self.config) if self.smoke else self.config
        inspect(settings, name, Path(self.output) if self.output else Path("runs") / f"{name}-data")


@dataclass(frozen=True)
class Prepare:
    """Download, clean and tokenise what a recipe trains on, ahead of training: `transformer data prepare RECIPE`.

    Everything is kept in --data.cache (datasets of TFDS in --data.folder), where `train` finds it. Downloads and
    tokenising are gone on with after an interruption. Give the options that will be given to `train`: they are part of
    what is looked for.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE", help=RECIPE)]
    smoke: bool = False
    """Prepare the recipe as `train --smoke` shrinks it."""
    config: Annotated[tyro.conf.AvoidSubcommands[tyro.conf.FlagConversionOff[Config]], tyro.conf.arg(name="")] = field(
        default_factory=Config
    )

    def __call__(self) -> None:
        from transformer.commands.workflow import prepare_data

        prepare_data(recipes.smoke(self.config) if self.smoke else self.config)


@dataclass(frozen=True)
class Data:
    """Text that is to be trained on: `transformer data COMMAND RECIPE [options]`."""

    command: Annotated[
        Annotated[Inspect, tyro.conf.subcommand(name="inspect")]
        | Annotated[Prepare, tyro.conf.subcommand(name="prepare")],
        tyro.conf.arg(name=""),
    ]

    def __call__(self) -> None:
        self.command()
