"""Unknown words of a translation, replaced by way of the attention.

Each becomes what a lexicon gives for the source word that was looked at most, or else that word itself (Jean 2015,
section 3.3; Luong 2015, "Addressing the Rare Word Problem", section 3).
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
    """Words and their translations, a pair a line, parted by a tab.

    Raises:
        TransformerError: the file cannot be read, a line is no pair, or a word has two translations.
    """
    lexicon: dict[str, str] = {}
    for number, line in enumerate(stream_lines(path), 1):
        word, _, translation = (part.strip() for part in line.partition("\t"))
        if not (word and translation) or "\t" in translation:
            raise TransformerError(f"{path}, line {number}: not a word, a tab and its translation: {line[:80]!r}")
        if lexicon.setdefault(word, translation) != translation:
            raise TransformerError(f"{path}, line {number}: {word!r} has another translation above")
    return lexicon


def spell(
    line: str,
    source: Sequence[int],
    target: Sequence[int],
    weights: Float[np.ndarray, "T S"],
    tokenizers: Tokenizers,
    lexicon: Mapping[str, str],
) -> str:
    """A translation as text, every unknown word replaced.

    Args:
        line: the source as text.
        source: its tokens, with the end mark.
        target: the translation's tokens, without marks.
        weights: of the attention to the source, for each token of the translation.
        tokenizers: of words.
        lexicon: translations of source words; a word that it lacks is copied.
    """
    words, numbers = tokenizers.source.split_words(line), np.array(tokenizers.source.word_ids(source))
    # Marks are looked at, too, but stand for no word.
    looked_at = np.where(numbers < 0, -np.inf, weights[:, : len(source)]).argmax(-1)
    said = tokenizers.target.pieces(target)
    for place, token in enumerate(target):
        if token == UNK:
            word = words[numbers[looked_at[place]]]
            said[place] = lexicon.get(word, word)
    return " ".join(said)
