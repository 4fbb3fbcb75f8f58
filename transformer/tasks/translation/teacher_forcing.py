"""Teacher forcing on given translations: their log-probabilities, and the attention to their sources."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer.alignment.extract import Extractor, Pair
from transformer.alignment.links import Links, Rule
from transformer.alignment.record import Attended
from transformer.data.batching.batches import each_once
from transformer.data.batching.buckets import choose_buckets, within
from transformer.data.config import Batching
from transformer.data.pairs import in_memory
from transformer.data.tokenizers.tokenizer import Sentence, Tokenizers
from transformer.decoding.remarks import remark
from transformer.decoding.scoring import Scorer, SentenceScores
from transformer.plurals import counted
from transformer.special_tokens import UNK


def score(
    scorer: Scorer,
    parameters: Any,
    tokenizers: Tokenizers,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    max_length: int,
    batching: Batching,
) -> SentenceScores:
    """Log-probability of each target given its source, in nats.

    A pair longer than `max_length` tokens has NaN; such pairs, and pairs with unknown words, are reported (see
    `decoding.remarks`).
    """
    if not sources:
        return SentenceScores(np.zeros(0), np.zeros(0, np.int64), [])
    pairs = in_memory(sources, targets, tokenizers)
    batching = within(batching, max_length)
    fits = np.flatnonzero(np.maximum(*pairs.lengths.values()) <= max_length)
    nothing, pieces = np.zeros(0), [list[str]() for _ in sources]
    scores = SentenceScores(np.full(len(sources), np.nan), pairs.lengths["target"], [nothing] * len(sources), pieces)
    unknown = [n for n in range(len(sources)) if any(UNK in pairs[side][n] for side in pairs.lengths)]
    remark(
        "pairs with words or letters that the model does not know, scored as its unknown token",
        [number + 1 for number in unknown],
    )
    if len(fits) < len(sources):
        long = np.setdiff1d(np.arange(len(sources)), fits) + 1
        remark(f"pairs longer than {counted(max_length, 'token')}, which have no score", long.tolist())
        kept = fits.tolist()
        pairs = in_memory([sources[i] for i in kept], [targets[i] for i in kept], tokenizers)
    if len(fits):
        buckets = choose_buckets(pairs.lengths, batching, batching.batch_multiple)
        plan = each_once(pairs.lengths, batching, buckets, batching.batch_multiple)
        known = scorer.score(parameters, pairs, plan)
        scores.logp[fits] = known.logp
        for row, number in enumerate(fits):
            scores.each[number] = known.each[row]
            pieces[number] = tokenizers.target.pieces(pairs["target"][row].tolist())
    return scores


def attend(
    extractor: Extractor,
    parameters: Any,
    tokenizers: Tokenizers,
    sources: Sequence[str],
    targets: Sequence[Sentence],
    first: int = 1,
    by: Sequence[str] = (),
) -> list[Attended | None]:
    """All attention weights of each pair, and read-outs; None if a side is empty or longer than the model's limit.

    Args:
        extractor: of the model.
        parameters: of the model.
        tokenizers: of the model.
        sources: sentences.
        targets: their translations.
        first: the number of the first line, for messages.
        by: names of read-outs, see `alignment.readouts.names`.
    """
    return extractor.extract(parameters, pairs(tokenizers, sources, targets), first, by)


def links(
    extractor: Extractor,
    parameters: Any,
    tokenizers: Tokenizers,
    sources: Sequence[str],
    targets: Sequence[Sentence],
    rule: Rule,
    first: int = 1,
) -> list[Links | None]:
    """The links of each pair under a rule; the arguments and None are those of `attend`."""
    return extractor.links(parameters, pairs(tokenizers, sources, targets), rule, first)


def pairs(tokenizers: Tokenizers, sources: Sequence[str], targets: Sequence[Sentence]) -> list[Pair]:
    """Sentences and their translations as tokens."""
    return [Pair(*pair) for pair in zip(tokenizers.source.segment_all(sources), targets, strict=True)]
