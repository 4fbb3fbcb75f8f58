"""Noun phrases and the other parts of a clause, in both languages at once.

A word is a token with the number of its link unit: every English word of a unit is linked to every German
word of it, however much the two orders differ. Words of unit 0 are not linked.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from transformer.data.grammar import lexicon, numbers
from transformer.data.grammar.german import RELATIVE, Case, Gender, Person, Strength, contract
from transformer.data.grammar.lexicon import Adjective, Determiner, Noun, Place, Pronoun, Segments

Words = list[tuple[str, int]]
T = TypeVar("T")

COMMA: tuple[str, int] = (",", 0)  # a German comma that has no English counterpart


class Draft:
    """State of one derivation: the random source, the number of link units, and the constructions used."""

    __slots__ = ("deepest", "draw", "max_depth", "units", "used")

    def __init__(self, draw: Callable[[], float], max_depth: int) -> None:
        self.draw = draw
        self.max_depth = max_depth
        self.units = 0
        self.deepest = 0
        self.used: set[str] = set()

    def unit(self) -> int:
        """A new link unit."""
        self.units += 1
        return self.units

    def pick(self, words: Sequence[T]) -> T:
        """Choose one of the words, all with equal probability."""
        return words[int(self.draw() * len(words))]

    def descend(self, level: int) -> int:
        """Level of a clause nested in one at `level`."""
        level += 1
        self.deepest = max(self.deepest, level)
        return level


class Pair(NamedTuple):
    """Words of both languages that belong together."""

    en: Words
    de: Words


class Nominal(NamedTuple):
    """A noun phrase in one case. `tail` is a relative clause that follows the verbal bracket."""

    en: Words
    de: Words
    person: Person
    noun: Noun | None = None
    gender: Gender = Gender.PLURAL
    definite: bool = True
    pronoun: bool = False
    negated: bool = False  # "kein" expresses the negation of the clause
    heavy: bool = False  # ends in a clause, so nothing may follow it in English
    tail: Words = []  # noqa: RUF012 - never modified


Relative = Callable[[Draft, Noun, Gender, int], Pair]  # builds the clause that modifies a noun

DETERMINERS = (
    (lexicon.THE,) * 10
    + (lexicon.A,) * 7
    + (lexicon.THIS,) * 2
    + lexicon.POSSESSIVES
    + (lexicon.EVERY, lexicon.SOME, lexicon.MANY)
)
WITH_NO = (*DETERMINERS, lexicon.NO)
_INDEFINITE = (lexicon.A, lexicon.NO, lexicon.SOME, lexicon.MANY)
OVERT = tuple(word for word in DETERMINERS if word is not lexicon.MANY and word is not lexicon.SOME)
_DEFINITE = (lexicon.THE,) * 6 + (lexicon.THIS,) + lexicon.POSSESSIVES[:4]
NEGATABLE = (*_DEFINITE, *(lexicon.A,) * 5)
_SINGLE = (*_DEFINITE, *(lexicon.A,) * 4)


def pieces(d: Draft, segments: Segments) -> Pair:
    """Words of a fixed phrase; each of its pieces is a link unit."""
    en: Words = []
    de: Words = []
    for english, german in segments:
        unit = d.unit()
        en += [(word, unit) for word in english]
        de += [(word, unit) for word in german]
    return Pair(en, de)


def pronoun(d: Draft, word: Pronoun, case: Case) -> Nominal:
    """A personal pronoun."""
    unit = d.unit()
    english = word.english[case != Case.NOM]
    gender = Gender.PLURAL  # never read: nothing modifies a pronoun
    return Nominal([(english, unit)], [(word.german[case], unit)], word.person, None, gender, True, True)


def name(d: Draft) -> Nominal:
    """A person's name, the same in all cases but the genitive."""
    word, unit = d.pick(lexicon.NAMES), d.unit()
    return Nominal([(word, unit)], [(word, unit)], Person.SINGULAR)


def noun_phrase(
    d: Draft,
    nouns: Sequence[Noun],
    case: Case,
    level: int,
    *,
    relative: Relative | None = None,
    negation: int = 0,
    only: Sequence[Determiner] = DETERMINERS,
    singular: bool = False,
) -> Nominal:
    """A noun with determiner, number, adjectives and optionally a relative clause.

    `negation` is the unit of an English "not" that a German "kein" may express.
    """
    noun = d.pick(nouns)
    determiner = d.pick(NEGATABLE if negation else only)
    mass = not noun.english[1]
    plural = not mass and (
        determiner is lexicon.MANY or determiner is lexicon.SOME or (not singular and d.draw() < 0.25)
    )
    if plural and determiner is lexicon.EVERY:
        plural = False
    if mass and not determiner.english[0]:
        determiner = lexicon.THE
    if mass and determiner is lexicon.EVERY:
        determiner = lexicon.THIS
    gender = Gender.PLURAL if plural else noun.gender
    number = 0
    if plural and not negation and (determiner is lexicon.A or determiner is lexicon.THE) and d.draw() < 0.25:
        number = _number(d)
    strength = determiner.strength[plural]
    unit = d.unit()
    english = determiner.english[plural]
    german = determiner.forms[gender][case]
    negated = False
    if determiner is lexicon.A:
        if mass:
            english = german = ""
            strength = Strength.STRONG
        if negation and not number:
            german, strength, unit, negated = lexicon.NO.forms[gender][case], Strength.MIXED, negation, True
    en: Words = [(english, unit)] if english else []
    de: Words = [(german, unit)] if german else []
    if number:
        count = d.unit()
        en += [(word, count) for word in numbers.english(number)]
        de.append((numbers.german(number), count))
        d.used.add("numeral")
    if d.draw() < 0.3:
        _adjectives(d, noun, strength, gender, case, en, de)
    head = d.unit()
    en.append((noun.english[plural], head))
    de.append((noun.german[plural][case], head))
    person = Person.PLURAL if plural else Person.SINGULAR
    definite = determiner not in _INDEFINITE and not negated
    if relative is None or level >= d.max_depth or d.draw() > 0.22:
        return Nominal(en, de, person, noun, gender, definite, negated=negated)
    clause = relative(d, noun, gender, d.descend(level))
    d.used.add("relative")
    if number:
        d.used.add("numeral with relative")
    return Nominal(en + clause.en, de, person, noun, gender, definite, False, negated, True, clause.de)


def in_place(nominal: Nominal) -> Nominal:
    """The phrase with its relative clause right after the noun, between commas."""
    if not nominal.tail:
        return nominal
    return nominal._replace(de=[*nominal.de, COMMA, *nominal.tail, COMMA], tail=[])


def _adjectives(
    d: Draft, noun: Noun, strength: Strength, gender: Gender, case: Case, en: Words, de: Words
) -> Adjective:
    adjective = d.pick(noun.adjectives)
    if d.draw() < 0.15:
        other = d.pick(noun.adjectives)
        if other.scale != adjective.scale:
            _adjective(d, other, strength, gender, case, en, de)
    _adjective(d, adjective, strength, gender, case, en, de)
    return adjective


def _adjective(d: Draft, word: Adjective, strength: Strength, gender: Gender, case: Case, en: Words, de: Words) -> None:
    unit = d.unit()
    en.append((word.english, unit))
    de.append((word.forms[strength][gender][case], unit))


def _number(d: Draft) -> int:
    if d.draw() < 0.5:
        return 2 + int(d.draw() * 11)
    number = 13 + int(d.draw() * 987)
    # "hundertein Häuser" and the like have several spellings.
    return number + 1 if number % 100 == 1 else number


def possessive(d: Draft, nouns: Sequence[Noun], case: Case) -> Nominal:
    """A possessor before the noun in English, after it in German: the man 's dog, der Hund des Mannes.

    "'s" is a determiner, and linked to the article that German has in its place.
    """
    d.used.add("genitive")
    noun = d.pick(nouns)
    marker = d.unit()
    gender = noun.gender
    en: Words
    de: Words
    after: Words
    if d.draw() < 0.3:
        owner = name(d)
        en = [*owner.en, ("'s", marker)]
        de = [(owner.de[0][0] + "s", owner.de[0][1])]
        # Without an article "'s" is part of the name's unit.
        en[-1] = ("'s", owner.de[0][1])
        strength, after = Strength.STRONG, []
    else:
        holder = noun_phrase(d, lexicon.PEOPLE, Case.GEN, 0, only=_ONE, singular=True)
        en = [*holder.en, ("'s", marker)]
        de = [(lexicon.THE.forms[gender][case], marker)]
        strength, after = Strength.WEAK, holder.de
    if d.draw() < 0.3:
        _adjectives(d, noun, strength, gender, case, en, de)
    head = d.unit()
    en.append((noun.english[0], head))
    de.append((noun.german[0][case], head))
    return Nominal(en, de + after, Person.SINGULAR, noun, gender)


_ONE = (*(lexicon.THE,) * 4, *lexicon.POSSESSIVES[:4], lexicon.A, lexicon.THIS)


def of_phrase(d: Draft, case: Case) -> Nominal:
    """A part and its whole: the roof of the house, das Dach des Hauses."""
    d.used.add("genitive")
    part = noun_phrase(d, lexicon.CLASSES["part"], case, 0, only=_THE, singular=True)
    assert part.noun is not None
    whole = noun_phrase(d, lexicon.WHOLES[part.noun], Case.GEN, 0, only=_THE)
    unit = whole.en[0][1]
    return part._replace(en=[*part.en, ("of", unit), *whole.en], de=part.de + whole.de)


_THE = (lexicon.THE,)


def prepositional(
    d: Draft,
    english: str,
    german: str,
    case: Case,
    nouns: Sequence[Noun],
    level: int,
    *,
    relative: Relative | None = None,
    only: Sequence[Determiner] = _SINGLE,
) -> Nominal:
    """A preposition with its noun phrase in the singular, contracted if German contracts it."""
    phrase = noun_phrase(d, nouns, case, level, relative=relative, only=only, singular=True)
    return with_preposition(d, english, german, phrase)


def with_preposition(d: Draft, english: str, german: str, phrase: Nominal, verb: int = 0) -> Nominal:
    """Put a preposition before a noun phrase; underscores join the words of an English one.

    If English has none, the German one belongs to the unit of the verb.
    """
    first, article = phrase.de[0]
    # Only the definite article contracts, not other determiners or pronouns that look like it.
    joined = contract(german, first) if phrase.en[0][0] == "the" else None
    unit = article if joined else d.unit() if english else verb
    before: Words = [(word, unit) for word in english.split("_")] if english else []
    de: Words = [(joined, unit), *phrase.de[1:]] if joined else [(german, unit), *phrase.de]
    return phrase._replace(en=before + phrase.en, de=de)


def place(d: Draft, *, goal: bool) -> Pair:
    """Where something happens or, as a goal, where it goes: the verb decides the German case."""
    if d.draw() < 0.12:
        city, unit, preposition = d.pick(lexicon.CITIES), d.unit(), d.unit()
        en, de = ("to", "nach") if goal else ("in", "in")
        return Pair([(en, preposition), (city[0], unit)], [(de, preposition), (city[1], unit)])
    spot: Place = d.pick(lexicon.GOALS if goal else lexicon.PLACES)
    german = spot.goal if goal else spot.rest
    case = Case.ACC if goal and german != "zu" else Case.DAT
    phrase = prepositional(d, "to" if goal else spot.english, german, case, (spot.noun,), 0)
    return Pair(phrase.en, phrase.de)


def time(d: Draft, sphere: str, *, negated: bool = False) -> Pair:
    """When something happens, in the past, now or in the future.

    A negation would have to precede "jeden Tag", so a negated clause has none.
    """
    if sphere == "past" and d.draw() < 0.15:
        number, (unit_en, unit_de) = 2 + int(d.draw() * 11), d.pick(lexicon.UNITS)
        count, head, ago = d.unit(), d.unit(), d.unit()
        en: Words = [*((word, count) for word in numbers.english(number)), (unit_en, head), ("ago", ago)]
        return Pair(en, [("vor", ago), (numbers.german(number), count), (unit_de, head)])
    return pieces(d, d.pick((lexicon.SINGLE_TIMES if negated else lexicon.TIMES)[sphere]))


def relative_pronoun(noun: Noun, gender: Gender, case: Case) -> tuple[str, str]:
    """English and German relative pronoun."""
    return "who" if noun.human else "which", RELATIVE[gender][case]
