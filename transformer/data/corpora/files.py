"""Text files with one sentence per line, plain or .gz.

Only "\n" ends a line: U+2028, form feeds and the like are part of a sentence. Text is UTF-8; a byte order mark, a "\r"
before the end of the line, and whitespace at either end of a sentence are stripped.
"""

import glob
import gzip
import os
import zlib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import IO, cast

from transformer.errors import TransformerError
from transformer.plurals import counted


def find_file(prefix: str, language: str) -> Path:
    """The file of a language: `prefix.en`, or `prefix` with `{lang}` replaced; else the same with .gz.

    Raises TransformerError, which lists similar files, if neither exists.
    """
    pattern = prefix if "{lang}" in prefix else prefix + ".{lang}"
    pattern = str(Path(pattern).expanduser())
    plain = Path(pattern.replace("{lang}", language))
    zipped = plain.with_name(plain.name + ".gz")
    for path in (plain, zipped):
        if path.exists():
            return path
    wildcard = glob.escape(pattern).replace("{lang}", "*")
    similar = {path for suffix in ("", ".gz") for path in glob.glob(wildcard + suffix)}  # noqa: PTH207
    names = sorted(Path(path).name if "{lang}" in Path(pattern).name else path for path in similar)
    raise TransformerError(f"no such file: {plain} or {zipped} (found: {', '.join(names) or 'nothing like it'})")


def stream_lines(path: Path | None) -> Iterator[str]:
    """Iterate over the sentences of a text file, plain or .gz, or of standard input (None).

    Raises TransformerError with the file and the line.
    """
    number, name = 0, path or "standard input"
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8")
                yield (text.removeprefix("\ufeff") if number == 1 else text).strip()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise TransformerError(f"{name}, line {number}: not UTF-8 (byte 0x{byte:02x} at {error.start + 1})") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TransformerError(f"{path}: broken gzip file after line {number} ({error})") from None
    except FileNotFoundError:
        raise TransformerError(f"no such file: {path}") from None
    except OSError as error:
        raise TransformerError(f"{name}: cannot be read ({error.strerror or error})") from None


def _open(path: Path | None) -> IO[bytes]:
    if path is None:
        return os.fdopen(os.dup(0), "rb")  # a copy, so that standard input itself stays open
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def read_lines(path: Path) -> list[str]:
    """All sentences of a text file, plain or .gz; an empty file gives an empty list. Raises as `stream_lines`."""
    return list(stream_lines(path))


def read_parallel(*paths: Path) -> list[list[str]]:
    """The sentences of parallel files.

    Raises like `stream_lines`, and TransformerError for an empty file and for different numbers of lines.
    """
    return [list(side) for side in zip(*stream_parallel(*paths), strict=True)]


def stream_parallel(*paths: Path) -> Iterator[tuple[str, ...]]:
    """Iterate over parallel files, one sentence of each at a time.

    Raises like `read_parallel`, at the end of the shorter file.
    """
    counts = [0] * len(paths)
    for lines in zip_longest(*map(stream_lines, paths)):
        for number, line in enumerate(lines):
            counts[number] += line is not None
        if None not in lines:
            yield cast(tuple[str, ...], lines)
    for path, count in zip(paths, counts, strict=True):
        if not count:
            raise TransformerError(f"{path}: the file is empty")
        if count != counts[0]:
            raise TransformerError(
                f"{paths[0]} has {counted(counts[0], 'line')} but {path} has {counted(count, 'line')}: they must "
                "correspond line by line"
            )
