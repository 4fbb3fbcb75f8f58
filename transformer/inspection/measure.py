"""The figures of a recipe's parallel text, as plain values, and the counts that the picture shows.

Sentences are counted by length and tokens by vocabulary entry, in blocks of the data on disk; every figure follows
exactly from these counts.
"""

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
from transformer.inspection import repetition
from transformer.special_tokens import EOS, UNK
from transformer.tasks.translation.prepared import PreparedTranslation as Prepared

Ints = NDArray[Any]
Figures = dict[str, Any]

SIDES = ("source", "target")
PERCENTS = (95, 99)
MOST = 1_000
"""The share of tokens is reported for this number of the most frequent entries."""
RARE = (5, 100)
"""Entries that occur fewer times than these are counted."""


class Inspection(NamedTuple):
    """Figures and counts of parallel text."""

    figures: Figures
    """Plain values by name, for JSON."""
    lengths: Ints
    """[longest source + 1, longest target + 1] number of training pairs by their lengths in tokens, EOS included."""
    tokens: dict[str, Ints]
    """[V] counts of each vocabulary entry in training: `source`, `target` and, for a joint vocabulary, `both`."""


def measure(prepared: Prepared, settings: Config) -> Inspection:
    """Measure the data of a run. With `--tokenizer.sampling`, lengths, tokens and batches are those of the first epoch.

    All training text and tokens are read once; for the memory required, see `repetition`.
    """
    train, plan = prepared.epochs.epoch(0)
    corpora, tokenizers, plain = prepared.corpora, prepared.tokenizers, prepared.examples
    held_out = [part for part in (corpora.validation, corpora.test, corpora.unseen) if part is not None]
    held_out_texts = [repetition.read_held_out(part, tokenizers) for part in held_out]
    assert plain.sentences is not None
    text = repetition.read_training(corpora.train, plain.sentences, tokenizers, held_out_texts)
    lengths, tokens = count_lengths(train), count_tokens(train, tokenizers)
    figures = {
        "languages": list(settings.data.languages),
        "sampling": settings.tokenizer.sampling,
        "training": {
            "pairs": len(train),
            "left_out": corpora.skipped | plain.dropped,
            "limit": settings.data.limit if corpora.cut else 0,
            "lengths": describe_lengths(lengths, text.words, tokens),
            "unknown": [_share(tokens[side][UNK], tokens[side].sum() - tokens[side][EOS]) for side in SIDES],
            "repeats": _repeats(text),
            "corpora": mixture(prepared, plan, settings),
        },
        "vocabulary": {name: describe_tokens(counts) for name, counts in tokens.items()},
        "held_out": {
            part.name: describe_held_out(part, tokenizers, prepared.model.max_length)
            | {
                "unmet": repetition.unseen_word_shares(held_out_text, text),
                "in_training": repetition.count_leaks(held_out_text, text),
            }
            for part, held_out_text in zip(held_out, held_out_texts, strict=True)
        },
        "batching": batching(plan, train, settings),
    }
    return Inspection(figures, lengths, tokens)


def count_lengths(train: Examples) -> Ints:
    """See `Inspection.lengths`."""
    source, target = (train.lengths[side] for side in SIDES)
    shape = int(source.max()) + 1, int(target.max()) + 1
    counts = np.zeros(shape[0] * shape[1], np.int64)
    for sources, targets in blocks(source, target):
        counts += np.bincount(sources * shape[1] + targets, minlength=len(counts))
    return counts.reshape(shape)


def count_tokens(train: Examples, tokenizers: Tokenizers) -> dict[str, Ints]:
    """See `Inspection.tokens`."""
    counts = {}
    for name, tokenizer in zip(SIDES, tokenizers, strict=True):
        tokens = train[name].values
        counts[name] = np.zeros(tokenizer.size, np.int64)
        for start in range(0, len(tokens), BLOCK):
            counts[name] += np.bincount(tokens[start : start + BLOCK], minlength=tokenizer.size)
    if tokenizers.source is tokenizers.target:
        counts["both"] = counts["source"] + counts["target"]
    return counts


def describe_lengths(lengths: Ints, words: tuple[Ints, Ints], tokens: dict[str, Ints]) -> Figures:
    """Lengths of sentences on either side, and the ratio of the sides.

    Args:
        lengths: as `Inspection.lengths`.
        words: number of sentences of each length in words, for each side.
        tokens: as `Inspection.tokens`.
    """
    figures: Figures = {}
    for number, (name, by_words) in enumerate(zip(SIDES, words, strict=True)):
        count = int(by_words @ np.arange(len(by_words)))
        figures[name] = {
            "words": summarise(by_words),
            "tokens": summarise(lengths.sum(axis=1 - number)),
            "tokens_per_word": _share(tokens[name].sum() - tokens[name][EOS], count),
        }
    source, target = np.nonzero(lengths)
    ratios = target / source
    order = np.argsort(ratios)
    counts = lengths[source, target][order]
    figures["ratio"] = {
        "all": _share(figures["target"]["tokens"]["sum"], figures["source"]["tokens"]["sum"]),
        **{f"percent_{percent}": float(quantile(ratios[order], counts, percent)) for percent in (1, 5, 50, 95, 99)},
    }
    return figures


def summarise(counts: Ints) -> Figures:
    """Statistics of sentence lengths, from the number of sentences of each length ([longest + 1], not all 0)."""
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
    """The smallest of the ascending values [N], with counts [N], that at least `percent` of all do not exceed."""
    cumulative = np.cumsum(counts)
    return values[int(np.searchsorted(cumulative, -(-int(cumulative[-1]) * percent // 100)))]


def describe_tokens(counts: Ints) -> Figures:
    """The use of a vocabulary, from the count of each entry [V]. Special tokens are not counted as entries; UNK counts
    as a token, EOS does not. Entries that never occur count among those that occur fewer times."""
    entries, tokens = np.sort(counts[EOS + 1 :])[::-1], int(counts.sum() - counts[EOS])
    return {
        "entries": len(entries),
        "used": int(np.count_nonzero(entries)),
        "tokens": tokens,
        f"share_of_{MOST}": _share(entries[:MOST].sum(), tokens),
        **{f"fewer_than_{times}": int((entries < times).sum()) for times in RARE},
    }


def describe_held_out(part: Corpus, tokenizers: Tokenizers, max_length: int) -> Figures:
    """All pairs of a held-out set; those longer than `max_length` tokens are included and also counted."""
    examples = pairs.in_memory(part.sources, part.targets, tokenizers)
    counts = count_tokens(examples, tokenizers)
    return {
        "pairs": len(examples),
        "lengths": {
            name: {key: value for key, value in summarise(np.bincount(lengths)).items() if key != "counts"}
            for name, lengths in examples.lengths.items()
        },
        "too_long": int((np.maximum(*examples.lengths.values()) > max_length).sum()),
        "unknown": [_share(counts[name][UNK], counts[name].sum() - counts[name][EOS]) for name in SIDES],
    }


def _repeats(text: repetition.TrainingText) -> Figures:
    source, target = text.hashes
    pairs, sources, several_targets = repetition.count_distinct(source, target)
    _, targets, several_sources = repetition.count_distinct(target, source)
    return {
        "pairs": len(source) - pairs,
        "different_sources": sources,
        "different_targets": targets,
        "sources_with_several_targets": several_targets,
        "targets_with_several_sources": several_sources,
    }


def mixture(prepared: Prepared, plan: Plan, settings: Config) -> list[Figures]:
    """The corpora of the mixture: pairs after cleaning, pairs that are short enough for training, passes per epoch, and
    share of an epoch."""
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
    """Batches of an epoch, and their padding."""
    tokens, report = plan.tokens(train.lengths), plan.report(train.lengths)
    buckets = []
    sides = zip(*tokens.values(), strict=True)
    for bucket, batches, count, real in zip(plan.buckets, plan.batches, plan.examples, sides, strict=True):
        S, T = bucket.lengths
        padded = [batches * bucket.rows * S, batches * bucket.rows * T]
        buckets.append(
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
        "tokens_per_batch": [_share(sum(side), len(plan)) for side in tokens.values()],
        "steps": settings.training.steps,
        "minutes": settings.training.minutes,
        "epochs": settings.training.steps / len(plan),
        "buckets": buckets,
    }


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 0.0
