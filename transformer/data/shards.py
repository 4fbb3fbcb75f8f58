"""Tokenising in shards: by several processes where there is much, and gone on with after an interruption.

Each shard of a corpus is a file that appears whole or not at all; when all are there, they are joined.
"""

import gc
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, compress
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from transformer.data.corpora.text import Text
from transformer.data.tokenizers.tokenizer import Tokenizer, Tokenizers
from transformer.errors import TransformerError
from transformer.special_tokens import EOS

Ints = NDArray[Any]
Rows = list[list[int]]

SIDES = ("source", "target")
SHARD = 32_768
"""Pairs tokenised at once; bounds the memory."""


@dataclass(frozen=True)
class Plain:
    """Tokenising as it is: pairs with a side longer than `max_length` tokens are left out (None: none is)."""

    sources: Sequence[str]
    targets: Sequence[str]
    tokenizers: Tokenizers
    max_length: int | None
    alone = 6
    """Up to so many shards one process, with threads, is as fast as several that have to be started."""

    def __len__(self) -> int:
        return len(self.sources)

    def __call__(self, start: int, stop: int, threads: int) -> tuple[Rows, Rows, list[bool]]:
        """Tokens of the pairs from `start` on, end marks added, and which of them are not too long."""
        most = float("inf") if self.max_length is None else self.max_length
        texts = self.sources[start:stop], self.targets[start:stop]
        sides = [closed(t.encode_all(part, threads)) for t, part in zip(self.tokenizers, texts, strict=True)]
        return sides[0], sides[1], [max(len(s), len(t)) <= most for s, t in zip(*sides, strict=True)]


def closed(rows: Rows) -> Rows:
    """The same rows with an end mark each."""
    for ids in rows:
        ids.append(EOS)
    return rows


Job = Callable[[int, int, int], tuple[Rows, Rows, list[bool]]]
"""(first, last + 1, threads) -> tokens of both sides, and which pairs are kept; it has a length."""


class StoppedError(Exception):
    """It was asked to stop."""


def make(folder: Path, job: Any, tokenizers: Tokenizers, what: str, stop: Event | None = None) -> None:
    """Fill a folder with all of a job's tokens (see `examples`); shards that are there already are taken as they are.

    Raises OSError where the folder cannot be written, TransformerError where a process is lost, StoppedError soon after
    `stop` is set.
    """
    size = len(job)
    shards = [(start, min(start + SHARD, size)) for start in range(0, size, SHARD)]
    missing = [shard for shard in shards if not _whole(_path(folder, shard))]
    # Lists would travel to other processes whole.
    several = len(missing) > job.alone and isinstance(job.sources, Text) and cores() > 1
    with tqdm(total=size, desc=what, unit=" pairs", unit_scale=True, disable=None, leave=False) as bar:
        bar.update(sum(last - first for first, last in set(shards) - set(missing)))
        for first, last in _by_processes(folder, job, missing) if several else _by_threads(folder, job, missing):
            bar.update(last - first)
            if stop is not None and stop.is_set():
                raise StoppedError
    _join(folder, shards, tokenizers)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _by_threads(folder: Path, job: Job, shards: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for shard in shards:
        _write(folder, job, shard, cores())
        yield shard


def _by_processes(folder: Path, job: Job, shards: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Fresh processes, not copies of this one: JAX has threads here."""
    with ProcessPoolExecutor(cores(), get_context("spawn"), _set_up) as pool:
        waiting = [pool.submit(_write, folder, job, shard, 1) for shard in shards]
        try:
            for shard, one in zip(shards, waiting, strict=True):
                one.result()
                yield shard
        except BrokenProcessPool:
            raise TransformerError(
                "a process that tokenised was lost: killed, perhaps for want of memory, or the cache was removed under "
                "it; the same command goes on from there"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _set_up() -> None:
    """In a process that tokenises: Ctrl-C is for the one that started it; and there are millions of small lists, none
    of them in a cycle, that are not worth looking through."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()


def _path(folder: Path, shard: tuple[int, int]) -> Path:
    return folder / f"shard-{shard[0]:010d}.npz"


def _whole(path: Path) -> bool:
    """Whether a shard is there and can be read to its end."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return "fits" in arrays.files
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False


def _write(folder: Path, job: Job, shard: tuple[int, int], threads: int) -> None:
    *sides, fits = job(*shard, threads)
    arrays: dict[str, Any] = {"fits": np.array(fits, bool)}
    for name, every in zip(SIDES, sides, strict=True):
        rows = list(compress(every, fits))
        arrays[f"{name}_lengths"] = lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        arrays[f"{name}_tokens"] = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
    path = _path(folder, shard)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def dtype_of(tokenizer: Tokenizer) -> Any:
    """Of tokens on disk."""
    return np.uint16 if tokenizer.size <= 1 << 16 else np.int32


def _join(folder: Path, shards: list[tuple[int, int]], tokenizers: Tokenizers) -> None:
    """Put the shards end to end, and remove them."""
    ends, kept, total = dict.fromkeys(SIDES, 0), 0, 0
    names = [f"{side}.{part}" for side in SIDES for part in ("tokens", "lengths", "offsets")]
    files = {name: (folder / name).open("wb") for name in (*names, "sentences")}
    try:
        for side in SIDES:
            np.zeros(1, np.int64).tofile(files[f"{side}.offsets"])
        for shard in shards:
            with np.load(_path(folder, shard)) as arrays:
                for side, tokenizer in zip(SIDES, tokenizers, strict=True):
                    lengths = arrays[f"{side}_lengths"]
                    arrays[f"{side}_tokens"].astype(dtype_of(tokenizer)).tofile(files[f"{side}.tokens"])
                    lengths.tofile(files[f"{side}.lengths"])
                    offsets = ends[side] + np.cumsum(lengths, dtype=np.int64)
                    offsets.tofile(files[f"{side}.offsets"])
                    ends[side] = int(offsets[-1]) if len(offsets) else ends[side]
                fits = arrays["fits"]
                (shard[0] + np.flatnonzero(fits)).astype(np.int64).tofile(files["sentences"])
                kept, total = kept + int(fits.sum()), total + len(fits)
    finally:
        for file in files.values():
            file.close()
    about: dict[str, Any] = {"examples": kept, "dropped": total - kept}
    for side, tokenizer in zip(SIDES, tokenizers, strict=True):
        about[side] = {"dtype": np.dtype(dtype_of(tokenizer)).name, "tokens": ends[side]}
    (folder / "examples.json").write_text(json.dumps(about))
    for path in (*folder.glob("shard-*.npz"), *folder.glob("*.tmp")):
        path.unlink()
