"""Conversion of every text before it is tokenised, and its words.

A text is converted to the Unicode normal form of the training text (--data.filter.normalize). Characters that
sentencepiece reserves are replaced by ordinary ones, whatever the tokenizer:

- U+2581, its symbol for a space: by "_";
- U+2585, its symbol for unknown characters: by U+2586, the next block. Its training would skip every sentence that
  contains one;
- NUL, which no vocabulary can hold: by U+2400, the symbol for NUL.

Each is replaced by one character that is not a space, so the words of a text, which are separated by plain spaces, stay
the same.
"""

import re
import unicodedata
from typing import Any, Literal, cast

Form = Literal["none", "nfc", "nfkc"]

RESERVED = {"\u2581": "_", "\u2585": "\u2586", "\0": "\u2400"}
"""Characters that sentencepiece reserves, and what replaces them."""
_RESERVED = re.compile(f"[{''.join(RESERVED)}]")


def normalize(text: str, form: Form) -> str:
    """A sentence in a Unicode normal form, stripped (nfkc turns a spacing accent into a space and an accent); unchanged
    for `none`."""
    if form == "none":
        return text
    return unicodedata.normalize(cast(Any, form.upper()), text).strip()


def replace_reserved(text: str) -> str:
    """A text without the characters that sentencepiece reserves."""
    return _RESERVED.sub(lambda found: RESERVED[found[0]], text)


def split_words(text: str) -> list[str]:
    """The words of a text, which alignments number from 0: separated only by plain spaces, because French has other
    spaces within its words."""
    return [word for word in text.split(" ") if word]
