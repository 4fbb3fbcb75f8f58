"""Replacement of unknown words in a translation by attention.

Each unknown word is replaced by the lexicon's translation of the source word with the most attention, or by that word
itself (Jean 2015, section 3.3; Luong 2015, "Addressing the Rare Word Problem", section 3).
"""

import logging
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from jaxtyping import Float

from transformer.data.corpora.files import stream_lines
from transformer.data.normal_form import split_words
from transformer.data.tokenizers.tokenizer import Sentence, Tokenizers
from transformer.errors import TransformerError
from transformer.special_tokens import UNK

log = logging.getLogger(__name__)


def read_lexicon(path: Path, tokenizers: Tokenizers) -> dict[str, str]:
    """Words and their translations, one pair on each line, separated by a tab; blank lines are skipped.

    Both are converted as the tokenizers convert text. A warning counts the entries that stand for several source words
    and are never used.

    Raises:
        TransformerError: the file cannot be read, a line is not a pair, or a word has two translations.
    """
    lexicon: dict[str, str] = {}
    for number, line in enumerate(stream_lines(path), 1):
        if not line:
            continue
        word, _, translation = (part.strip() for part in line.partition("\t"))
        if not (word and translation) or "\t" in translation:
            raise TransformerError(f"{path}, line {number}: not a word, a tab and its translation: {line[:80]!r}")
        word, translation = tokenizers.source.normal(word), tokenizers.target.normal(translation)
        if lexicon.setdefault(word, translation) != translation:
            raise TransformerError(f"{path}, line {number}: {word!r} already has a different translation above")
    phrases = [word for word in lexicon if len(split_words(word)) > 1]
    if phrases:
        log.warning("%s: entries for several words, which replace nothing: %d (%r ...)", path, len(phrases), phrases[0])
    return lexicon


def replace_unknown(
    line: str,
    source: Sequence[int],
    target: Sequence[int],
    weights: Float[np.ndarray, "T S"],
    tokenizers: Tokenizers,
    lexicon: Mapping[str, str],
) -> Sentence:
    """A translation with every unknown word replaced. A token whose replacement has several words is part of the last.

    Args:
        line: the source as text.
        source: its tokens, including the EOS token; they may be truncated.
        target: the translation's tokens, without special tokens.
        weights: attention of each token of the translation to the source.
        tokenizers: word tokenizers.
        lexicon: translations of source words; a word without an entry is copied.
    """
    read = tokenizers.source.segment(line)
    words, numbers = read.words, np.array([*read.word_ids[: len(source) - 1], -1])
    # Special tokens receive attention too, but belong to no word.
    most_attended = np.where(numbers < 0, -np.inf, weights[:, : len(source)]).argmax(-1)
    pieces = tokenizers.target.pieces(target)
    for t, token in enumerate(target):
        if token == UNK:
            word = words[numbers[most_attended[t]]]
            pieces[t] = lexicon.get(word, word)
    ends = accumulate(len(split_words(piece)) for piece in pieces)
    return Sentence(" ".join(pieces), tuple(target), tuple(end - 1 for end in ends))
