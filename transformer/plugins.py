"""User-defined parts from outside the package: scores, windows, normalizers, families and tasks in a Python file.

A plugin is a file that adds entries to the tables of the package (`attention.scores.SCORES`,
`attention.windows.WINDOWS`, `attention.normalizers.NORMALIZERS`, `models.families.FAMILIES`, `tasks.table.TASKS`). It
is executed because the command line names it (`--plugin FILE`) or because a recipe or study imports it, never because a
run directory names it. A run records the files that registered the parts that its settings use; later commands need the
same files.
"""

import dataclasses
import hashlib
import importlib.util
import logging
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from transformer.errors import TransformerError, UsageError

log = logging.getLogger(__name__)

FLAG = "--plugin"
T = TypeVar("T")


class MissingPluginError(UsageError):
    """A run needs a plugin that was not given."""


@dataclasses.dataclass(frozen=True)
class NameIn:
    """Annotation of a setting whose value is the name of an entry: `Annotated[str, NameIn("score")]`."""

    table: str
    """The kind of the table's entries."""


class Table(dict[str, T]):
    """Entries by name, the package's own and those of plugins, which are added like those of any dict.

    Raises UsageError for a name that is built in, or that another file has registered.
    """

    def __init__(self, kind: str, builtin: Mapping[str, T]):
        super().__init__(builtin)
        self.kind = kind
        self._files: dict[str, str] = {}
        _tables[kind] = self

    def __setitem__(self, name: str, entry: T) -> None:
        file = _caller()
        if name in self and self._files.get(name) != file:
            owner = f"{self._files[name]} has registered too" if name in self._files else "is built in"
            raise UsageError(f"{file} registers the {self.kind} {name!r}, which {owner}: give it another name")
        _hashes[file] = _sha256(Path(file))
        self._files[name] = file
        super().__setitem__(name, entry)

    def __delitem__(self, name: str) -> None:
        self._files.pop(name, None)
        super().__delitem__(name)

    def update(self, *entries: Any, **named: T) -> None:
        for name, entry in dict(*entries, **named).items():
            self[name] = entry

    def setdefault(self, name: str, default: T = None) -> T:  # type: ignore[assignment]
        if name not in self:
            self[name] = default
        return self[name]

    def __ior__(self, entries: Any) -> "Table[T]":  # type: ignore[override,misc]
        self.update(entries)
        return self

    def file_of(self, name: str) -> str | None:
        """The file that registered an entry; None for a built-in one."""
        return self._files.get(name)

    def forget(self, file: str) -> None:
        """Remove what a file registered."""
        for name in [name for name, owner in self._files.items() if owner == file]:
            del self[name]


_tables: dict[str, Table[Any]] = {}
_hashes: dict[str, str] = {}
"""SHA-256 of each file that registered something, when it did."""
_loaded: dict[str, str] = {}
"""SHA-256 of each file that was loaded as a plugin, by its absolute path."""
_warned: set[tuple[str, str]] = set()


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files that `--plugin` names in a command line, and the arguments without them. Raises UsageError."""
    files, rest, left = [], [], iter(arguments)
    for word in left:
        flag, equals, value = word.partition("=")
        if flag != FLAG:
            rest.append(word)
            continue
        file = value if equals else next(left, "")
        if not file or file.startswith("--"):
            raise UsageError(f"{FLAG} needs a file")
        files.append(file)
    return files, rest


def load(files: Iterable[str | Path]) -> None:
    """Execute plugins that are not loaded yet. Raises UsageError."""
    for given in files:
        file = Path(given).expanduser().resolve()
        if str(file) in _loaded:
            continue
        if not file.is_file():
            raise UsageError(f"{FLAG}={given}: there is no such file")
        try:
            execute(file)
        except (TransformerError, KeyboardInterrupt):
            raise
        except BaseException as error:  # also SystemExit, and classes of the file itself
            raise UsageError(f"{FLAG}={given} failed: {type(error).__name__}: {error}") from error
        _loaded[str(file)] = _sha256(file)


def loaded() -> list[tuple[str, str]]:
    """Absolute path and SHA-256 of each plugin, in the order of loading."""
    return list(_loaded.items())


def arguments() -> list[str]:
    """The part of a command line that loads the same plugins in another process."""
    return [word for file in _loaded for word in (FLAG, file)]


def execute(file: Path) -> ModuleType:
    """Execute a Python file as its own module, so that its classes can be found by their names.

    If it fails, the entries that it registered are removed.
    """
    file = file.resolve()
    name = f"plugin_{re.sub(r'[^0-9A-Za-z]', '_', file.stem)}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None:
        raise UsageError(f"{file} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Not by the loader, which would leave a __pycache__ next to the user's file.
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        for table in _tables.values():
            table.forget(str(file))
        raise
    return module


def needed(settings: Any) -> list[dict[str, Any]]:
    """The plugins that settings use, as a run records them: `file`, `sha256`, and the used entries that it
    `registers`."""
    files: dict[str, list[str]] = {}
    for kind, name in dict.fromkeys(_names(settings)):
        table = _tables.get(kind)
        if table is not None and (file := table.file_of(name)) is not None:
            files.setdefault(file, []).append(f"{kind} {name}")
    return [{"file": file, "sha256": _hashes[file], "registers": names} for file, names in files.items()]


def require(records: Iterable[Mapping[str, Any]], run: Path) -> None:
    """Check that the plugins of a run are loaded; a changed file causes a warning.

    Raises:
        MissingPluginError: one is not.
    """
    for record in records:
        file, sha256 = str(record["file"]), str(record["sha256"])
        found = [_file_of(entry) for entry in record["registers"]]
        if None in found:
            missing = record["registers"][found.index(None)]
            raise MissingPluginError(
                f"{run} needs the plugin {file} (sha256 {sha256[:12]}), which registers the {missing}: give "
                f"{FLAG} {file}"
            )
        for other in dict.fromkeys(map(str, found)):
            if _hashes[other] != sha256 and (str(run), other) not in _warned:
                _warned.add((str(run), other))
                log.warning(
                    "%s was made with the plugin %s of sha256 %s; %s now has %s",
                    *(run, file, sha256[:12], other, _hashes[other][:12]),
                )


def _file_of(entry: str) -> str | None:
    """The file that registered an entry; None if it is not registered."""
    kind, name = entry.rsplit(" ", 1)
    return None if kind not in _tables else _tables[kind].file_of(name)


def _names(part: Any) -> Iterator[tuple[str, str]]:
    """Table and name of every entry that settings use: by name, or as an instance."""
    for table in _tables.values():
        yield from ((table.kind, name) for name, entry in table.items() if entry is type(part))
    hints = typing.get_type_hints(type(part), include_extras=True)
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        for mark in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(mark, NameIn):
                yield mark.table, value
        for inner in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(inner):
                yield from _names(inner)


def _caller() -> str:
    """The file whose code adds an entry, as an absolute path."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    file = frame.f_code.co_filename
    return str(Path(file).resolve()) if Path(file).is_file() else file


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
