"""German morphology: declension of articles, adjectives and nouns, and the forms of verbs."""

from enum import IntEnum
from typing import NamedTuple


class Case(IntEnum):
    """Index into the tables of declension."""

    NOM = 0
    ACC = 1
    DAT = 2
    GEN = 3


class Gender(IntEnum):
    """Three genders, and the plural, which has none."""

    MASCULINE = 0
    FEMININE = 1
    NEUTER = 2
    PLURAL = 3


class Person(IntEnum):
    """What a finite verb agrees with. "you" is always one person, addressed as du."""

    I = 0  # noqa: E741
    YOU = 1
    SINGULAR = 2
    WE = 3
    PLURAL = 4


class Strength(IntEnum):
    """Declension of the adjective, which the determiner governs."""

    WEAK = 0
    MIXED = 1
    STRONG = 2


Table = tuple[tuple[str, ...], ...]  # [gender][case]

ARTICLE: Table = (
    ("der", "den", "dem", "des"),
    ("die", "die", "der", "der"),
    ("das", "das", "dem", "des"),
    ("die", "die", "den", "der"),
)
RELATIVE: Table = (
    ("der", "den", "dem", "dessen"),
    ("die", "die", "der", "deren"),
    ("das", "das", "dem", "dessen"),
    ("die", "die", "denen", "deren"),
)
REFLEXIVE = ("mich", "dich", "sich", "uns", "sich")

_DER: Table = (("er", "en", "em", "es"), ("e", "e", "er", "er"), ("es", "es", "em", "es"), ("e", "e", "en", "er"))
_EIN: Table = (("", "en", "em", "es"), ("e", "e", "er", "er"), ("", "", "em", "es"), ("e", "e", "en", "er"))
_ADJECTIVE: tuple[Table, Table, Table] = (
    (("e", "en", "en", "en"), ("e", "e", "en", "en"), ("e", "e", "en", "en"), ("en", "en", "en", "en")),
    (("er", "en", "en", "en"), ("e", "e", "en", "en"), ("es", "es", "en", "en"), ("en", "en", "en", "en")),
    (("er", "en", "em", "en"), ("e", "e", "er", "er"), ("es", "es", "em", "en"), ("e", "e", "en", "er")),
)
_CONTRACTIONS = {
    ("in", "dem"): "im",
    ("in", "das"): "ins",
    ("an", "dem"): "am",
    ("an", "das"): "ans",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("von", "dem"): "vom",
    ("bei", "dem"): "beim",
}
_INSEPARABLE = ("be", "ver", "ent", "er", "zer", "ge", "emp")


def contract(preposition: str, article: str) -> str | None:
    """One word for a preposition and a definite article, where German has one: in dem -> im."""
    return _CONTRACTIONS.get((preposition, article))


def der_word(stem: str) -> Table:
    """Declension of a determiner like dieser, from its stem."""
    return tuple(tuple(stem + ending for ending in row) for row in _DER)


def ein_word(stem: str) -> Table:
    """Declension of a determiner like mein, from its stem."""
    return tuple(tuple(stem + ending for ending in row) for row in _EIN)


def adjective(word: str) -> tuple[Table, Table, Table]:
    """Attributive forms of an adjective by strength, gender and case."""
    stem = attributive_stem(word)
    weak, mixed, strong = (tuple(tuple(stem + ending for ending in row) for row in endings) for endings in _ADJECTIVE)
    return weak, mixed, strong


def attributive_stem(word: str) -> str:
    """Stem of an adjective before an ending: teuer -> teur, dunkel -> dunkl, hoch -> hoh, müde -> müd."""
    if word == "hoch":
        return "hoh"
    if word.endswith("el"):
        return word[:-2] + "l"
    if word.endswith(("auer", "euer")):
        return word[:-2] + "r"
    return word.removesuffix("e")


def noun(nominative: str, gender: Gender, plural: str, *, weak: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Forms of a noun by case, in the singular and in the plural."""
    dative_plural = plural if plural.endswith(("n", "s")) else plural + "n"
    many = (plural, plural, dative_plural, plural)
    if weak:
        genitive = plural + "s" if nominative == "Name" else plural
        oblique = "Nachbarn" if nominative == "Nachbar" else plural
        return (nominative, oblique, oblique, genitive), many
    if gender == Gender.FEMININE:
        return (nominative,) * 4, many
    return (nominative, nominative, nominative, nominative + _genitive_ending(nominative)), many


def _genitive_ending(word: str) -> str:
    if word.endswith("nis"):
        return "ses"
    if word.endswith("us"):
        return "ses" if word == "Bus" else "es"
    if word.endswith(("s", "ß", "x", "z", "sch", "st")):
        return "es"
    vowels = [letter in "aeiouyäöü" for letter in word.lower()]
    syllables = sum(here and not after for here, after in zip(vowels, [*vowels[1:], False], strict=True))
    return "es" if syllables == 1 and not vowels[-1] and word not in ("Park", "Schal") else "s"


class Verb(NamedTuple):
    """Forms of a German verb, the separable prefix joined except in `present`, which agrees by `Person`."""

    present: tuple[str, ...]
    preterite: tuple[str, ...]  # only of the verbs that prefer it to the perfect, else empty
    infinitive: str
    participle: str
    zu_infinitive: str  # "aufzustehen" is one word; "zu schlafen" is written by the syntax as two
    prefix: str
    auxiliary: "Verb | None"  # None stands for the verb itself
    reflexive: bool


def verb(entry: str) -> Verb:
    """Conjugation of an entry of the vocabulary: [sich_][prefix|]infinitive[:third[/second]:participle][+]."""
    moves = entry.endswith("+")
    bare = entry.removesuffix("+")
    reflexive = bare.startswith("sich_")
    bare = bare.removeprefix("sich_")
    prefix, _, principal = bare.rpartition("|")
    parts = principal.split(":")
    infinitive = parts[0]
    third, _, second = parts[1].partition("/") if len(parts) > 1 else ("", "", "")
    participle = parts[2] if len(parts) > 2 else _weak_participle(infinitive)
    return Verb(
        present=_present(infinitive, third, second),
        preterite=_PRETERITES.get(infinitive, ()),
        infinitive=prefix + infinitive,
        participle=prefix + participle,
        zu_infinitive=f"{prefix}zu{infinitive}" if prefix else infinitive,
        prefix=prefix,
        auxiliary=SEIN if moves else HABEN,
        reflexive=reflexive,
    )


def _stem(infinitive: str) -> str:
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


def _linked(stem: str) -> str:
    """The stem with the e that eases -t and -st: arbeit-e-t, öffn-e-t, but lern-t."""
    nasal = stem[-1] in "mn" and stem[-2] not in "aeiouäöülrhmn"
    return stem + "e" if stem[-1] in "dt" or nasal else stem


def _present(infinitive: str, third: str, second: str) -> tuple[str, ...]:
    stem = _stem(infinitive)
    first = stem[:-2] + "le" if infinitive.endswith("eln") else stem + "e"
    if not third:
        third = _linked(stem) + "t"
        second = _linked(stem) + ("t" if stem[-1] in "sßzx" else "st")
    elif not third.endswith("t"):
        first = third  # mag, weiß
    if not second:
        root = third[:-1]
        second = root + ("t" if root[-1] in "sßzx" else "st")
    return first, second, third, infinitive, infinitive


def _weak_participle(infinitive: str) -> str:
    ending = _linked(_stem(infinitive)) + "t"
    return ending if infinitive.endswith("ieren") or infinitive.startswith(_INSEPARABLE) else "ge" + ending


def _finite(forms: str) -> tuple[str, ...]:
    first, second, third, plural = forms.split()
    return first, second, third, plural, plural


_PRETERITES = {
    "haben": _finite("hatte hattest hatte hatten"),
    "mögen": _finite("mochte mochtest mochte mochten"),
    "wissen": _finite("wusste wusstest wusste wussten"),
}
HABEN = Verb(
    _finite("habe hast hat haben"),
    _PRETERITES["haben"],
    "haben",
    "gehabt",
    "haben",
    "",
    None,
    False,
)
SEIN = Verb(_finite("bin bist ist sind"), _finite("war warst war waren"), "sein", "gewesen", "sein", "", None, False)
WERDEN = Verb(
    _finite("werde wirst wird werden"),
    _finite("wurde wurdest wurde wurden"),
    "werden",
    "geworden",
    "werden",
    "",
    SEIN,
    False,
)
