"""English morphology: plurals of nouns and the five forms of a verb."""

from typing import NamedTuple

_DOUBLING = frozenset(
    ["hug", "cancel", "travel", "regret", "admit", "begin", "swim", "forget", "run", "sit", "get", "put", "stop", "hit"]
)
_VOWELS = "aeiou"

# Of "be" by agreement: I, you, he, we, they.
BE = ("am", "are", "is", "are", "are")
WAS = ("was", "were", "was", "were", "were")


class Forms(NamedTuple):
    """Forms of an English verb, without its particle."""

    base: str
    third: str
    past: str
    participle: str
    gerund: str


def plural(noun: str) -> str:
    """Regular plural of a noun."""
    return _with_s(noun)


def verb(base: str, past: str = "", participle: str = "") -> Forms:
    """Forms of a verb; what is not given is regular."""
    past = past or _regular_past(base)
    third = "has" if base == "have" else _with_s(base)
    return Forms(base, third, past, participle or past, _gerund(base))


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh", "go")):
        return word + "es"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _regular_past(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in _VOWELS:
        return base[:-1] + "ied"
    return base + base[-1] * (base in _DOUBLING) + "ed"


def _gerund(base: str) -> str:
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith("ee"):
        return base[:-1] + "ing"
    return base + base[-1] * (base in _DOUBLING) + "ing"
