"""Checksums: of a checkpoint's files, whether what is read is what was written, which storage does not promise; and of
plain values, whether they are those of before."""

import hashlib
import json
from pathlib import Path
from typing import Any

from transformer.training.run_directory import write_json


def write(folder: Path, path: Path) -> None:
    """Keep size and hash of every file below a folder, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    write_json(path, {file.relative_to(folder).as_posix(): [file.stat().st_size, _hash(file)] for file in files})


def damage(folder: Path, path: Path, below: str = "") -> str | None:
    """What is wrong with the files below a folder, for a person; None where they are as `write` found them, and where
    nothing was kept of them. `below`: only of files whose path begins so.

    Raises OSError when a file is there and cannot be read, which says nothing of what is in it.
    """
    try:
        known: dict[str, tuple[int, str]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return f"{path} is itself damaged"
    for name, (size, content) in known.items():
        if not name.startswith(below):
            continue
        file = folder / name
        try:
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size} bytes, not {size}"
            if _hash(file) != content:
                return f"{name} is not what was written"
        except FileNotFoundError:
            return f"{name} is missing"
    return None


def short(values: Any, *, sort_keys: bool = False) -> str:
    """12 hexadecimal digits that stand for values that JSON knows; `sort_keys` where their order says nothing."""
    return hashlib.sha256(json.dumps(values, sort_keys=sort_keys).encode()).hexdigest()[:12]


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
