"""Gold links of a corpus, every one of them within its pair."""

from pathlib import Path

from transformer.alignment import formats
from transformer.alignment.measure import Gold
from transformer.data.corpora.corpus import Corpus
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError


def read(path: Path, first_word: int, part: Corpus, tokenizers: Tokenizers) -> list[Gold]:
    """Gold links of each pair.

    Args:
        path: a line per pair, as `formats.read_gold` reads it.
        first_word: number of a sentence's first word in the file, 0 or 1.
        part: the pairs.
        tokenizers: they decide what a word is.

    Raises:
        TransformerError: another number of lines, or a link outside its pair.
    """
    gold = formats.read_gold(path, first_word)
    if len(gold) != len(part.sources):
        raise TransformerError(f"{path} has {len(gold)} lines for {len(part.sources)} pairs")
    for number, (pair, links) in enumerate(zip(zip(part.sources, part.targets, strict=True), gold, strict=True), 1):
        counts = [len(side.split_words(text)) for side, text in zip(tokenizers, pair, strict=True)]
        for source, target in sorted(links.possible):
            if source >= counts[0] or target >= counts[1]:
                raise TransformerError(
                    f"{path}, line {number}: {source + first_word}-{target + first_word} is outside a pair of "
                    f"{counts[0]} and {counts[1]} words, the first being word {first_word}: is --first-word "
                    f"{1 - first_word} meant?"
                )
    return gold
