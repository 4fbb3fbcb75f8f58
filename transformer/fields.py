"""Types and ranges of settings, which are the annotations of their fields."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from annotated_types import Ge, Interval

from transformer.errors import UsageError


def check(part: Any, prefix: str = "--") -> None:
    """Refuse a field of a wrong type or out of range, including the parts of a part: settings that are made in Python
    or read from a file are only checked here.

    Args:
        part: a dataclass.
        prefix: of the flags of its fields.

    Raises UsageError that names the flag.
    """
    for name, hint, value in _annotated(part):
        flag = f"{prefix}{name}".replace("_", "-")
        plain, limits = (typing.get_args(hint)[0], hint.__metadata__) if _is_annotated(hint) else (hint, ())
        if not _fits(value, plain):
            wanted = plain.__name__ if isinstance(plain, type) else str(plain).replace("typing.", "")
            raise UsageError(f"{flag} is {value!r}: it must be {wanted}")
        for limit in limits:
            _range(flag, value, limit)
        if dataclasses.is_dataclass(value):
            check(value, f"{prefix}{name}.")


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
    """Whether a value has a type that settings use; an int is accepted as a float, a bool as neither."""
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
