"""How many source words are removed: a number or a share. Imports no JAX, because the command line imports it at
startup."""

import math
import re
from typing import NamedTuple

from transformer.errors import UsageError

AMOUNTS = ("1", "10%", "20%", "50%")
"""One word, and the shares of DeYoung et al. 2020 (section 4.2) that are at least a word in a sentence of usual length.
"""


class Amount(NamedTuple):
    """A number of words, or a share of a sentence's words."""

    number: int
    share: bool

    @classmethod
    def parse(cls, text: str) -> "Amount":
        """From "1" or "10%". Raises UsageError for anything else."""
        if not re.fullmatch(r"[0-9]+%?", text) or int(text.rstrip("%")) == 0:
            raise UsageError(f"--remove {text}: give a number of words above 0, such as 1, or a share, such as 10%")
        number = int(text.rstrip("%"))
        if text.endswith("%") and number > 100:
            raise UsageError(f"--remove {text}: there are no more than 100% of the words")
        return cls(number, text.endswith("%"))

    def of(self, words: int) -> int:
        """The number of words for a sentence of this length; a share is rounded up."""
        return min(words, math.ceil(words * self.number / 100) if self.share else self.number)

    def __str__(self) -> str:
        return f"{self.number}%" if self.share else str(self.number)
