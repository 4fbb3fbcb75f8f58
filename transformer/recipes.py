"""Finding a recipe: a file, a name in `configs/`, or a run directory whose settings are used again."""

import dataclasses
import difflib
from pathlib import Path

from transformer import plugins
from transformer.config import Config, read_config
from transformer.errors import TransformerError, UsageError


def folder() -> Path:
    """Where the named recipes are: inside an installed package, or `configs/` of the checkout."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "configs"


def names() -> list[str]:
    """The named recipes."""
    return sorted(path.stem for path in folder().glob("*.py"))


def is_run(recipe: str) -> bool:
    """Whether it is the directory of a run."""
    return (Path(recipe) / "config.json").is_file()


def name_of(recipe: str) -> str:
    """The name by which its runs are called."""
    return Path(recipe).name if is_run(recipe) else Path(recipe).stem


def find(recipe: str) -> tuple[str, Config]:
    """Name and settings of a recipe. A .py file is executed; a run directory only read.

    Raises UsageError with the nearest name when there is none, or when the file defines no `config`.
    """
    path = Path(recipe)
    if is_run(recipe):
        return path.name, read_config(path)
    if path.suffix != ".py":
        path = folder() / f"{recipe}.py"
    if not path.is_file():
        near = difflib.get_close_matches(Path(recipe).stem, names(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no recipe or run {recipe!r}: {hint}there are {', '.join(names())}, or give a .py file")
    try:
        found = getattr(plugins.execute(path), "config", None)
    except TransformerError as error:
        raise UsageError(f"recipe {path}: {error}") from error
    except Exception as error:
        raise UsageError(f"recipe {path} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, Config):
        raise UsageError(f"recipe {path} must define `config`, a transformer.config.Config")
    return path.stem, found


def smoke(settings: Config) -> Config:
    """The same recipe shrunk to seconds: little data, a tiny model, ten updates; its shape stays."""
    grammar = dataclasses.replace(settings.data.grammar, train=500, validation=20, test=20)
    training = dataclasses.replace(
        settings.training,
        steps=10,
        log_every=2,
        validate_every=5,
        minutes=0.0,
    )
    rows = settings.batching.batch_multiple * settings.training.accumulate
    length = min(64, settings.data.max_length)
    return dataclasses.replace(
        settings,
        data=dataclasses.replace(settings.data, limit=500, max_length=length, grammar=grammar),
        batching=dataclasses.replace(settings.batching, tokens=max(1024, rows * length), shapes=2),
        task=settings.task.smoke(),
        model=settings.model.smoke(),
        training=training,
    )
