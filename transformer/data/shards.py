"""Tokenisation in shards: by several processes for a large corpus, and resumed after an interruption.

Each shard is a file that appears complete or not at all; when all exist, they are concatenated.
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
SHARD_SIZE = 32_768
"""Pairs tokenised at a time; bounds the memory."""


@dataclass(frozen=True)
class PlainTokenisation:
    """Tokenises without sampling; leaves out pairs with a side longer than `max_length` tokens (None: no pairs)."""

    sources: Sequence[str]
    targets: Sequence[str]
    tokenizers: Tokenizers
    max_length: int | None
    max_serial_shards = 6
    """Up to this number of shards, one process with threads is as fast as several that must be started."""

    def __len__(self) -> int:
        return len(self.sources)

    def __call__(self, start: int, stop: int, threads: int) -> tuple[Rows, Rows, list[bool]]:
        """Tokens of the pairs start, ..., stop - 1, EOS tokens included, and which of the pairs are not too long."""
        limit = float("inf") if self.max_length is None else self.max_length
        texts = self.sources[start:stop], self.targets[start:stop]
        sides = [append_eos(t.encode_all(part, threads)) for t, part in zip(self.tokenizers, texts, strict=True)]
        return sides[0], sides[1], [max(len(s), len(t)) <= limit for s, t in zip(*sides, strict=True)]


def append_eos(rows: Rows) -> Rows:
    """Append an EOS token to each row, in place."""
    for ids in rows:
        ids.append(EOS)
    return rows


Job = Callable[[int, int, int], tuple[Rows, Rows, list[bool]]]
"""(start, stop, threads) -> tokens of both sides, and which pairs are kept. Jobs also have a length."""


class StoppedError(Exception):
    """Tokenisation was asked to stop."""


def tokenise(folder: Path, job: Any, tokenizers: Tokenizers, description: str, stop: Event | None = None) -> None:
    """Write all tokens of a job to a folder, in the format that `pairs` describes; existing shards are reused.

    Raises:
        OSError: the folder cannot be written.
        TransformerError: a process was lost.
        StoppedError: soon after `stop` is set.
    """
    size = len(job)
    shards = [(start, min(start + SHARD_SIZE, size)) for start in range(0, size, SHARD_SIZE)]
    missing = [shard for shard in shards if not _is_complete(_path(folder, shard))]
    # Lists would be sent to other processes as a whole.
    parallel = len(missing) > job.max_serial_shards and isinstance(job.sources, Text) and available_cores() > 1
    with tqdm(total=size, desc=description, unit=" pairs", unit_scale=True, disable=None, leave=False) as bar:
        bar.update(sum(last - first for first, last in set(shards) - set(missing)))
        for first, last in _in_processes(folder, job, missing) if parallel else _in_threads(folder, job, missing):
            bar.update(last - first)
            if stop is not None and stop.is_set():
                raise StoppedError
    _join(folder, shards, tokenizers)


def available_cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_threads(folder: Path, job: Job, shards: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for shard in shards:
        _write_shard(folder, job, shard, available_cores())
        yield shard


def _in_processes(folder: Path, job: Job, shards: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Processes are spawned, not forked, because of JAX's threads."""
    with ProcessPoolExecutor(available_cores(), get_context("spawn"), _init_worker) as pool:
        futures = [pool.submit(_write_shard, folder, job, shard, 1) for shard in shards]
        try:
            for shard, future in zip(shards, futures, strict=True):
                future.result()
                yield shard
        except BrokenProcessPool:
            raise TransformerError(
                "a tokenising process was lost: killed, perhaps for lack of memory, or the cache was removed; the same "
                "command resumes from that point"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _init_worker() -> None:
    """Leave Ctrl-C to the parent, and switch off garbage collection: there are millions of small lists and no
    cycles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()


def _path(folder: Path, shard: tuple[int, int]) -> Path:
    return folder / f"shard-{shard[0]:010d}.npz"


def _is_complete(path: Path) -> bool:
    """Whether a shard exists and is intact, by the checksums of its arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "fits.npy" in archive.namelist() and archive.testzip() is None
    except (OSError, EOFError, zipfile.BadZipFile):
        return False


def _write_shard(folder: Path, job: Job, shard: tuple[int, int], threads: int) -> None:
    *sides, fits = job(*shard, threads)
    arrays: dict[str, Any] = {"fits": np.array(fits, bool)}
    for name, side in zip(SIDES, sides, strict=True):
        rows = list(compress(side, fits))
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
    """The dtype of tokens on disk."""
    return np.uint16 if tokenizer.size <= 1 << 16 else np.int32


def _join(folder: Path, shards: list[tuple[int, int]], tokenizers: Tokenizers) -> None:
    """Concatenate the shards, and remove them."""
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
        about[side] = {"dtype": np.dtype(dtype_of(tokenizer)).name, "tokens": ends[side], "size": tokenizer.size}
    (folder / "examples.json").write_text(json.dumps(about))
    for path in (*folder.glob("shard-*.npz"), *folder.glob("*.tmp")):
        path.unlink()
