"""Settings of the search."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from transformer.attention.config import Attention
from transformer.errors import UsageError


@dataclass(frozen=True)
class Decoding:
    """Search for translations: a beam, greedily with a beam of 1, or by drawing samples."""

    beam: Annotated[int, Ge(1)] = 4
    """Hypotheses kept a sentence; 1 is greedy."""
    normalize: Literal["gnmt", "average", "none"] = "gnmt"
    """What log-probabilities are divided by, so that length is no blame: gnmt: ((5 + length) / 6) ** length_penalty
    (Wu et al. 2016, equation 14). average: length ** length_penalty. none: nothing."""
    length_penalty: Annotated[float, Ge(0)] = 0.6
    """The exponent alpha."""
    coverage_penalty: Annotated[float, Ge(0)] = 0.0
    """beta of Wu et al. 2016, equation 14, added to scores: source tokens that were not looked at cost; 0 is off."""
    n_best: Annotated[int, Ge(1)] = 1
    """Translations given for each sentence, best first; of samples all are given."""
    min_length: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 0
    """Fewest tokens of a translation, the end mark not counted."""
    max_ratio: Annotated[float, Ge(0)] = 2.0
    """Longest translation, as a multiple of the source's length ..."""
    max_extra: Annotated[int, Ge(1)] = 10
    """... plus this many tokens ..."""
    max_length: Annotated[int, Ge(0)] = 0
    """... and at most this many, the end mark included; 0: as many as the model can."""
    samples: Annotated[int, Ge(0)] = 0
    """Draw so many translations of each sentence in place of searching with a beam."""
    temperature: Annotated[float, Ge(0.001)] = 1.0
    """samples: log-probabilities are divided by it; below 1 is surer, above 1 is wilder."""
    top_k: Annotated[int, Ge(0)] = 0
    """samples: only from the k likeliest tokens; 0 is all."""
    top_p: Annotated[float, Interval(ge=1e-06, le=1)] = 1.0
    """samples: only from the likeliest tokens that together have this probability."""
    min_p: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """samples: only from tokens with at least this share of the likeliest one's probability."""
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 1
    """samples: of drawing; a sentence's samples depend on it and on the line's number alone."""
    mbr: Literal["none", "chrf", "bleu"] = "none"
    """Of the samples or the n best, order by expected chrF or BLEU against all others (minimum Bayes risk)."""
    batch: Annotated[int, Ge(1)] = 64
    """Sentences searched at once."""
    workers: Annotated[int, Interval(ge=0, le=64)] = 0
    """Threads that search side by side; 0: two on a CPU with more than one core, otherwise one."""
    attention: bool = False
    """Give with each translation what it looked at."""
    replace_unknown: bool = False
    """word tokenizers: an unknown word of a translation becomes that of the source which it looks at most, or what
    the lexicon has for it (Jean 2015; Luong 2015, "Addressing the Rare Word Problem")."""
    lexicon: str = ""
    """replace_unknown: a file of source words and their translations, a pair a line, parted by a tab."""

    @property
    def given(self) -> int:
        """Translations given for each sentence."""
        return self.samples or self.n_best

    @property
    def rows(self) -> int:
        """Hypotheses that grow side by side for each sentence."""
        return self.samples or self.beam

    @property
    def alone(self) -> bool:
        """Each hypothesis grows by itself: samples, or a greedy search."""
        return self.samples > 0 or self.beam == 1

    @property
    def looks(self) -> bool:
        """The attention to the source is wanted."""
        return self.attention or self.replace_unknown or self.coverage_penalty > 0


def check(search: Decoding, tokenizer: str, attention: Attention | None, flags: str = "--decoding.") -> None:
    """Refuse a search whose settings do not go together, or not with the model.

    Args:
        search: to be checked.
        tokenizer: its kind.
        attention: of the model to the source; None where it has no such setting.
        flags: what the names of the search's settings begin with where the user gives them.

    Raises UsageError.
    """
    if search.lexicon and not search.replace_unknown:
        raise UsageError(f"{flags}lexicon serves {flags}replace-unknown, which is not given")
    if search.replace_unknown and tokenizer != "word":
        raise UsageError(f"{flags}replace-unknown is for --tokenizer.kind=word: with {tokenizer} no word is unknown")
    if search.looks and attention is not None and attention.score == "none":
        flag = next(name for name in ("replace_unknown", "coverage_penalty", "attention") if getattr(search, name))
        raise UsageError(
            f"{flags}{flag.replace('_', '-')} goes by the attention, and --model.attention.score=none has none"
        )
    if search.n_best > search.rows:
        flag = "samples" if search.samples else "beam"
        raise UsageError(f"{flags}n-best={search.n_best} of {flags}{flag}={search.rows}: raise the latter")
    drawing = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    given = next((name for name, off in drawing.items() if getattr(search, name) != off), None)
    if given is not None and not search.samples:
        raise UsageError(f"{flags}{given.replace('_', '-')} is of sampling: give {flags}samples too")
    if search.max_length and search.max_length <= search.min_length:
        raise UsageError(
            f"{flags}max-length={search.max_length} leaves no room for {flags}min-length={search.min_length} and the "
            "end mark"
        )
    if search.mbr != "none" and search.samples < 2 and search.n_best < 2:
        raise UsageError(f"{flags}mbr chooses among several: give {flags}samples or {flags}n-best")
