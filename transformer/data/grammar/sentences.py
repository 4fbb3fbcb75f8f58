"""Whole sentences: statements, fronting, questions, coordination, and pronouns with an antecedent."""

from collections.abc import Callable
from typing import NamedTuple

from transformer.data.grammar import clauses, lexicon, phrases, verbs
from transformer.data.grammar.clauses import Field, arrange, clause, passive, predication
from transformer.data.grammar.german import Case, Person
from transformer.data.grammar.phrases import Draft, Nominal, Pair, Words

Rule = Callable[[Draft], Pair]
_AN = ("a", "e", "i", "o", "un", "hon")  # what follows "an": no "u" of "university"


class Derivation(NamedTuple):
    """One derived sentence pair, its links sorted, with the depth that its clauses nest to."""

    source: list[str]
    target: list[str]
    alignment: list[tuple[int, int]]
    constructions: frozenset[str]
    depth: int


def derive(draw: Callable[[], float], max_depth: int) -> Derivation:
    """Derive one sentence from a source of uniform numbers in [0, 1)."""
    d = Draft(draw, max_depth)
    rule = d.pick(_RULES)
    pair = rule(d)
    mark, unit = "?" if rule in _QUESTIONS else ".", d.unit()
    return finish(d, Pair([*pair.en, (mark, unit)], [*pair.de, (mark, unit)]))


def finish(d: Draft, pair: Pair) -> Derivation:
    """Resolve the German commas and convert link units to links."""
    target: list[str] = []
    units: dict[int, list[int]] = {}
    for word, unit in pair.de:
        if target and target[-1] == "," and word in ",.?":
            target.pop()  # clauses that end together share a comma, and the end of the sentence replaces it
        if unit:
            units.setdefault(unit, []).append(len(target))
        target.append(word)
    source: list[str] = []
    links: list[tuple[int, int]] = []
    for word, unit in pair.en:
        if source and source[-1] == "a" and word.startswith(_AN):
            source[-1] = "an"
        if word == "not" and source[-1] == "can":
            source[-1] = "cannot"
        else:
            source.append(word)
        links += [(len(source) - 1, j) for j in units.get(unit, ())]
    links = sorted(set(links))
    return Derivation(source, target, links, frozenset(d.used), d.deepest)


def _sphere(d: Draft) -> str:
    chance = d.draw()
    return "past" if chance < 0.47 else "now" if chance < 0.88 else "future"


def _statement(d: Draft) -> Pair:
    return clause(d, "main", 0, _sphere(d))


def _front(d: Draft, sphere: str) -> tuple[Pair, bool]:
    """A fronted adverbial, and whether it is one of time."""
    d.used.add("fronted adverbial")
    chance = d.draw()
    if chance < 0.6:
        return phrases.time(d, sphere), True
    if chance < 0.85:
        return phrases.pieces(d, d.pick(lexicon.COMMENTS)), False
    return phrases.place(d, goal=False), True


def _fronted(d: Draft) -> Pair:
    sphere = _sphere(d)
    front, timed = _front(d, sphere)
    chance = d.draw()
    if chance < 0.1:
        return passive(d, "main", 0, sphere, front=front)
    if chance < 0.15:
        return predication(d, "main", 0, sphere, front=front)
    return clause(d, "main", 0, sphere, front=front, timed=timed)


def _fronted_clause(d: Draft) -> Pair:
    if not d.max_depth:
        return _fronted(d)
    d.used.add("fronted clause")
    sphere = _sphere(d)
    front = clauses.adverbial_clause(d, 0, sphere)
    comma = (",", d.unit())
    return clause(d, "main", d.max_depth, sphere, front=Pair([*front.en, comma], [*front.de, comma]), timed=True)


def _passive(d: Draft) -> Pair:
    return passive(d, "main", 0, _sphere(d))


def _predication(d: Draft) -> Pair:
    return predication(d, "main", 0, _sphere(d))


def _coordination(d: Draft) -> Pair:
    d.used.add("coordinated clauses")
    first = _statement(d)
    comma, unit = d.unit(), d.unit()
    word, german = d.pick((("and", "und"), ("but", "aber")))
    second = clause(d, "main", d.max_depth, _sphere(d))
    return Pair(
        [*first.en, (",", comma), (word, unit), *second.en],
        [*first.de, (",", comma), (german, unit), *second.de],
    )


def _it(d: Draft, antecedent: Nominal, case: Case) -> Nominal:
    """The pronoun of an antecedent in the same sentence: it, in German of its gender."""
    d.used.add("anaphora")
    unit, noun = d.unit(), antecedent.noun
    assert noun is not None
    german = lexicon.IT[noun.gender][case]
    return Nominal([("it", unit)], [(german, unit)], Person.SINGULAR, noun, noun.gender, True, True)


_ONE = (*(lexicon.THE,) * 3, lexicon.THIS, *lexicon.POSSESSIVES[:4])


def _contrast(d: Draft) -> Pair:
    """The table is old , but it is heavy."""
    sphere = d.pick(("past", "now"))
    subject = phrases.noun_phrase(d, lexicon.THINGS, Case.NOM, 0, only=_ONE, singular=True)
    assert subject.noun is not None
    adjective = d.pick(subject.noun.adjectives)
    other = d.pick([word for word in subject.noun.adjectives if word.scale != adjective.scale])
    first = predication(d, "main", 0, sphere, subject=subject, adjective=adjective)
    second = predication(d, "main", 0, sphere, subject=_it(d, subject, Case.NOM), adjective=other)
    comma, unit = d.unit(), d.unit()
    return Pair(
        [*first.en, (",", comma), ("but", unit), *second.en],
        [*first.de, (",", comma), ("aber", unit), *second.de],
    )


def _thing(d: Draft) -> tuple[Nominal, lexicon.Verb]:
    """A thing, and a verb that takes it as its object."""
    thing = phrases.noun_phrase(d, lexicon.THINGS, Case.ACC, 0, only=_ONE, singular=True)
    assert thing.noun is not None
    return thing, d.pick(lexicon.TRANSITIVE_OF[thing.noun])


def _with_object(d: Draft, shape: clauses.Shape, sphere: str, verb: lexicon.Verb, thing: Nominal, front: Pair) -> Pair:
    """A clause with a given object."""
    person = clauses.agent(d)
    tense = "future" if sphere == "future" else "past" if sphere == "past" else "present"
    group = verbs.group(d, verb, tense, sphere, person.person, support=False, negated=False)
    parts = Field()
    parts.add(thing, parts.pronouns if thing.pronoun else parts.definite)
    return arrange(shape, person, front, group, [], parts)


def _reason(d: Draft) -> Pair:
    """Anna buys the lamp because it is beautiful."""
    if not d.max_depth:
        return _contrast(d)
    sphere = d.pick(("past", "now"))
    thing, verb = _thing(d)
    first = _with_object(d, "main", sphere, verb, thing, clauses.EMPTY)
    word, german = d.pick((("because", "weil"), ("although", "obwohl")))
    d.used.add(word)
    d.descend(0)
    unit = d.unit()
    second = predication(d, "sub", d.max_depth, sphere, subject=_it(d, thing, Case.NOM))
    return Pair([*first.en, (word, unit), *second.en], [*first.de, phrases.COMMA, (german, unit), *second.de])


def _consequence(d: Draft) -> Pair:
    """If she finds the key , she hides it."""
    if not d.max_depth:
        return _contrast(d)
    word, german, sphere = d.pick((("if", "wenn", "now"), ("when", "wenn", "now"), ("when", "als", "past")))
    d.used |= {word, "fronted clause"}
    d.descend(0)
    thing, verb = _thing(d)
    assert thing.noun is not None
    if verb.english.past == verb.english.base:
        return _contrast(d)
    unit, comma = d.unit(), (",", d.unit())
    first = _with_object(d, "sub", sphere, verb, thing, clauses.EMPTY)
    front = Pair([(word, unit), *first.en, comma], [(german, unit), *first.de, comma])
    again = d.pick([other for other in lexicon.PRONOUN_OF[thing.noun] if other is not verb] or [verb])
    return _with_object(d, "main", sphere, again, _it(d, thing, Case.ACC), front)


def _polar(d: Draft) -> Pair:
    d.used.add("question")
    sphere, chance = _sphere(d), d.draw()
    if chance < 0.15:
        return predication(d, "question", 0, sphere)
    if chance < 0.3:
        return passive(d, "question", 0, sphere)
    return clause(d, "question", d.max_depth if chance < 0.6 else 0, sphere)


def _wh(d: Draft) -> Pair:
    d.used.add("wh-question")
    sphere, chance, unit = _sphere(d), d.draw(), d.unit()
    if chance < 0.25:
        who = Nominal([("who", unit)], [("wer", unit)], Person.SINGULAR)
        return clause(d, "main", 0, sphere, subject=who, verb=d.pick(lexicon.HUMAN))
    if chance < 0.45:
        word, german = d.pick((("why", "warum"), ("when", "wann")))
        front = Pair([(word, unit)], [(german, unit)])
        return clause(d, "question", d.max_depth, sphere, front=front, timed=True)
    if chance < 0.6:
        verb = d.pick(lexicon.LOCATED)
        front = Pair([("where", unit)], [("wohin" if verb.frame == "motion" else "wo", unit)])
        return clause(d, "question", d.max_depth, sphere, verb=verb, front=front, gap=True)
    if chance < 0.75:
        verb = d.pick(lexicon.WHAT)
        front = Pair([("what", unit)], [("was", unit)])
        return clause(d, "question", d.max_depth, sphere, verb=verb, front=front, gap=True)
    if chance < 0.85:
        verb = d.pick(lexicon.WHO)
        _, preposition, case = verb.preposition
        dative = verb.frame == "dative" or case == Case.DAT
        de: Words = [("wem" if dative else "wen", unit)]
        if preposition:
            de.insert(0, (preposition, d.unit()))
        return clause(d, "question", d.max_depth, sphere, verb=verb, front=Pair([("who", unit)], de), gap=True)
    verb = d.pick(lexicon.VERBS["transitive"])
    which = phrases.noun_phrase(d, verb.objects, Case.ACC, 0, only=(lexicon.WHICH,))
    return clause(d, "question", d.max_depth, sphere, verb=verb, front=Pair(which.en, which.de), gap=True)


_RULES: tuple[Rule, ...] = (
    (_statement,) * 42
    + (_fronted,) * 17
    + (_fronted_clause,) * 10
    + (_passive,) * 5
    + (_predication,) * 4
    + (_coordination,) * 6
    + (_contrast,) * 2
    + (_reason,) * 2
    + (_consequence,) * 2
    + (_polar,) * 5
    + (_wh,) * 5
)
_QUESTIONS = (_polar, _wh)
