"""Comprehensiveness and sufficiency: the drop of a prediction without the source words that a read-out ranks highest,
and with these alone.

DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models", section 4.2. The prediction is the
probability of a target token after the tokens before it, the rationale r its word's k highest source words:

    comprehensiveness = p(y_t | x) - p(y_t | x without r)          (equation 1)
    sufficiency       = p(y_t | x) - p(y_t | r)                    (equation 2)

A faithful read-out has high comprehensiveness and low sufficiency. A removed word is deleted from the sentence with all
its pieces; the EOS token stays. The mean over several k is the area over the perturbation curve (equation 3, whose sum
also includes the empty rationale).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from transformer.alignment.extract import Pair
from transformer.alignment.faithfulness.amounts import Amount
from transformer.data.tokenizers.tokenizer import Sentence

Kept = tuple[int, ...]
"""Source words that are left, in order."""
LogProbabilities = Callable[[Sequence[Pair]], Sequence[np.ndarray]]
"""For each pair the log-probability of every target token."""


class Falls(NamedTuple):
    """Sums over the target tokens of a sentence."""

    comprehensiveness: Float[np.ndarray, " A"]
    """For each amount."""
    sufficiency: Float[np.ndarray, " A"]


def falls(
    score: LogProbabilities,
    pairs: Sequence[Pair],
    orders: Sequence[Sequence[Int[np.ndarray, "U W"]]],
    amounts: Sequence[Amount],
) -> list[list[Falls]]:
    """For each pair, the drops for each of its orders.

    A shortened sentence that several words, amounts or orders share is scored once.

    Args:
        score: by the model.
        pairs: N of them.
        orders: for each pair, source words by target word, the most important first.
        amounts: how many of them are the rationale.
    """
    tasks = list(
        dict.fromkeys(
            (n, kept)
            for n, of_pair in enumerate(orders)
            for each in of_pair
            for kept in (_every(each), *_all_kept(each, amounts))
        )
    )
    scored = score([Pair(keep(pairs[n].source, kept), pairs[n].target) for n, kept in tasks])
    found: list[dict[Kept, np.ndarray]] = [{} for _ in pairs]
    for (n, kept), logp in zip(tasks, scored, strict=True):
        found[n][kept] = np.exp(logp)
    return [
        [_falls(each, amounts, pair.target, probabilities) for each in of_pair]
        for pair, of_pair, probabilities in zip(pairs, orders, found, strict=True)
    ]


def keep(sentence: Sentence, words: Iterable[int]) -> Sentence:
    """The sentence with some of its words only."""
    left = set(words)
    kept = [(token, word) for token, word in zip(sentence.tokens, sentence.word_ids, strict=True) if word in left]
    text = " ".join(word for number, word in enumerate(sentence.words) if number in left)
    numbers = {word: number for number, word in enumerate(sorted(left))}
    return Sentence(text, tuple(token for token, _ in kept), tuple(numbers[word] for _, word in kept))


def _every(orders: Int[np.ndarray, "U W"]) -> Kept:
    return tuple(range(orders.shape[1]))


def _split(order: Int[np.ndarray, " W"], amount: Amount) -> tuple[Kept, Kept]:
    """The sentence without the rationale, and the rationale."""
    k = amount.of(len(order))
    return tuple(sorted(order[k:].tolist())), tuple(sorted(order[:k].tolist()))


def _all_kept(orders: Int[np.ndarray, "U W"], amounts: Sequence[Amount]) -> Iterator[Kept]:
    for order in orders:
        for amount in amounts:
            yield from _split(order, amount)


def _falls(
    orders: Int[np.ndarray, "U W"],
    amounts: Sequence[Amount],
    target: Sentence,
    probabilities: Mapping[Kept, Float[np.ndarray, " T"]],
) -> Falls:
    sums = np.zeros((2, len(amounts)))
    whole = probabilities[_every(orders)]
    for t, word in enumerate(target.word_ids):
        if word >= 0:
            for place, amount in enumerate(amounts):
                for what, kept in enumerate(_split(orders[word], amount)):
                    sums[what, place] += whole[t] - probabilities[kept][t]
    return Falls(*sums)
