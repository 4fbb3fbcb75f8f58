"""The corpora of a run: read from their sources, filtered and split.

Training pairs are cleaned once and cached in `<cache>/corpus/<key>/`, so that their text takes no memory; the key is a
hash of all that they are made from. The other splits are small, and lists.
"""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer.data import config
from transformer.data.cache import cached_folder
from transformer.data.corpora.alignments import Alignments, parse_alignment
from transformer.data.corpora.corpus import Corpora, Corpus, read, write
from transformer.data.corpora.filters import CHUNK, Cleaner, filter_pairs
from transformer.data.corpora.sources import Pair, ParallelFiles, Source, Sources, find_sources
from transformer.data.corpora.text import Text, TextWriter
from transformer.data.normal_form import Form, normalize, replace_reserved
from transformer.errors import TransformerError, UsageError
from transformer.plurals import counted

VERSION = 4
SIDES = ("source", "target")
HELD_OUT_KEY = b"20170612"
"""Key of the hash that selects the held-out pairs. Not a setting: all runs on the same text have the same validation
set."""


def load_corpora(data: config.Data) -> Corpora:
    """Load all the splits that `data` describes.

    Raises:
        UsageError: impossible settings.
        TransformerError: bad text, or a cache that cannot be written.
    """
    if data.limit < 0:
        raise UsageError(f"--data.limit={data.limit} is negative; 0 means all pairs")
    sources = find_sources(data)
    folder = Path(data.cache).expanduser() / "corpus" / _key(data, sources)
    train, validation, about = cached_folder(
        folder, _open, lambda new: _make(new, data, sources), data.cache, resumes=False
    )
    return Corpora(
        train=train,
        validation=validation if sources.validation is None else _read_source(sources.validation, "validation"),
        test=_read_source(sources.test, "test") if sources.test else None,
        unseen=_read_source(sources.unseen, "unseen") if sources.unseen else None,
        skipped=about["skipped"],
        parts=tuple(about["parts"]),
        cut=about["cut"],
        shared=about["shared"],
        replaced=about["replaced"],
    )


def _read_source(source: Source, name: str) -> Corpus:
    return _as_corpus(source.pairs(), source.has_alignments, name)


def _as_corpus(pairs: Iterable[Pair], has_alignments: bool, name: str) -> Corpus:
    read_pairs = list(pairs)
    alignments = [parse_alignment(pair.links) for pair in read_pairs] if has_alignments else None
    return Corpus([pair.source for pair in read_pairs], [pair.target for pair in read_pairs], alignments, name)


def _key(data: config.Data, sources: Sources) -> str:
    values = [VERSION, asdict(data.filter), data.limit, sources.validation is None and data.held_out]
    held_out = {name: source.identity() for name, source in _named(sources).items()}
    content = json.dumps([values, [source.identity() for source in sources.train], held_out])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _named(sources: Sources) -> dict[str, Source]:
    """The held-out sets that have their own sources, by name."""
    held_out = {"validation": sources.validation, "test": sources.test}
    return {name: source for name, source in held_out.items() if source is not None}


def _make(folder: Path, data: config.Data, sources: Sources) -> None:
    """Read, filter and write the training pairs, and the held-out pairs if no validation set is named."""
    held_out: list[Pair] = []
    if isinstance(sources.train[0], ParallelFiles):
        sources.train[0].check_alignments()
    if sources.validation is None:
        cleaner = Cleaner(data.filter)
        cleaned = (pair for source in sources.train for pair in _clean_source(source, cleaner))
        held_out = select_held_out(cleaned, data.held_out)
        write(_as_corpus(held_out, sources.train[0].has_alignments, "validation"), folder, SIDES)
    about = _write_train(folder, data, sources, held_out)
    if not sum(about["parts"]):
        raise TransformerError(_nothing_left(sources, about))
    (folder / "corpus.json").write_text(json.dumps(about))


def _nothing_left(sources: Sources, about: dict[str, Any]) -> str:
    """How many pairs were left out and why, and what to do."""
    held, skipped = about["held"], about["skipped"]
    total = held + sum(skipped.values())
    went = [f"{held} went to the validation set"] if held else []
    if skipped:
        went.append("left out were " + ", ".join(f"{count} ({reason})" for reason, count in skipped.items()))
    names = " and ".join(source.name for source in sources.train)
    return (
        f"{names}: no pairs are left to train on; of {counted(total, 'pair')}, "
        f"{' and '.join(went) or 'none was read'}: name a validation set with --data.validation, loosen --data.filter, "
        "or give more text"
    )


def _clean_source(source: Source, cleaner: Cleaner) -> Iterator[Pair]:
    """The pairs of a source that pass the filters; the cleaner counts these and the others."""
    stream = iter(tqdm(source.pairs(), source.name, unit=" pairs", unit_scale=True, disable=None, leave=False))
    while chunk := list(islice(stream, CHUNK)):
        passed = filter_pairs([(pair.source, pair.target) for pair in chunk], cleaner.settings)
        is_new = cleaner.accept(passed)
        for new, position, sides in zip(is_new, passed.positions.tolist(), passed.pairs, strict=True):
            if new:
                yield Pair(*sides, chunk[position].links)


def _write_train(folder: Path, data: config.Data, sources: Sources, held_out: list[Pair]) -> dict[str, Any]:
    """Write all pairs that share no side with the held-out ones; return the counts for corpus.json."""
    held_sources, held_targets = {pair.source for pair in held_out}, {pair.target for pair in held_out}
    not_met = {pair[:2] for pair in held_out}
    named = {name: _texts(source, data.filter.normalize) for name, source in _named(sources).items()}
    has_alignments, cleaner = sources.train[0].has_alignments, Cleaner(data.filter)
    parts, beside_held, cut = [0] * len(sources.train), 0, False
    shared: Counter[str] = Counter()
    with ExitStack() as stack:
        writers = [stack.enter_context(TextWriter(folder / name)) for name in (*SIDES, "links")]
        for part, source in enumerate(sources.train):
            for pair in _clean_source(source, cleaner):
                if pair.source in held_sources or pair.target in held_targets:
                    beside_held += pair[:2] not in not_met
                    not_met.discard(pair[:2])
                    continue
                found = [name for name, texts in named.items() if pair[:2] in texts]
                if found and data.filter.drop_held_out:
                    shared[found[0]] += 1
                    continue
                if data.limit and parts[part] == data.limit:
                    cut = True
                    break
                shared.update(found)
                parts[part] += 1
                for writer, text in zip(writers, pair, strict=True):
                    writer.append(text)
    skipped = dict(cleaner.counts)
    if beside_held:
        skipped["also in the held-out set"] = beside_held
    if data.filter.drop_held_out:
        skipped |= {f"also in the {name} set": count for name, count in shared.items()}
        shared.clear()
    return {
        "parts": parts,
        "skipped": skipped,
        "cut": cut,
        "aligned": has_alignments,
        "held": len(held_out),
        "shared": dict(shared),
        "replaced": cleaner.replaced,
    }


def _texts(source: Source, form: Form) -> set[tuple[str, str]]:
    """The pairs of a held-out set, in the form of written training pairs."""
    return {
        (replace_reserved(normalize(pair.source, form)), replace_reserved(normalize(pair.target, form)))
        for pair in source.pairs()
    }


def select_held_out(pairs: Iterable[Pair], count: int) -> list[Pair]:
    """Select at most `count` distinct pairs, and at most a tenth of all; they keep their order.

    Each distinct pair has the same chance: the pairs with the smallest hashes are selected, which needs no list of all.
    """
    largest: list[tuple[int, int]] = []  # (minus the hash, position): the heap's first entry has the largest hash
    selected: dict[int, Pair] = {}
    count, total = max(count, 1), 0
    for position, pair in enumerate(pairs):
        total += 1
        text = f"{pair.source}\n{pair.target}".encode()
        hashed = int.from_bytes(hashlib.blake2b(text, digest_size=8, key=HELD_OUT_KEY).digest(), "big")
        if hashed in selected or (len(largest) >= count and hashed > -largest[0][0]):
            continue
        heapq.heappush(largest, (-hashed, position))
        selected[hashed] = pair
        if len(largest) > count:
            del selected[-heapq.heappop(largest)[0]]
    smallest = sorted(largest, reverse=True)[: max(1, min(count, total // 10))]
    return [selected[-hashed] for hashed, _ in sorted(smallest, key=lambda entry: entry[1])]


def _open(folder: Path) -> tuple[Corpus, Corpus, dict[str, Any]] | None:
    """The training pairs in a folder, the held-out pairs, and the content of corpus.json; None if a file is missing or
    has the wrong size."""
    try:
        about = json.loads((folder / "corpus.json").read_text())
        source, target, links = (Text(folder / name) for name in (*SIDES, "links"))
        if not len(source) == len(target) == sum(about["parts"]):
            return None
        train = Corpus(source, target, Alignments(links) if about["aligned"] else None, "train")
        validation = read(folder, "validation", SIDES) if about["held"] else Corpus([], [], None, "validation")
        if len(validation.sources) != about["held"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, TransformerError):
        return None
    return train, validation, about
