"""Settings of a wrong type, out of range, or that cannot work together, refused before anything is done.

Types and ranges are the annotations of the fields. What a part refuses by itself is its own `check` (a family's, a
task's); what several parts have to agree on is here.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from annotated_types import Ge, Interval

from transformer.config import Config
from transformer.data.config import Data
from transformer.decoding import config as decoding_config
from transformer.errors import UsageError


def everything(config: Config) -> None:
    """Refuse settings that cannot work, naming the flag. Raises UsageError."""
    _fields(config)
    data, tokenizer, training = config.data, config.tokenizer, config.training
    for part in (data.filter, tokenizer, config.schedule, config.optimizer, config.model, training):
        part.check()
    decoding(config)
    config.task.check(config)
    if config.schedule.name == "noam" and not hasattr(config.model, "width"):
        raise UsageError(
            f"--schedule.name=noam follows --model.width, and a {type(config.model).__name__} has none: give another"
        )
    _mixture(config.data)
    _batches(config)


def decoding(config: Config, flags: str = "--decoding.") -> None:
    """Refuse settings of a search that are out of range, or do not go with the model.

    Args:
        config: with `decoding` to be checked.
        flags: what the names of the search's settings begin with where the user gives them.

    Raises UsageError.
    """
    _fields(config.decoding, flags)
    decoding_config.check(config.decoding, config.tokenizer.kind, getattr(config.model, "attention", None), flags)


def _batches(config: Config) -> None:
    batching, training, data = config.batching, config.training, config.data
    longest = -(-data.max_length // batching.length_multiple) * batching.length_multiple
    limit = getattr(config.model, "max_length", None)
    if limit is not None and longest > limit:
        raise UsageError(
            f"--data.max-length={data.max_length} (rounded up to --batching.length-multiple="
            f"{batching.length_multiple}) is longer than --model.max-length={limit}"
        )
    rows = batching.batch_multiple * training.accumulate
    if batching.rows % rows:
        raise UsageError(
            f"--batching.rows={batching.rows} must be a multiple of {rows} (--batching.batch-multiple="
            f"{batching.batch_multiple} x --training.accumulate={training.accumulate})"
        )
    if not batching.rows and batching.tokens < rows * longest:
        raise UsageError(
            f"--batching.tokens={batching.tokens} holds no batch of {rows} rows of {longest} tokens: "
            f"raise it to {rows * longest} or lower --data.max-length or --batching.batch-multiple"
        )


def _mixture(data: Data) -> None:
    if not data.weights:
        return
    if len(data.weights) != 1 + len(data.also):
        raise UsageError(
            f"--data.weights has {len(data.weights)} shares for {1 + len(data.also)} corpora (--data.train and those "
            "of --data.also)"
        )
    if not all(0 <= weight < math.inf for weight in data.weights) or not sum(data.weights):
        raise UsageError(f"--data.weights {' '.join(map(str, data.weights))}: shares are 0 or more, and not all 0")
    if data.temperature != 1:
        raise UsageError("--data.temperature makes shares out of sizes, and --data.weights gives them: take one")


def _fields(part: Any, prefix: str = "--") -> None:
    """Every field, and those of its parts: settings made in Python have no types but what this checks."""
    for name, hint, value in _annotated(part):
        flag = f"{prefix}{name}".replace("_", "-")
        plain, limits = (typing.get_args(hint)[0], hint.__metadata__) if _is_annotated(hint) else (hint, ())
        if not _fits(value, plain):
            wanted = plain.__name__ if isinstance(plain, type) else str(plain).replace("typing.", "")
            raise UsageError(f"{flag} is {value!r}: it must be {wanted}")
        for limit in limits:
            _range(flag, value, limit)
        if dataclasses.is_dataclass(value):
            _fields(value, f"{prefix}{name}.")


def _annotated(part: Any) -> Iterator[tuple[str, Any, Any]]:
    hints = typing.get_type_hints(type(part), include_extras=True)
    for one in dataclasses.fields(part):
        yield one.name, hints[one.name], getattr(part, one.name)


def _is_annotated(hint: Any) -> bool:
    return typing.get_origin(hint) is Annotated


def _range(flag: str, value: Any, limit: Any) -> None:
    if not isinstance(limit, Ge | Interval):
        return
    low, high = typing.cast(Any, limit).ge, getattr(limit, "le", None)
    high = math.inf if high is None else high
    if not low <= value <= high or value == math.inf:  # NaN is in no range
        limits = f"at least {low}" if high == math.inf else f"from {low} to {high}"
        raise UsageError(f"{flag} must be {limits}, not {value}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type that settings have; an int serves as a float, a bool as neither."""
    if _is_annotated(hint):
        return _fits(value, typing.get_args(hint)[0])
    kind, items = typing.get_origin(hint), typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, item) for item in items)
    if kind is typing.Literal:
        return any(type(value) is type(item) and value == item for item in items)
    if kind is tuple:
        wanted = items[:1] * len(value) if items[-1] is ... and isinstance(value, tuple) else items
        return isinstance(value, tuple) and len(value) == len(wanted) and all(map(_fits, value, wanted))
    if hint in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if hint is float else hint)
