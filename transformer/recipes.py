"""Finding a recipe: a file, a name in `configs/`, or a run directory whose settings are used again."""

import dataclasses
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformer import plugins
from transformer.config import Config, flatten, from_json, read_config, to_json
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

    Raises UsageError with the nearest name if there is none, or if the file defines no `config`.
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, and classes of the file itself
        raise UsageError(f"recipe {path} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, Config):
        raise UsageError(f"recipe {path} must define `config`, a transformer.config.Config")
    return path.stem, found


def smoke(settings: Config) -> Config:
    """The same recipe shrunk to seconds: little data, a tiny model, ten updates; its shape stays."""
    data, batching = settings.data, settings.batching
    grammar = dataclasses.replace(data.grammar, train=500, validation=20, test=20)
    longest = -(-max(data.max_length, batching.pack) // batching.length_multiple) * batching.length_multiple
    return dataclasses.replace(
        settings,
        data=dataclasses.replace(data, limit=500, max_length=min(64, data.max_length), grammar=grammar),
        batching=dataclasses.replace(batching, tokens=max(1024, batching.batch_multiple * longest), shapes=2),
        task=settings.task.smoke(),
        model=settings.model.smoke(),
        training=dataclasses.replace(settings.training, steps=10, log_every=2, validate_every=5, minutes=0.0),
    )


def smoke_rest(recipe: Config, given: Config, words: Iterable[str]) -> Config:
    """The settings after `smoke`, except that those given on the command line stay.

    Args:
        recipe: without the options.
        given: with the options.
        words: of the command line; an option that gives the recipe's own value is given too.
    """
    options = {word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")}
    before, now, small = (flatten(to_json(settings)) for settings in (recipe, given, smoke(given)))
    stay = {name for name, value in now.items() if name in options or value != before.get(name)}
    return from_json(_nested(small | {name: now[name] for name in stay}))


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parts, last = name.split(".")
        inner = tree
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return tree


def differences(before: Config, after: Config) -> str:
    """The options in which settings differ, as a command line gives them."""
    old, new = flatten(to_json(before)), flatten(to_json(after))
    return " ".join(f"--{name.replace('_', '-')}={value}" for name, value in new.items() if value != old.get(name))
