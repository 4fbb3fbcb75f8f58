"""The figures of a recipe's data: from what `prepare` returns to a dict, and to the counts that the picture shows.

Lengths are counted by length and tokens by entry, block by block of what is on disk; every figure follows from these
counts, exactly.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer.config import Config
from transformer.data import pairs
from transformer.data.batching.buckets import BLOCK, blocks
from transformer.data.batching.plan import Plan
from transformer.data.corpora.corpus import Corpus
from transformer.data.corpora.sources import find_sources
from transformer.data.examples import Examples
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.inspection import text
from transformer.special_tokens import EOS, UNK
from transformer.tasks.translation.prepared import PreparedTranslation as Prepared

Ints = NDArray[Any]
Figures = dict[str, Any]

SIDES = ("source", "target")
PERCENTS = (95, 99)
MOST = 1_000
"""The share of tokens is asked of so many entries."""
RARE = (5, 100)
"""Entries met fewer times are counted."""


class Survey(NamedTuple):
    """What was found."""

    figures: Figures
    """Plain values by name, for JSON."""
    lengths: Ints
    """[longest source + 1, longest target + 1] training pairs of these lengths in tokens, end marks included."""
    tokens: dict[str, Ints]
    """How often each entry of a vocabulary occurs in training, [V] under `source`, `target`, and, where they share one
    vocabulary, `both`."""


def survey(prepared: Prepared, settings: Config) -> Survey:
    """Look at the data of a run. With `--tokenizer.sampling` lengths, tokens and batches are those of the first epoch.

    Reads all of the training text and tokens once; see `text` for the memory that takes.
    """
    train, plan = prepared.epochs.epoch(0)
    corpora, tokenizers, plain = prepared.corpora, prepared.tokenizers, prepared.examples
    held = [part for part in (corpora.validation, corpora.test, corpora.unseen) if part is not None]
    kept = [text.keep(part, tokenizers) for part in held]
    assert plain.sentences is not None
    walked = text.walk(corpora.train, plain.sentences, tokenizers, kept)
    lengths, tokens = count_lengths(train), count_tokens(train, tokenizers)
    figures = {
        "languages": list(settings.data.languages),
        "sampling": settings.tokenizer.sampling,
        "training": {
            "pairs": len(train),
            "left_out": corpora.skipped | plain.dropped,
            "limit": settings.data.limit if corpora.cut else 0,
            "lengths": describe_lengths(lengths, walked.words, tokens),
            "unknown": [_share(tokens[side][UNK], tokens[side].sum() - tokens[side][EOS]) for side in SIDES],
            "repeats": _repeats(walked),
            "corpora": mixture(prepared, plan, settings),
        },
        "vocabulary": {name: describe_tokens(counts) for name, counts in tokens.items()},
        "held_out": {
            part.name: look_at(part, tokenizers, prepared.model.max_length)
            | {"unmet": text.unmet(one, walked), "in_training": text.leaks(one, walked)}
            for part, one in zip(held, kept, strict=True)
        },
        "batching": batching(plan, train, settings),
    }
    return Survey(figures, lengths, tokens)


def count_lengths(train: Examples) -> Ints:
    """See `Survey.lengths`."""
    source, target = (train.lengths[side] for side in SIDES)
    shape = int(source.max()) + 1, int(target.max()) + 1
    counts = np.zeros(shape[0] * shape[1], np.int64)
    for one, other in blocks(source, target):
        counts += np.bincount(one * shape[1] + other, minlength=len(counts))
    return counts.reshape(shape)


def count_tokens(train: Examples, tokenizers: Tokenizers) -> dict[str, Ints]:
    """See `Survey.tokens`."""
    found = {}
    for name, tokenizer in zip(SIDES, tokenizers, strict=True):
        tokens = train[name].values
        found[name] = np.zeros(tokenizer.size, np.int64)
        for start in range(0, len(tokens), BLOCK):
            found[name] += np.bincount(tokens[start : start + BLOCK], minlength=tokenizer.size)
    if tokenizers.source is tokenizers.target:
        found["both"] = found["source"] + found["target"]
    return found


def describe_lengths(lengths: Ints, words: tuple[Ints, Ints], tokens: dict[str, Ints]) -> Figures:
    """Lengths of sentences on either side, and how the sides compare.

    lengths: as `Survey.lengths`. words: sentences of each length in words, of each side. tokens: as `Survey.tokens`.
    """
    found: Figures = {}
    for number, (name, by_words) in enumerate(zip(SIDES, words, strict=True)):
        count = int(by_words @ np.arange(len(by_words)))
        found[name] = {
            "words": summarise(by_words),
            "tokens": summarise(lengths.sum(axis=1 - number)),
            "tokens_per_word": _share(tokens[name].sum() - tokens[name][EOS], count),
        }
    source, target = np.nonzero(lengths)
    ratios = target / source
    order = np.argsort(ratios)
    counts = lengths[source, target][order]
    found["ratio"] = {
        "all": _share(found["target"]["tokens"]["sum"], found["source"]["tokens"]["sum"]),
        **{f"percent_{percent}": float(quantile(ratios[order], counts, percent)) for percent in (1, 5, 50, 95, 99)},
    }
    return found


def summarise(counts: Ints) -> Figures:
    """Of sentences, from how many have each length ([longest + 1], not all 0)."""
    values = np.arange(len(counts))
    total = int(counts @ values)
    return {
        "sum": total,
        "mean": _share(total, counts.sum()),
        "median": int(quantile(values, counts, 50)),
        **{f"percent_{percent}": int(quantile(values, counts, percent)) for percent in PERCENTS},
        "longest": int(np.flatnonzero(counts)[-1]),
        "counts": counts.tolist(),
    }


def quantile(values: Ints, counts: Ints, percent: int) -> Any:
    """The least of the values, [N] ascending and each there so many times, that `percent` of all do not exceed."""
    reached = np.cumsum(counts)
    return values[int(np.searchsorted(reached, -(-int(reached[-1]) * percent // 100)))]


def describe_tokens(counts: Ints) -> Figures:
    """How a vocabulary is used, from how often each entry occurs [V]. Marks are no entries; the unknown mark is a
    token, the end mark is none. What is met fewer times includes what is never met."""
    entries, tokens = np.sort(counts[EOS + 1 :])[::-1], int(counts.sum() - counts[EOS])
    return {
        "entries": len(entries),
        "used": int(np.count_nonzero(entries)),
        "tokens": tokens,
        f"share_of_{MOST}": _share(entries[:MOST].sum(), tokens),
        **{f"fewer_than_{times}": int((entries < times).sum()) for times in RARE},
    }


def look_at(part: Corpus, tokenizers: Tokenizers, longest: int) -> Figures:
    """A held-out set by itself: all its pairs, also those that are longer than `longest` tokens, which are counted."""
    made = pairs.in_memory(part.sources, part.targets, tokenizers)
    counts = count_tokens(made, tokenizers)
    return {
        "pairs": len(made),
        "lengths": {
            name: {key: value for key, value in summarise(np.bincount(lengths)).items() if key != "counts"}
            for name, lengths in made.lengths.items()
        },
        "too_long": int((np.maximum(*made.lengths.values()) > longest).sum()),
        "unknown": [_share(counts[name][UNK], counts[name].sum() - counts[name][EOS]) for name in SIDES],
    }


def _repeats(walked: text.Walked) -> Figures:
    source, target = walked.hashes
    pairs, sources_, several_targets = text.repeats(source, target)
    _, targets, several_sources = text.repeats(target, source)
    return {
        "pairs": len(source) - pairs,
        "different_sources": sources_,
        "different_targets": targets,
        "sources_with_several_targets": several_targets,
        "targets_with_several_sources": several_sources,
    }


def mixture(prepared: Prepared, plan: Plan, settings: Config) -> list[Figures]:
    """The corpora that are mixed: pairs after cleaning, those short enough to be trained on, how often an epoch goes
    through them, and their share of it."""
    sizes = _sizes(plan, len(prepared.examples))
    taken = [size * share.passes for size, share in zip(sizes, plan.shares, strict=True)]
    names = [source.name for source in find_sources(settings.data).train]
    parts = zip(names, prepared.corpora.parts, sizes, plan.shares, taken, strict=True)
    return [
        {"name": name, "pairs": pairs, "examples": size, "passes": share.passes, "share": _share(count, sum(taken))}
        for name, pairs, size, share, count in parts
    ]


def _sizes(plan: Plan, count: int) -> list[int]:
    return [stop - start for start, stop in pairwise([*(share.start for share in plan.shares), count])]


def batching(plan: Plan, train: Examples, settings: Config) -> Figures:
    """Batches of an epoch, and what of them is padding. Of a mixture real tokens are the mean over all epochs."""
    lengths, report = list(train.lengths.values()), plan.report()
    found = []
    for bucket, members, count in zip(plan.buckets, plan.members, plan.taken, strict=True):
        batches = -(-count // bucket.rows)
        real = [_real(plan, members, side) for side in lengths]
        S, T = bucket.lengths
        padded = [batches * bucket.rows * S, batches * bucket.rows * T]
        found.append(
            {
                "rows": bucket.rows,
                "source_length": S,
                "target_length": T,
                "batches": batches,
                "examples": count,
                "real": sum(real),
                "padded": sum(padded),
                "source_efficiency": _share(real[0], padded[0]),
                "target_efficiency": _share(real[1], padded[1]),
                "efficiency": _share(sum(real), sum(padded)),
            }
        )
    return {
        **report,
        "tokens_per_batch": [_share(tokens, plan.batches_per_epoch) for tokens in plan.tokens.values()],
        "steps": settings.training.steps,
        "minutes": settings.training.minutes,
        "epochs": settings.training.steps / plan.batches_per_epoch,
        "buckets": found,
    }


def _real(plan: Plan, members: Ints, lengths: Ints) -> float:
    """Real tokens of a side that an epoch takes from a bucket with these members."""
    total = 0.0
    edges = np.searchsorted(members, [share.start for share in plan.shares[1:]])
    for part, share in zip(np.split(members, edges), plan.shares, strict=True):
        total += share.passes * sum(int(lengths[ids].sum(dtype=np.int64)) for ids in _in_blocks(part))
    return total


def _in_blocks(ids: Ints) -> Sequence[Ints]:
    return [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 0.0
