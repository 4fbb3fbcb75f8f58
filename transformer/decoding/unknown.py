"""Replacement of unknown words in a translation by attention.

Each unknown word is replaced by the lexicon's translation of the source word with the most attention, or by that word
itself (Jean 2015, section 3.3; Luong 2015, "Addressing the Rare Word Problem", section 3).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from transformer.data.corpora.files import stream_lines
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError
from transformer.special_tokens import UNK


def read_lexicon(path: Path) -> dict[str, str]:
    """Words and their translations, one pair on each line, separated by a tab.

    Raises:
        TransformerError: the file cannot be read, a line is not a pair, or a word has two translations.
    """
    lexicon: dict[str, str] = {}
    for number, line in enumerate(stream_lines(path), 1):
        word, _, translation = (part.strip() for part in line.partition("\t"))
        if not (word and translation) or "\t" in translation:
            raise TransformerError(f"{path}, line {number}: not a word, a tab and its translation: {line[:80]!r}")
        if lexicon.setdefault(word, translation) != translation:
            raise TransformerError(f"{path}, line {number}: {word!r} has another translation above")
    return lexicon


def replace_unknown(
    line: str,
    source: Sequence[int],
    target: Sequence[int],
    weights: Float[np.ndarray, "T S"],
    tokenizers: Tokenizers,
    lexicon: Mapping[str, str],
) -> str:
    """A translation as text, with every unknown word replaced.

    Args:
        line: the source as text.
        source: its tokens, including the EOS token.
        target: the translation's tokens, without special tokens.
        weights: attention of each token of the translation to the source.
        tokenizers: word tokenizers.
        lexicon: translations of source words; a word without an entry is copied.
    """
    words, numbers = tokenizers.source.split_words(line), np.array(tokenizers.source.word_ids(source))
    # Special tokens receive attention too, but belong to no word.
    most_attended = np.where(numbers < 0, -np.inf, weights[:, : len(source)]).argmax(-1)
    pieces = tokenizers.target.pieces(target)
    for t, token in enumerate(target):
        if token == UNK:
            word = words[numbers[most_attended[t]]]
            pieces[t] = lexicon.get(word, word)
    return " ".join(pieces)
