"""Checksums of a folder's files, which show whether storage returns what was written, and short digests of values.

A checksum is a CRC-32 of 8 digits: it misses random damage once in 4 billion times, and is several times as fast as a
cryptographic hash, which matters for gigabytes that are checked whenever they are opened. Those of version 0.1 are
BLAKE2b hashes of 40 digits.
"""

import hashlib
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transformer.storage.files import DamagedFileError, read_object, write_json

BLOCK = 1 << 20
"""Bytes read at a time; long blocks are summed without Python's lock, so that several files are read in parallel."""


def write(folder: Path, path: Path) -> None:
    """Write the size and checksum of every file below a folder to `path`, as JSON. `path` may be one of them, and
    is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {path, path.with_name(path.name + ".new")}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file not in own)
    with ThreadPoolExecutor() as pool:
        found = zip(files, pool.map(_hash, files), strict=True)
        write_json(path, {file.relative_to(folder).as_posix(): [file.stat().st_size, value] for file, value in found})


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
    with ThreadPoolExecutor() as pool:
        for name, intact in zip(names, pool.map(lambda n: _is_intact(folder / n, expected[n][1]), names), strict=True):
            if not intact:
                return f"{name} is not what was written"
    return None


def short_digest(values: Any, *, sort_keys: bool = False) -> str:
    """12 hexadecimal digits of the SHA-256 of JSON values; with `sort_keys`, the order of keys does not matter."""
    return hashlib.sha256(json.dumps(values, sort_keys=sort_keys).encode()).hexdigest()[:12]


def _is_intact(file: Path, content: str) -> bool:
    return content == (_hash(file) if len(content) == 8 else _long_hash(file))


def _hash(file: Path) -> str:
    value = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _long_hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
