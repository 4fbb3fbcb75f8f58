"""The reference as Markdown, from the code itself: commands, settings, recipes, and the entries of the tables."""

import ast
import contextlib
import dataclasses
import inspect
import io
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from annotated_types import Ge, Interval

from transformer import cli, recipes
from transformer.commands.table import COMMANDS
from transformer.config import Cluster, Config
from transformer.models.families import FAMILIES
from transformer.tasks.table import TASKS

KINDS: dict[str, Mapping[str, type[Any]]] = {"task": TASKS, "model": FAMILIES}
"""Parts that are one of several."""
TYPES = {str: "text", int: "integer", float: "number", bool: "True|False"}


def commands() -> str:
    """A section for each command, with its own help."""
    sections = [
        f"(command-{name.replace(' ', '-')})=\n## `transformer {name}`\n\n```text\n{help_of(name)}\n```\n"
        for name in COMMANDS
    ]
    return "\n".join(sections)


def help_of(name: str) -> str:
    """What `transformer NAME --help` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        cli.parse([*name.split(), "--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def settings() -> str:
    """A section for each part of a `Config`, with every setting as an option; then the settings of the process."""
    parts: list[tuple[str, str, Any, Any]] = []
    whole = Config()
    own = [f for f in dataclasses.fields(Config) if not dataclasses.is_dataclass(getattr(whole, f.name))]
    for field in dataclasses.fields(Config):
        value = getattr(whole, field.name)
        kinds = KINDS.get(field.name)
        if kinds is not None:
            parts += [(f"{field.name}: {name}", field.name, cls, _default(cls)) for name, cls in kinds.items()]
        elif dataclasses.is_dataclass(value):
            parts.append((field.name, field.name, type(value), value))
    parts.append(("cluster", "cluster", Cluster, Cluster()))
    text = ["```{program} transformer train\n```\n", *(_option(Config, f, f.name, getattr(whole, f.name)) for f in own)]
    for title, prefix, cls, value in parts:
        text.append(f"(settings-{title.replace(': ', '-').replace('_', '-')})=\n## {title}\n\n{_doc(cls)}\n")
        text += _options(cls, value, prefix)
    return "\n".join(text)


def _default(cls: type[Any]) -> Any:
    """Its default settings, without those that have no default (parts that are models themselves)."""
    found = types.SimpleNamespace()
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            setattr(found, field.name, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            setattr(found, field.name, field.default_factory())
    return found


def _options(cls: type[Any], value: Any, prefix: str) -> Iterator[str]:
    """The settings of a dataclass, and then those of its parts."""
    inner = []
    for field in dataclasses.fields(cls):
        own = getattr(value, field.name, None)
        if dataclasses.is_dataclass(own):
            inner.append((field.name, own))
        elif hasattr(value, field.name):
            yield _option(cls, field, f"{prefix}.{field.name}", own)
    for name, part in inner:
        yield f"### {prefix}.{name}\n\n{_doc(type(part))}\n"
        yield from _options(type(part), part, f"{prefix}.{name}")


def _option(cls: type[Any], field: Any, path: str, default: Any) -> str:
    hint = typing.get_type_hints(cls, include_extras=True)[field.name]
    flag = "--" + path.replace("_", "-")
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    facts = [f"Default: `{shown}`" if shown else "Default: empty", *_range(hint)]
    about = field_docs(cls).get(field.name, "")
    return f"```{{option}} {flag} <{_type(hint)}>\n{about}\n\n{'; '.join(facts)}.\n```\n"


def _type(hint: Any) -> str:
    """The type of a setting, as a user writes it."""
    kind, items = typing.get_origin(hint), typing.get_args(hint)
    if kind is typing.Annotated:
        return _type(items[0])
    if kind is typing.Literal:
        return "|".join(map(str, items))
    if kind is tuple:
        return f"{_type(items[0])} ..." if items[-1] is ... else " ".join(map(_type, items))
    if kind in (typing.Union, types.UnionType):
        return "|".join(_type(item) for item in items if item is not type(None))
    return TYPES.get(hint, getattr(hint, "__name__", str(hint)))


def _range(hint: Any) -> list[str]:
    """Its range in words, if it has one."""
    for limit in getattr(hint, "__metadata__", ()):
        if isinstance(limit, Interval):
            return [f"from {limit.ge} to {limit.le}"]
        if isinstance(limit, Ge):
            return [f"at least {limit.ge}"]
    return []


def field_docs(cls: type[Any]) -> dict[str, str]:
    """The docstring below each field of a class, its bases included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        with contextlib.suppress(OSError, TypeError):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            body = getattr(tree, "body", [])
            for field, doc in pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr):
                    found[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(doc.value))
    return found


def _doc(item: Any) -> str:
    return inspect.cleandoc(item.__doc__ or "")


def recipes_page() -> str:
    """A section for each recipe: the docstring of its file."""
    sections = []
    for name in recipes.names():
        tree = ast.parse((recipes.folder() / f"{name}.py").read_text(encoding="utf-8"))
        sections.append(f"(recipe-{name})=\n## `{name}`\n\n{_fenced(ast.get_docstring(tree) or '')}\n")
    return "\n".join(sections)


def _fenced(text: str) -> str:
    """Paragraphs that are commands become blocks of code."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        f"```sh\n{textwrap.dedent(part)}\n```" if part.strip().startswith("transformer ") else part
        for part in paragraphs
    )


def scores() -> str:
    """A table of the registered attention scores."""
    from transformer.attention.scores import SCORES, Sizes

    sizes = Sizes(query=3, memory=5, hidden=7, positions=11)
    letters = {3: "Q", 5: "M", 7: "A", 8: "Q + M", 11: "positions"}
    rows = []
    for name, score in SCORES.items():
        if SCORES.file_of(name) is not None:
            continue
        shown = _parameters(score.weights(sizes), letters)
        widths = "yes" if score.equal_widths else "no"
        rows.append(f"| [`{name}`](#score-{name.replace('_', '-')}) | {shown} | {widths} |")
    return "\n".join(["| score | parameters | equal widths needed |", "|---|---|---|", *rows]) + "\n"


def windows() -> str:
    """A table of the registered windows."""
    from transformer.attention.scores import Sizes
    from transformer.attention.windows import WINDOWS

    sizes = Sizes(query=3, memory=5, hidden=7, positions=11)
    letters = {3: "Q", 7: "A"}
    rows = []
    for name, window in WINDOWS.items():
        if WINDOWS.file_of(name) is not None:
            continue
        shown = _parameters(window.weights(sizes), letters)
        length = "yes" if window.needs_lengths else "no"
        rows.append(f"| [`{name}`](#window-{name.replace('_', '-')}) | {shown} | {length} |")
    return "\n".join(["| window | parameters | needs the sentence's length |", "|---|---|---|", *rows]) + "\n"


def normalizers() -> str:
    """A table of the registered normalizers."""
    from transformer.attention.normalizers import NORMALIZERS
    from transformer.attention.scores import Sizes

    rows = []
    for name, entry in NORMALIZERS.items():
        if NORMALIZERS.file_of(name) is not None:
            continue
        shown = ", ".join(entry.weights(Sizes(query=3, memory=5, hidden=7, positions=11))) or "none"
        guided = "yes" if entry.can_be_guided else "no"
        rows.append(f"| [`{name}`](#normalizer-{name.replace('_', '-')}) | {shown} | {guided} |")
    head = "| normalizer | parameters of each head | can be guided (`--task.guided.weight`) |"
    return "\n".join([head, "|---|---|---|", *rows]) + "\n"


def families() -> str:
    """A table of the model families."""
    rows = [f"| [`{name}`](../reference/settings.md#settings-model-{name}) | {_doc(cls).splitlines()[0]} |"
            for name, cls in FAMILIES.items() if FAMILIES.file_of(name) is None]  # fmt: skip
    return "\n".join(["| family | |", "|---|---|", *rows]) + "\n"


def _parameters(weights: dict[str, Any], letters: dict[int, str]) -> str:
    """Names and shapes of initial weights; `letters` are the names of their sizes."""
    import jax

    shapes = {name: start(jax.random.key(0)).shape for name, start in weights.items()}
    return ", ".join(f"{name} [{', '.join(letters[n] for n in shape)}]" for name, shape in shapes.items()) or "none"
