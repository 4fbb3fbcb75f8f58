"""Checksums of a folder's files, which show whether storage returns what was written, and short digests of values."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transformer.storage.files import DamagedFileError, read_object, write_json


def write(folder: Path, path: Path) -> None:
    """Write the size and hash of every file below a folder to `path`, as JSON; `path` itself may be one of them, and is
    left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {path, path.with_name(path.name + ".new")}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file not in own)
    hashes = zip(files, _hash_all(files), strict=True)
    write_json(path, {file.relative_to(folder).as_posix(): [file.stat().st_size, found] for file, found in hashes})


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
        expected = {name: (int(size), str(content)) for name, (size, content) in read_object(path).items()}
    except FileNotFoundError:
        return None
    except (DamagedFileError, TypeError, ValueError):
        return f"{path} is itself damaged"
    names = [name for name in expected if name.startswith(prefix)]
    for name in names:
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if (found := file.stat().st_size) != expected[name][0]:
            return f"{name} has {found} bytes, not {expected[name][0]}"
    for name, content in zip(names, _hash_all(folder / name for name in names), strict=True):
        if content != expected[name][1]:
            return f"{name} is not what was written"
    return None


def short_digest(values: Any, *, sort_keys: bool = False) -> str:
    """12 hexadecimal digits of the SHA-256 of JSON values; with `sort_keys`, the order of keys does not matter."""
    return hashlib.sha256(json.dumps(values, sort_keys=sort_keys).encode()).hexdigest()[:12]


def _hash_all(files: Iterable[Path]) -> Iterator[str]:
    """The hash of each file, by several threads: hashing releases Python's lock."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(_hash, files)


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
