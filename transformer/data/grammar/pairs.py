"""A synchronous grammar of English and German: endless sentence pairs with gold word alignments.

It is a corpus for studies of attention in translation that need no download, so it concentrates on reordering: verbal
brackets, verb-final clauses, separable verbs, relative clauses, fronting, negation. Every English sentence has exactly
one German translation, which depends on cases, genders and often on distant words.

Alignments. A link unit is the smallest unit of meaning that the two languages share; each of its English words is
linked to each of its German words. A German word without a counterpart therefore belongs to the word that requires it:

* "hat" and "gekauft" are linked to "bought"; with an English auxiliary ("has bought", "did not buy"), "hat" is
  linked to the auxiliary and "gekauft" to the verb. "does" is linked to the finite verb where German has no
  auxiliary.
* A separable prefix and a reflexive "sich" are linked to the verb and its English particle.
* "zu" is linked to "to", and "aufzustehen" to "to get up".
* Articles are linked to articles, "im" to "in the", "keinen" to "not a", "'s" to the article it stands for.
* Punctuation is linked to its counterpart. German commas without a counterpart are the only unlinked words.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

from transformer.data.grammar.sentences import derive
from transformer.plurals import counted

SPLITS = ("train", "validation", "test", "unseen")
UNSEEN: dict[str, str] = {
    "relative with separable": "a separable verb closes a relative clause: the man who gets up early",
    "because with modal": "a modal in a because-clause: because she wants to swim",
    "numeral with relative": "a counted noun with a relative clause: three dogs which sleep",
    "fronted with ditransitive": "an adverbial or clause before a verb with two objects: yesterday he gave her a book",
    "reflexive infinitive": "a reflexive verb in an infinitive with zu: he tries to remember the name",
}
"""Combinations of constructions that occur only in the split "unseen"; each construction alone occurs in the others."""

_UNSEEN = frozenset(UNSEEN)
_MAX_FAILURES = 100_000
_SHORTEST = 3


class Pair(NamedTuple):
    """A sentence pair: tokens joined by single spaces, sorted links of word indices, names of its constructions."""

    source: str
    target: str
    alignment: tuple[tuple[int, int], ...]
    constructions: frozenset[str]


def generate(split: str, *, seed: int = 1, max_words: int = 30, max_depth: int = 2) -> Iterator[Pair]:
    """Generate distinct pairs of a split, endlessly; equal arguments give equal pairs on every platform.

    Neither side has more than `max_words` tokens; clauses nest at most `max_depth` deep in the main clause. The split
    of a sentence depends only on the sentence, so splits are disjoint for all seeds and limits.

    Raises:
        ValueError: impossible arguments; or, while iterating, a grammar without further pairs within the limits.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}: choose one of {', '.join(SPLITS)}")
    if max_words < _SHORTEST:
        raise ValueError(f"max_words={max_words} is too small: the shortest sentence has {_SHORTEST} tokens")
    if max_depth < 0:
        raise ValueError(f"max_depth={max_depth} must not be negative")
    return _generate(split, seed, max_words, max_depth)


def _generate(split: str, seed: int, max_words: int, max_depth: int) -> Iterator[Pair]:
    draw = random.Random(f"grammar {split} {seed}").random  # a string as seed gives the same numbers on every platform
    seen: set[int] = set()
    unseen = split == "unseen"
    failures = 0
    while failures < _MAX_FAILURES:
        failures += 1
        tokens, german, links, constructions, _ = derive(draw, max_depth)
        if len(tokens) > max_words or len(german) > max_words or constructions.isdisjoint(_UNSEEN) == unseen:
            continue
        source = " ".join(tokens)
        key = int.from_bytes(blake2b(source.encode(), digest_size=8, key=b"split").digest(), "big")
        if key in seen or not (unseen or _split(key) == split):
            continue
        seen.add(key)
        failures = 0
        yield Pair(source, " ".join(german), tuple(links), constructions)
    raise ValueError(
        f"the grammar is exhausted: {counted(len(seen), 'pair')} of {split!r} with max_words={max_words} and "
        f"max_depth={max_depth}; raise max_words or max_depth, or ask for fewer"
    )


def _split(key: int) -> str:
    share = key % 20
    return "test" if share == 19 else "validation" if share == 18 else "train"


def constructions() -> list[str]:
    """The constructions of the first thousand training sentences, which are all but the rarest, in alphabetical
    order."""
    return sorted(set().union(*(pair.constructions for pair in islice(generate("train"), 1_000))) - _UNSEEN)


def word_table(pairs: Iterable[Pair]) -> dict[str, str]:
    """For each source word the target words most often linked to it, joined in their order; "" if there are none."""
    counts: dict[str, Counter[str]] = {}
    for pair in pairs:
        source, target = pair.source.split(), pair.target.split()
        linked: list[list[str]] = [[] for _ in source]
        for i, j in pair.alignment:
            linked[i].append(target[j])
        for word, words in zip(source, linked, strict=True):
            counts.setdefault(word, Counter())[" ".join(words)] += 1
    return {word: min(found, key=lambda text: (-found[text], text)) for word, found in counts.items()}


def word_for_word(source: str, table: dict[str, str]) -> str:
    """Translate word by word in source order; a word that is not in the table is copied."""
    return " ".join(filter(None, (table.get(word, word) for word in source.split())))
