"""Atomic writes: a reader finds the old file or the new one, never a part of either."""

import json
import shutil
from pathlib import Path
from typing import Any


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as indented JSON, atomically; in ASCII where a name of a file is not UTF-8."""
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
