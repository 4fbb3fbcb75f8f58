"""File formats of alignments: full matrices as npz or JSON, links in the Pharaoh format, and their readers.

A file of matrices holds `about` (the model, the checkpoint, the rule by which links were extracted) and, for each
sentence, both sides (words, pieces, spans), the weights of every kind, layer and head, and read-outs. It is written
sentence by sentence, so the corpus need not fit in memory. Weights are preserved bit for bit.
"""

import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transformer.alignment.links import Links
from transformer.alignment.measure import Gold
from transformer.alignment.record import KINDS, Attended, Side
from transformer.data.corpora.files import stream_lines
from transformer.errors import TransformerError

VERSION = 1
SIDES = ("line", "source", "target")
"""Keys of a sentence other than its matrices."""
WORD = re.compile("[0-9]{1,9}")


class Dump(NamedTuple):
    """The content of a file of matrices."""

    about: dict[str, Any]
    sentences: list[Attended]


Add = Callable[[Attended], None]


@contextmanager
def npz_writer(path: Path, about: dict[str, Any]) -> Iterator[Add]:
    """A zip of arrays: `about` and `sides` are JSON as bytes, `cross/12` the weights of sentence 12 (from 0)."""
    sides: list[Any] = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(sentence: Attended) -> None:
            for kind in sentence.kinds:
                _store(archive, f"{kind}/{len(sides)}", sentence.matrix(kind))
            sides.append(_sides(sentence))

        yield add
        _store(archive, "sides", _bytes(sides))
        _store(archive, "about", _bytes(about | {"version": VERSION}))


def read_npz(path: str | Path) -> Dump:
    """Reads a file of `npz_writer`; nothing is unpickled. Raises TransformerError for any other file."""
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            about, sides = (json.loads(bytes(archive[name])) for name in ("about", "sides"))
            matrices: list[dict[str, np.ndarray]] = [{} for _ in sides]
            for name in archive.files:
                kind, _, number = name.rpartition("/")
                if kind:
                    matrices[int(number)][kind] = archive[name]
            return Dump(about, [_sentence(*each) for each in zip(sides, matrices, strict=True)])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TransformerError(f"{path} is not an npz file of alignments: {error}") from None


@contextmanager
def json_writer(path: Path, about: dict[str, Any]) -> Iterator[Add]:
    """One object: {"about": ..., "sentences": [{"source": ..., "target": ..., "cross": [L][H][T][S], ...}]}.

    Nine digits determine each float32 exactly.
    """
    with path.open("w", encoding="utf-8") as file:
        comma = "\n"

        def add(sentence: Attended) -> None:
            nonlocal comma
            weights = {kind: _nested(sentence.matrix(kind)) for kind in sentence.kinds}
            file.write(comma + json.dumps(_sides(sentence) | weights, ensure_ascii=False))
            comma = ",\n"

        file.write(f'{{"about": {json.dumps(about | {"version": VERSION})},\n"sentences": [')
        yield add
        file.write("\n]}\n")


def read_json(path: str | Path) -> Dump:
    """Reads a file of `json_writer`. Raises TransformerError for any other file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return Dump(
            content["about"],
            [
                _sentence(entry, {kind: np.array(entry[kind], np.float32) for kind in entry if kind not in SIDES})
                for entry in content["sentences"]
            ],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TransformerError(f"{path} is not a JSON file of alignments: {error}") from None


WRITERS = {"npz": npz_writer, "json": json_writer}
"""By name: `with WRITERS["npz"](path, about) as add:`, then `add(sentence)` for each sentence."""


def pharaoh(links: Links) -> str:
    """A line such as "0-0 1-2": source word first, 0-indexed, sorted by target word."""
    return " ".join(f"{s}-{t}" for s, t in sorted(links, key=lambda link: link[::-1]))


def read_gold(path: Path, first: int) -> list[Gold]:
    """Gold links, one line for each sentence: "1-1" is sure, "1p2" possible.

    Args:
        path: plain or .gz.
        first: the number of a sentence's first word, 0 or 1; the file does not record it.

    Raises:
        TransformerError: names the file and the line.
    """
    return [_gold(line, first, path, number) for number, line in enumerate(stream_lines(path), 1)]


def _gold(line: str, first: int, path: Path, number: int) -> Gold:
    sure, possible = set(), set()
    for entry in line.split():
        ends = entry.replace("p", "-").split("-")
        if len(ends) != 2 or not all(WORD.fullmatch(end) for end in ends):
            raise TransformerError(f'{path}, line {number}: neither "1-1" (sure) nor "1p1" (possible): {entry[:80]!r}')
        link = (int(ends[0]) - first, int(ends[1]) - first)
        if min(link) < 0:
            raise TransformerError(f"{path}, line {number}: {entry!r} names word 0, so words count from 0, not from 1")
        possible.add(link)
        if "p" not in entry:
            sure.add(link)
    return Gold(frozenset(sure), frozenset(possible))


def _sides(sentence: Attended) -> dict[str, Any]:
    sides = (("source", sentence.source), ("target", sentence.target))
    return {"line": sentence.line} | {name: dataclasses.asdict(side) for name, side in sides}


def _sentence(sides: dict[str, Any], weights: dict[str, Any]) -> Attended:
    source, target = (
        Side(tuple(side["words"]), tuple(side["pieces"]), tuple(side["spans"]))
        for side in (sides["source"], sides["target"])
    )
    cross, encoder, decoder = (weights.get(kind) for kind in KINDS)
    readouts = {name: matrix for name, matrix in weights.items() if name not in KINDS}
    return Attended(source, target, cross, encoder, decoder, sides["line"], readouts)


def _store(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    archive.writestr(f"{name}.npy", buffer.getvalue())


def _bytes(values: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(values).encode(), np.uint8)


def _nested(weights: np.ndarray) -> Any:
    if weights.ndim == 1:
        return [float(f"{value:.9g}") for value in weights.tolist()]
    return [_nested(part) for part in weights]
