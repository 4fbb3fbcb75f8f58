"""IBM Model 1 (Brown et al. 1993): word alignment from words without their order, as a baseline.

Expectation maximisation over co-occurrences, all sentence pairs at once, in NumPy. The empty word is source word 0.
"""

from collections.abc import Sequence

import numpy as np

from transformer.alignment.links import Links
from transformer.data.normal_form import split_words


class Ibm1:
    """t(target word | source word), trained on sentence pairs of words."""

    def __init__(self, sources: Sequence[str], targets: Sequence[str], iterations: int = 10):
        self.source_ids = _number(sources, first=1)
        self.target_ids = _number(targets, first=0)
        V = len(self.target_ids)
        keys, groups = [], []
        group = 0
        for source, target in zip(sources, targets, strict=True):
            s = np.array([0, *(self.source_ids[word] for word in split_words(source))], np.int64)
            t = np.array([self.target_ids[word] for word in split_words(target)], np.int64)
            keys.append((s[None, :] * V + t[:, None]).reshape(-1))
            groups.append(np.repeat(np.arange(group, group + len(t)), len(s)))
            group += len(t)
        # Each co-occurrence is one entry: which cell of t it is, and which target word's expectation it shares in.
        self.cells, entry = np.unique(np.concatenate(keys), return_inverse=True)
        shares = np.concatenate(groups)
        source_of = self.cells // V
        self.probabilities = np.full(len(self.cells), 1.0 / V)
        for _ in range(iterations):
            each = self.probabilities[entry]
            each /= np.bincount(shares, each)[shares]
            counts = np.bincount(entry, each, len(self.cells))
            self.probabilities = counts / np.bincount(source_of, counts)[source_of]

    def align(self, source: str, target: str) -> Links:
        """Each target word with the source word that most probably generated it; none if that is the empty word."""
        s = np.array([0, *(self.source_ids.get(word, -1) for word in split_words(source))], np.int64)
        links = set()
        for place, word in enumerate(split_words(target)):
            if word in self.target_ids:
                keys = s * len(self.target_ids) + self.target_ids[word]
                found = np.minimum(np.searchsorted(self.cells, keys), len(self.cells) - 1)
                known = (self.cells[found] == keys) & (s >= 0)
                best = int(np.where(known, self.probabilities[found], 0.0).argmax())
                if best:
                    links.add((best - 1, place))
        return frozenset(links)


def _number(sentences: Sequence[str], first: int) -> dict[str, int]:
    words = sorted({word for sentence in sentences for word in split_words(sentence)})
    return {word: number for number, word in enumerate(words, first)}


def diagonal(source: str, target: str) -> Links:
    """Each target word with the source word at the same relative position."""
    S, T = len(split_words(source)), len(split_words(target))
    return frozenset((min(S - 1, round((t + 0.5) * S / T - 0.5)), t) for t in range(T))
