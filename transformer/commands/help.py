"""The options of a command, read from its dataclass, and its help as text that fits the terminal.

tyro parses the command line. Its own help breaks lines at digits and quotes, and keeps no settings together.
"""

import ast
import dataclasses
import inspect
import os
import re
import shutil
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import tyro

WIDTH, INDENT = 100, 26
"""The longest line, and the column in which the help of an option begins."""
MISSING = (tyro.MISSING, dataclasses.MISSING)
"""The values of required arguments."""


class Option(NamedTuple):
    """An option or a positional argument of a command."""

    name: str
    """`--training.steps`, or `RECIPE`."""
    takes: str
    """Its value: INT, `{adam,sgd}`; "" for a flag."""
    choices: tuple[str, ...]
    """The values that it accepts, if they are few."""
    help: str
    default: str
    """In parentheses after the help; "" for nothing."""
    group: str
    """The dataclass that has it: `data.filter`; "" for the command's own."""

    @property
    def positional(self) -> bool:
        """Whether it is given without its name."""
        return not self.name.startswith("--")

    @property
    def summary(self) -> str:
        """The first sentence of the help."""
        return re.split(r"[.:;] ", self.help, maxsplit=1)[0].rstrip(".") + "."


def render(name: str, command: Any, first: Sequence[str] = (), note: str = "") -> str:
    """The help of a command.

    Args:
        name: of the command.
        command: its dataclass, or an instance whose values are the defaults.
        first: options that are shown before all others, in short.
        note: a last paragraph.
    """
    every = options(command)
    words = [option for option in every if option.positional]
    takes = " ".join([name, *(f"[{one.name}]" if "default" in one.default else one.name for one in words), "[options]"])
    parts = [f"usage: transformer {takes}", _paragraphs(inspect.getdoc(_class(command)) or "", 0)]
    if words:
        parts.append(_section("arguments", words))
    named = {option.name: option for option in every}
    if common := [named[flag]._replace(help=named[flag].summary) for flag in first if flag in named]:
        parts.append(_section("settings that are changed most often; all are below", common))
    groups = dict.fromkeys(option.group for option in every if not option.positional)
    about = descriptions(command)
    for group in groups:
        title = f"{group}: {about[group]}" if group else "options"
        parts.append(_section(title, [one for one in every if one.group == group and not one.positional]))
    return "\n\n".join([*parts, _paragraphs(note, 0)]) if note else "\n\n".join(parts)


def options(command: Any) -> list[Option]:
    """The words and options of a command: a dataclass, or an instance whose values are the defaults."""
    return [option for part in _parts(command) for option in part.options]


def descriptions(command: Any) -> dict[str, str]:
    """The description of each group's dataclass, by the group's name."""
    return {part.group: part.about for part in _parts(command) if part.group}


class _Part(NamedTuple):
    group: str
    about: str
    options: list[Option]


def _parts(part: Any, prefix: str = "", group: str = "", about: str = "", flags: bool = True) -> Iterator[_Part]:
    """A dataclass and those in it. `flags`: booleans are options without a value."""
    cls, docs = _class(part), _documented(_class(part))
    hints, own, inner = typing.get_type_hints(cls, include_extras=True), list[Option](), list[Any]()
    for field in dataclasses.fields(cls):
        hint, marks = _unwrapped(hints[field.name])
        value = _value(part, field)
        said = next((mark for mark in marks if hasattr(mark, "help_behavior_hint")), None)
        if dataclasses.is_dataclass(value):
            nested = f"{prefix}{field.name}".replace("_", "-")
            unnamed = said is not None and said.name == ""
            text = docs.get(field.name) or _flat(inspect.getdoc(type(value)) or "").split("\n")[0]
            with_flags = flags and tyro.conf.FlagConversionOff not in marks
            inner.append((value, prefix if unnamed else f"{nested}.", nested, text, with_flags))
            continue
        text = docs.get(field.name) or (said.help if said else "") or ""
        default = said.help_behavior_hint if said else None
        if tyro.conf.Positional in marks:
            word = said.metavar if said else field.name.upper()
            own.append(Option(word, "", (), text, "" if value in MISSING else _default(value), group))
            continue
        choices = () if hint is bool and flags else _choices(hint)
        takes = "" if hint is bool and flags else _takes(hint)
        if default is None:
            default = "" if not takes else _default(value)
        flag = f"--{prefix}{field.name}".replace("_", "-")
        own.append(Option(flag, takes, choices, text, default, group))
    yield _Part(group, about, own)
    for value, below, name, text, with_flags in inner:
        yield from _parts(value, below, name, text, with_flags)


def _class(part: Any) -> Any:
    return part if isinstance(part, type) else type(part)


def _value(part: Any, field: Any) -> Any:
    """The value of a field: the instance's, or the default."""
    if not isinstance(part, type):
        return getattr(part, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _documented(cls: type) -> dict[str, str]:
    """The docstring of each field, on one line; none of a class whose source is not a file."""
    found = {}
    for base in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        try:
            body: Any = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        except (OSError, TypeError):
            continue
        for field, text in zip(body.body, body.body[1:], strict=False):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
                found[field.target.id] = _flat(inspect.cleandoc(text.value.value))
    return found


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without annotations and without None, and the annotations."""
    marks: tuple[Any, ...] = ()
    while True:
        if get_origin(hint) is Annotated:
            marks = (*marks, *hint.__metadata__)
            hint = get_args(hint)[0]
        elif get_origin(hint) in (typing.Union, types.UnionType):
            hint = next(one for one in get_args(hint) if one is not type(None))
        else:
            return hint, marks


def _choices(hint: Any) -> tuple[str, ...]:
    if hint is bool:
        return "True", "False"
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    return _choices(_unwrapped(get_args(hint)[0])[0]) if get_origin(hint) is tuple else ()


def _takes(hint: Any) -> str:
    """The values of an option: INT, `{a,b}`, `STR STR`, `INT ...`."""
    if get_origin(hint) is tuple:
        first, *rest = get_args(hint)
        each = [_takes(_unwrapped(one)[0]) for one in (first, *rest) if one is not Ellipsis]
        return f"{each[0]} ..." if Ellipsis in rest else " ".join(each)
    choices = _choices(hint)
    return "{" + ",".join(choices) + "}" if choices else str(getattr(hint, "__name__", "str")).upper()


def _default(value: Any) -> str:
    """The text for a default; "" for an empty one, which the help explains."""
    if value is dataclasses.MISSING:
        return "(required)"
    if value in (None, "", ()):
        return ""
    return f"(default: {' '.join(map(str, value)) if isinstance(value, tuple) else value})"


def _flat(text: str) -> str:
    """Paragraphs, each on one line."""
    return "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))


def _width() -> int:
    return min(WIDTH, shutil.get_terminal_size().columns)


def _fill(text: str, indent: int) -> str:
    width = max(20, _width() - indent)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(" " * indent + line for line in lines)


def _paragraphs(text: str, indent: int) -> str:
    return "\n\n".join(_fill(line, indent) for line in _flat(text).split("\n"))


def _section(title: str, listed: Sequence[Option]) -> str:
    return "\n".join([_bold(_fill(title, 0)), *map(_entry, listed)])


def _entry(option: Option) -> str:
    """An option with its help next to it, or below it if it is long."""
    head = f"  {option.name} {option.takes}".rstrip()
    text = _fill(f"{option.help} {option.default}".strip(), INDENT)
    shown = head.replace(option.name, _bold(option.name), 1)
    if len(head) > INDENT - 2:
        return f"{shown}\n{text}".rstrip()
    return shown + " " * (INDENT - len(head)) + text.lstrip()


def _bold(text: str) -> str:
    """Bold if standard output is a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
