"""Checksums of a folder's files, which show whether storage returns what was written, and short digests of values."""

import hashlib
import json
from pathlib import Path
from typing import Any

from transformer.storage.files import DamagedFileError, read_object, write_json


def write(folder: Path, path: Path) -> None:
    """Write the size and hash of every file below a folder to `path`, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    write_json(path, {file.relative_to(folder).as_posix(): [file.stat().st_size, _hash(file)] for file in files})


def find_damage(folder: Path, path: Path, prefix: str = "") -> str | None:
    """Compare the files below a folder with the checksums that `write` wrote to `path`.

    Args:
        folder: whose files are read.
        path: of the checksums.
        prefix: only files whose relative path begins with it are compared.

    Returns:
        A message that describes the first difference; None if the files are intact or `path` does not exist.

    Raises:
        OSError: a file exists but cannot be read, which says nothing about its content.
    """
    try:
        known = read_object(path)
    except FileNotFoundError:
        return None
    except DamagedFileError:
        return f"{path} is itself damaged"
    for name, written in known.items():
        if not name.startswith(prefix):
            continue
        file = folder / name
        try:
            size, content = written
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size} bytes, not {size}"
            if _hash(file) != content:
                return f"{name} is not what was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except (TypeError, ValueError):
            return f"{path} is itself damaged"
    return None


def short_digest(values: Any, *, sort_keys: bool = False) -> str:
    """12 hexadecimal digits of the SHA-256 of JSON values; with `sort_keys`, the order of keys does not matter."""
    return hashlib.sha256(json.dumps(values, sort_keys=sort_keys).encode()).hexdigest()[:12]


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
