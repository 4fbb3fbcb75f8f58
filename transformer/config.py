"""The settings of a whole run: what its recipe builds, and what config.json stores.

Each part is defined in its own folder (`data/config.py`, `training/config.py`, ...) and imported here, so that a recipe
needs this one module. A field's docstring is its help text on the command line, its annotation its range.
"""

import copy
import dataclasses
import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from transformer import fields, plugins
from transformer.attention.config import Attention
from transformer.data.config import Batching, Data, Filter, Grammar, Tokenizer
from transformer.decoding.config import Decoding
from transformer.distributed.config import Cluster, Mesh
from transformer.errors import UsageError
from transformer.models.classifier.config import Classifier
from transformer.models.composed.config import Composed
from transformer.models.config import ModelConfig
from transformer.models.families import FAMILIES
from transformer.models.gpt.config import Gpt
from transformer.models.rnn.config import Rnn
from transformer.models.transformer.config import Transformer
from transformer.storage.files import DamagedFileError, read_object
from transformer.storage.run import Run
from transformer.tasks.classification.config import Classification
from transformer.tasks.language_model.config import LanguageModel
from transformer.tasks.table import TASKS
from transformer.tasks.task import Task
from transformer.tasks.translation.config import Guided, Translation
from transformer.training.config import Optimizer, Schedule, Training

__all__ = [
    "Attention",
    "Batching",
    "Classification",
    "Classifier",
    "Cluster",
    "Composed",
    "Config",
    "Data",
    "Decoding",
    "Filter",
    "Gpt",
    "Grammar",
    "Guided",
    "LanguageModel",
    "Mesh",
    "Optimizer",
    "Rnn",
    "Schedule",
    "Tokenizer",
    "Training",
    "Transformer",
    "Translation",
    "from_json",
    "read_config",
    "to_json",
]


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    data: Data = field(default_factory=Data)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    batching: Batching = field(default_factory=Batching)
    task: Task = field(default_factory=Translation)
    model: ModelConfig = field(default_factory=Transformer)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    training: Training = field(default_factory=Training)
    decoding: Decoding = field(default_factory=Decoding)
    mesh: Mesh = field(default_factory=Mesh)
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 1
    """Random seed of the parameters, the order of the data and dropout."""


KINDS: tuple[tuple[type[Any], Mapping[str, type[Any]]], ...] = ((Task, TASKS), (ModelConfig, FAMILIES))
"""Parts that are one of several dataclasses, by their base class; config.json names the dataclass under `kind`. A part
may contain such parts itself."""

MOVED_TO_TASK = ("label_smoothing", "guided", "mean_over", "validate_sentences", "metric")
"""Settings of translation that version 0.1 kept under `training`."""


def to_json(config: Config) -> dict[str, Any]:
    """A tree of plain values; `from_json` is its inverse."""
    tree: dict[str, Any] = _plain(config, "")
    return tree


def _plain(part: Any, flag: str) -> Any:
    if not dataclasses.is_dataclass(part):
        return copy.deepcopy(part)
    values = {f.name: _plain(getattr(part, f.name), f"{flag}.{f.name}") for f in dataclasses.fields(part)}
    table = _table(type(part))
    if table is None:
        return values
    kind = next((name for name, cls in table.items() if type(part) is cls), None)
    if kind is None:
        raise UsageError(f"--{flag.lstrip('.')} is a {type(part).__name__}, which is registered under no name")
    return {"kind": kind} | values


def _table(cls: Any) -> Mapping[str, type[Any]] | None:
    """The classes that a part of this declared class may have; None if there is no choice."""
    return next((table for base, table in KINDS if isinstance(cls, type) and issubclass(cls, base)), None)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts to one dict with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def from_json(values: dict[str, Any]) -> Config:
    """Rebuild a config that `to_json` wrote, in this version or an earlier one.

    Raises:
        UsageError: a field that this version does not know.
        TypeError: a part that is not an object.
    """
    config: Config = _build(Config, _migrate(values), "config")
    return config


def read_config(run: Path) -> Config:
    """The settings of a run directory.

    Raises:
        UsageError: it is not a run directory, or has settings that this version does not know.
        MissingPluginError: a plugin of the run is not loaded.
        TransformerError: config.json is damaged.
    """
    about, path = read_about(run), Run(run).config
    try:
        plugins.require(about.get("plugins", []), run)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{path} is damaged: `plugins` is {about['plugins']!r}") from error
    try:
        config = from_json(about["config"])
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except TypeError as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    try:
        fields.check(config)
    except UsageError as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    return config


def read_about(run: Path) -> dict[str, Any]:
    """The content of config.json of a run directory: the settings under `config`, and where they come from.

    Raises:
        UsageError: it is not a run directory.
        DamagedFileError: config.json is damaged.
    """
    path = Run(run).config
    if not run.is_dir():
        raise UsageError(f"no run directory at {run}")
    if not path.is_file():
        raise UsageError(f"{run} is not a run directory: it has no config.json")
    about = read_object(path)
    if "config" not in about:
        raise DamagedFileError(f"{path} is damaged or not from a run: it has no `config`")
    return about


def _migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Settings of version 0.1, converted to this version."""
    if not isinstance(values, dict) or "task" in values or not isinstance(values.get("training"), dict):
        return values
    training = dict(values["training"])
    moved = {name: training.pop(name) for name in MOVED_TO_TASK if name in training}
    return {**values, "training": training, "task": {"kind": "translation", **moved}}


def _build(cls: Any, values: dict[str, Any], where: str) -> Any:
    _require_object(values, where)
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UsageError(f"{where}: unknown field {name!r}{hint}; was the run made by a newer version?")
    built = {}
    for name, value in values.items():
        part = hints[name]
        if (table := _table(part)) is not None:
            part, value = _kind(table, value, f"{where}.{name}")
        if dataclasses.is_dataclass(part):
            value = _build(part, value, f"{where}.{name}")
        built[name] = tuple(value) if isinstance(value, list) else value
    return cls(**built)


def _kind(table: Mapping[str, type[Any]], values: dict[str, Any], where: str) -> tuple[Any, dict[str, Any]]:
    """The dataclass of a part that is one of several, and its fields."""
    _require_object(values, where)
    kind = values.get("kind", next(iter(table)))  # runs of the first version have no kind
    if not isinstance(kind, str) or kind not in table:
        near = difflib.get_close_matches(str(kind), table, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(
            f"{where}: unknown kind {kind!r}{hint}; was the run made with a plugin, or by a newer version?"
        )
    return table[kind], {name: value for name, value in values.items() if name != "kind"}


def _require_object(values: Any, where: str) -> None:
    if not isinstance(values, dict):
        raise TypeError(f"{where} is {values!r}, not an object")
