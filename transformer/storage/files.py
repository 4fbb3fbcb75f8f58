"""Files of a run: atomic writes, and JSON that may be damaged.

A reader finds the old file or the new one, never a part of either.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformer.errors import TransformerError


class DamagedFileError(TransformerError):
    """A file is damaged."""


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as indented JSON, atomically; in ASCII if a file name is not UTF-8."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(values, indent=2)
    write_text(path, text + "\n")


def write_text(path: Path, text: str, newline: str = "\n") -> None:
    """Write text atomically: to `<name>.new` first, which then replaces the file.

    A symbolic link stays a link, and an existing file keeps its mode.
    """
    path = path.resolve()
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8", newline=newline)
    if path.exists():
        shutil.copymode(path, new)
    new.replace(path)


@contextmanager
def complete(folder: Path) -> Iterator[Path]:
    """A folder to write into, which appears under its name when it is complete.

    Until then it is in a new folder next to it, which is removed in any case. Nothing that exists is touched.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as hidden:
        unfinished = Path(hidden) / folder.name
        unfinished.mkdir()
        yield unfinished
        unfinished.rename(folder)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        DamagedFileError: it holds anything else; the message names the file and the line.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        return _object(path.read_bytes())
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from None


def read_objects(path: Path) -> dict[int, dict[str, Any] | None]:
    """The JSON objects of a file with one on each line, by the line's number; None for a damaged line.

    An unterminated last line is left out: it is still being written, or a crash truncated it. Raises OSError if the
    file cannot be read.
    """
    found: dict[int, dict[str, Any] | None] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            found[number] = _object(line)
        except ValueError:
            found[number] = None
    return found


def _object(content: bytes) -> dict[str, Any]:
    """Raises ValueError, which says what is wrong."""
    try:
        values = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise ValueError(f"line {line} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}" if content.strip() else "it is empty") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError(f"it holds {str(values)[:40]}, not an object")
    return values
