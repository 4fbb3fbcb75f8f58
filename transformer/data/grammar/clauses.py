"""Clauses: complements of verbs, the order of the German middle field, and nested clauses.

English order decides every attachment: a phrase that ends in a clause ("heavy") ends its own clause too, so
that what follows can never be read as part of either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from transformer.data.grammar import lexicon, phrases, verbs
from transformer.data.grammar.german import REFLEXIVE, Case, Gender, Person
from transformer.data.grammar.lexicon import Adjective, Noun, Verb
from transformer.data.grammar.phrases import COMMA, Draft, Nominal, Pair, Words

Shape = Literal["main", "sub", "question"]
EMPTY = Pair([], [])

_ADVERBIAL = frozenset(("intransitive", "transitive", "dative", "motion"))
_FRAMES = (
    ("intransitive",) * 10
    + ("transitive",) * 26
    + ("dative",) * 5
    + ("prepositional",) * 12
    + ("ditransitive",) * 9
    + ("position",) * 4
    + ("motion",) * 7
    + ("placing",) * 4
)
_NESTING = _FRAMES + ("that",) * 13 + ("whether",) * 4 + ("infinitive",) * 10 + ("control",) * 6
_INDIRECT = (*(lexicon.THE,) * 4, lexicon.A, *lexicon.POSSESSIVES[:3])
_OVERT = (*(lexicon.THE,) * 4, *(lexicon.THIS,) * 2, *lexicon.POSSESSIVES[:3])
_SITES = (("on", "auf"), ("on", "auf"), ("under", "unter"), ("behind", "hinter"), ("next_to", "neben"))
_CONJUNCTIONS = {
    "past": (("because", "weil"), ("when", "als"), ("although", "obwohl"), ("while", "während"), ("after", "nachdem")),
    "now": (("because", "weil"), ("if", "wenn"), ("when", "wenn"), ("although", "obwohl"), ("as_soon_as", "sobald")),
}
_SHORT = 4  # words of a relative clause that may stand inside the verbal bracket
_PARTICLES_APART = frozenset(("up", "on", "off", "away", "along"))  # "picks him up" would split the verb


@dataclass(slots=True)
class Field:
    """What follows the verb in English, and the slots of the German middle field in their order."""

    en: Words = field(default_factory=list)
    reflexive: Words = field(default_factory=list)
    pronouns: Words = field(default_factory=list)
    early: Words = field(default_factory=list)  # time
    dative: Words = field(default_factory=list)
    definite: Words = field(default_factory=list)
    middle: Words = field(default_factory=list)  # frequency, nicht, gern, manner
    indefinite: Words = field(default_factory=list)
    late: Words = field(default_factory=list)  # place, goal, prepositional object, predicate
    tail: Words = field(default_factory=list)  # clauses after the verbal bracket
    heavy: bool = False
    negated: bool = False  # "kein" expresses the negation

    @property
    def de(self) -> Words:
        """The middle field in order, without the reflexive pronoun before it."""
        return [
            *self.pronouns,
            *self.early,
            *self.dative,
            *self.definite,
            *self.middle,
            *self.indefinite,
            *self.late,
        ]

    def end_with(self, pair: Pair) -> None:
        """Add a clause that ends this one, after a German comma."""
        self.en += pair.en
        self.tail += [COMMA, *pair.de]
        self.heavy = True

    def add(self, phrase: Nominal, slot: Words) -> None:
        """Add an object; its relative clause is inside the verbal bracket if it is short, and after it otherwise."""
        if len(phrase.tail) <= _SHORT:
            phrase = phrases.in_place(phrase)
        elif phrase.tail:
            self.tail += [COMMA, *phrase.tail]
        self.en += phrase.en
        slot += phrase.de
        self.heavy = self.heavy or phrase.heavy
        self.negated = self.negated or phrase.negated


def clause(
    d: Draft,
    shape: Shape,
    level: int,
    sphere: str,
    *,
    verb: Verb | None = None,
    subject: Nominal | None = None,
    front: Pair = EMPTY,
    gap: bool = False,
    context: str = "main",
    tense: str = "",
    timed: bool = False,
) -> Pair:
    """An active clause. With a `gap` its object stands in `front`; `timed`: it already has an adverbial of time."""
    verb = verb or d.pick(lexicon.VERBS[d.pick(_NESTING if level < d.max_depth else _FRAMES)])
    if front.en and verb.frame == "ditransitive" and context == "main" and shape == "main":
        d.used.add("fronted with ditransitive")
    if verb.german.prefix and context == "relative":
        d.used.add("relative with separable")
    negated = d.draw() < 0.14
    if subject is None:
        subject = _subject(d, verb, level, negated)
    if not tense:
        human = subject.pronoun or subject.noun is None or subject.noun.human
        tense = d.pick((verbs.TENSES if human else verbs.PLAIN)[sphere])
        if verb.state and tense in ("progressive", "gern"):
            tense = "present"
    if tense == "perfect":
        if front.en and not gap:
            tense = "past"  # "yesterday he has slept" is not English
        timed = True
    closed = tense == "perfect"  # no clause of time either
    inverted = shape == "question"
    group = verbs.group(d, verb, tense, sphere, subject.person, support=inverted or negated, negated=negated)
    if context == "because" and tense.startswith("modal"):
        d.used.add("because with modal")
    return _assemble(d, shape, level, sphere, verb, subject, front, group, gap, negated, timed, closed)


def _assemble(
    d: Draft,
    shape: Shape,
    level: int,
    sphere: str,
    verb: Verb,
    subject: Nominal,
    front: Pair,
    group: verbs.Group,
    gap: bool,
    negated: bool,
    timed: bool,
    closed: bool,
) -> Pair:
    negation = d.unit() if negated else 0
    parts = Field()
    if verb.german.reflexive:
        parts.reflexive.append((REFLEXIVE[subject.person], group.unit))
    # "gern" requires "nicht": "liest nicht gern Bücher", never "liest keine Bücher gern".
    complements(d, verb, parts, level, sphere, subject.person, 0 if group.gern else negation, gap, group.unit)
    if gap and verb.preposition[1] and not verb.preposition[0]:
        front.de[0] = (front.de[0][0], group.unit)
    elif gap and verb.preposition[0]:
        # English strands the preposition after the verb; German fronts it.
        parts.en.append((verb.preposition[0], front.de[0][1]))
    before: Words = []
    if negated:
        before.append(("not", negation))
        d.used.add("negation")
        if not parts.negated:
            parts.middle.append(("nicht", negation))
    elif group.gern is None and not timed and subject.en[0][0] != "no" and d.draw() < 0.12:
        often = phrases.pieces(d, d.pick(lexicon.FREQUENCY))
        before += often.en
        parts.middle += often.de
        timed = True
    if group.gern:
        parts.middle += group.gern
    adverbials(d, verb, parts, level, sphere, timed=timed, negated=negated, closed=closed)
    free = not parts.heavy and level < d.max_depth and verb.frame in _ADVERBIAL
    human = subject.noun is None or subject.noun.human
    if free and human and not verb.state and d.draw() < 0.06:
        parts.end_with(purpose(d, subject.person, level))
    return arrange(shape, subject, front, group, before, parts)


def arrange(shape: Shape, subject: Nominal, front: Pair, group: verbs.Group, before: Words, parts: Field) -> Pair:
    """Put the parts in order: English subject-verb, German verb-second, verb-first or verb-final."""
    if shape == "question":
        en = [*front.en, *group.en_finite, *subject.en, *before, *group.en_rest, *parts.en]
    else:
        en = [*front.en, *subject.en, *group.en_finite, *before, *group.en_rest, *parts.en]
    if shape == "sub":
        return Pair(en, [*front.de, *subject.de, *parts.reflexive, *parts.de, *group.final, *parts.tail])
    if front.de or shape == "question":
        # "gestern hat er sich erinnert", but "gestern hat sich der Mann erinnert"
        order = [*subject.de, *parts.reflexive] if subject.pronoun else [*parts.reflexive, *subject.de]
        return Pair(en, [*front.de, group.finite, *order, *parts.de, *group.right, *parts.tail])
    return Pair(en, [*subject.de, group.finite, *parts.reflexive, *parts.de, *group.right, *parts.tail])


def _subject(d: Draft, verb: Verb, level: int, negated: bool) -> Nominal:
    chance = d.draw()
    human = verb.subjects[0].human
    if human and chance < 0.27:
        return phrases.pronoun(d, d.pick(lexicon.PRONOUNS), Case.NOM)
    if human and chance < 0.33:
        return phrases.name(d)
    if chance < 0.39:
        return phrases.possessive(d, verb.subjects, Case.NOM)
    if chance < 0.45:
        return _coordination(d, verb.subjects)
    if human and chance < 0.50:
        person = phrases.noun_phrase(d, lexicon.PEOPLE, Case.NOM, level, only=_OVERT)
        thing = phrases.prepositional(
            d, "with", "mit", Case.DAT, lexicon.CLASSES["garment"], level, only=(lexicon.THE,)
        )
        return person._replace(en=person.en + thing.en, de=person.de + thing.de)
    only = phrases.NEGATABLE if negated else phrases.WITH_NO
    phrase = phrases.noun_phrase(d, verb.subjects, Case.NOM, level, relative=relative, only=only)
    return phrases.in_place(phrase)


def _coordination(d: Draft, nouns: Sequence[Noun]) -> Nominal:
    d.used.add("coordination")
    first = phrases.noun_phrase(d, nouns, Case.NOM, 0, only=_OVERT)
    second = phrases.noun_phrase(d, nouns, Case.NOM, 0, only=_OVERT)
    unit = d.unit()
    en, de = [*first.en, ("and", unit), *second.en], [*first.de, ("und", unit), *second.de]
    return Nominal(en, de, Person.PLURAL, first.noun)


def complements(
    d: Draft, verb: Verb, parts: Field, level: int, sphere: str, person: Person, negation: int, gap: bool, unit: int
) -> None:
    """Add the complements that the frame of the verb requires; its words are in `unit`."""
    frame = verb.frame
    if frame == "intransitive":
        return
    if frame in ("transitive", "dative", "prepositional"):
        _object(d, verb, parts, level, negation, gap, unit)
    elif frame == "ditransitive":
        d.used.add("ditransitive")
        _person(d, parts, Case.DAT, parts.dative)
        thing = phrases.noun_phrase(
            d, verb.objects, Case.ACC, level, relative=relative, only=phrases.OVERT, negation=negation
        )
        parts.add(thing, parts.definite if thing.definite else parts.indefinite)
    elif frame == "position":
        d.used.add("position")
        if gap:
            return
        at_place = verb.objects[0].kind == "place"
        here = phrases.place(d, goal=False) if at_place else _site(d, Case.DAT)
        parts.en += here.en
        parts.late += here.de
    elif frame == "placing":
        d.used.add("placing")
        thing = phrases.noun_phrase(d, verb.objects, Case.ACC, level, only=phrases.OVERT, negation=negation)
        parts.add(thing, parts.definite if thing.definite else parts.indefinite)
        goal = _site(d, Case.ACC)
        parts.en += goal.en
        parts.late += goal.de
    elif frame == "motion":
        d.used.add("direction")
        how = phrases.pieces(d, verb.how)
        goal = EMPTY if gap else phrases.place(d, goal=True)
        parts.en += goal.en + how.en
        parts.late += how.de + goal.de
    elif frame == "control":
        d.used.add("control")
        agent = _person(d, parts, verb.preposition[2], parts.dative)
        parts.end_with(infinitive(d, agent, d.descend(level)))
    elif frame == "infinitive":
        parts.end_with(infinitive(d, person, d.descend(level)))
    else:
        _content(d, verb, parts, level, sphere)


def _object(d: Draft, verb: Verb, parts: Field, level: int, negation: int, gap: bool, unit: int) -> None:
    english, german, case = verb.preposition
    if german:
        d.used.add("prepositional verb")
        if gap:
            return
        if verb.objects[0].human and d.draw() < 0.2:
            phrase = phrases.pronoun(d, d.pick(lexicon.THIRD), case)
        else:
            only = phrases.NEGATABLE if negation else phrases.DETERMINERS
            phrase = phrases.noun_phrase(d, verb.objects, case, level, relative=relative, only=only)
        parts.add(phrases.with_preposition(d, english, german, phrase, unit), parts.late)
        return
    case = Case.ACC
    if verb.frame == "dative":
        d.used.add("dative verb")
        case = Case.DAT
    if gap:
        return
    chance = d.draw()
    human = verb.objects[0].human and not _PARTICLES_APART.intersection(verb.particle)
    if chance > 0.85 and verb.objects[-1].kind == "part":
        parts.add(phrases.of_phrase(d, case), parts.definite)
    elif human and chance < 0.3:
        parts.add(phrases.pronoun(d, d.pick(lexicon.THIRD), case), parts.pronouns)
    elif chance < 0.07:
        parts.add(phrases.possessive(d, verb.objects, case), parts.definite)
    else:
        noun_phrase = phrases.noun_phrase(d, verb.objects, case, level, relative=relative, negation=negation)
        definite = noun_phrase.definite or case == Case.DAT
        parts.add(noun_phrase, parts.definite if definite else parts.indefinite)


def _person(d: Draft, parts: Field, case: Case, slot: Words) -> Person:
    if d.draw() < 0.3:
        phrase = phrases.pronoun(d, d.pick(lexicon.PRONOUNS), case)
        parts.add(phrase, parts.pronouns)
    else:
        phrase = phrases.noun_phrase(d, lexicon.PEOPLE, case, 0, only=_INDIRECT, singular=True)
        parts.add(phrase, slot)
    return phrase.person


def _site(d: Draft, case: Case) -> Pair:
    english, german = d.pick(_SITES)
    phrase = phrases.prepositional(d, english, german, case, lexicon.FURNITURE, 0, only=_OVERT)
    return Pair(phrase.en, phrase.de)


def _content(d: Draft, verb: Verb, parts: Field, level: int, sphere: str) -> None:
    """The clause that a verb of saying or asking takes."""
    unit = d.unit()
    if verb.frame == "that":
        word, german = "that", "dass"
        inner = sphere if sphere == "past" else d.pick(lexicon.SPHERES)
    else:
        word, german = d.pick((("whether", "ob"), ("whether", "ob"), ("why", "warum")))
        inner = "past" if sphere == "past" else "now"
    d.used.add(word)
    level = d.descend(level)
    content = subordinate(d, level, inner, word)
    parts.end_with(Pair([(word, unit), *content.en], [(german, unit), *content.de]))


def subordinate(d: Draft, level: int, sphere: str, context: str, tense: str = "") -> Pair:
    """A verb-final clause without its conjunction."""
    if not tense:
        chance = d.draw()
        if chance < 0.1:
            return predication(d, "sub", level, sphere)
        if chance < 0.2:
            return passive(d, "sub", level, sphere, context=context)
    return clause(d, "sub", level, sphere, context=context, tense=tense)


def adverbial_clause(d: Draft, level: int, sphere: str) -> Pair:
    """A conjunction and its clause, without commas."""
    sphere = "past" if sphere == "past" else "now"
    word, german = d.pick(_CONJUNCTIONS[sphere])
    tense = "past" if word == "when" and sphere == "past" else "pluperfect" if word == "after" else ""
    unit = d.unit()
    d.used.add(word.replace("_", " "))
    inner = subordinate(d, d.descend(level), sphere, word, tense)
    return Pair([*((w, unit) for w in word.split("_")), *inner.en], [(german, unit), *inner.de])


def adverbials(
    d: Draft,
    verb: Verb,
    parts: Field,
    level: int,
    sphere: str,
    *,
    timed: bool,
    negated: bool = False,
    closed: bool = False,
) -> None:
    """Manner, place and time in English order, each in its German slot; then optionally a clause."""
    if parts.heavy:
        return
    if verb.frame in _ADVERBIAL and not verb.state:
        if verb.frame != "intransitive" and not verb.german.reflexive and d.draw() < 0.13:
            manner = phrases.pieces(d, d.pick(lexicon.MANNER))
            parts.en += manner.en
            parts.middle += manner.de
        if verb.frame != "motion" and d.draw() < 0.2:
            here = phrases.place(d, goal=False)
            d.used.add("place")
            parts.en += here.en
            parts.late += here.de
    if not timed and d.draw() < 0.3:
        when = phrases.time(d, sphere, negated=negated)
        d.used.add("time")
        parts.en += when.en
        parts.early += when.de
    if not closed and level < d.max_depth and d.draw() < 0.12:
        parts.end_with(adverbial_clause(d, level, sphere))


def infinitive(d: Draft, person: Person, level: int) -> Pair:
    """An infinitive with its complements; `person` is its agent."""
    d.used.add("infinitive")
    verb = d.pick(lexicon.VERBS[d.pick(_FRAMES)])
    while not verb.subjects[0].human or verb.state:
        verb = d.pick(lexicon.VERBS[d.pick(_FRAMES)])
    en, de = verbs.zu_infinitive(d, verb)
    parts = Field()
    if verb.german.reflexive:
        parts.reflexive.append((REFLEXIVE[person], en[-1][1]))
    complements(d, verb, parts, level, "now", person, 0, False, en[-1][1])
    if verb.frame != "motion":
        adverbials(d, verb, parts, d.max_depth, "now", timed=True)
    return Pair(en + parts.en, [*parts.reflexive, *parts.de, *de, *parts.tail])


def purpose(d: Draft, person: Person, level: int) -> Pair:
    """in order to ..., um ... zu ..."""
    d.used.add("purpose")
    inner = infinitive(d, person, d.descend(level))
    unit = d.unit()
    return Pair([("in", unit), ("order", unit), *inner.en], [("um", unit), *inner.de])


def passive(d: Draft, shape: Shape, level: int, sphere: str, *, front: Pair = EMPTY, context: str = "main") -> Pair:
    """A passive clause, optionally with its agent."""
    verb = d.pick(lexicon.PASSIVE)
    negated = d.draw() < 0.12
    only = phrases.NEGATABLE if negated else phrases.WITH_NO
    subject = phrases.in_place(phrases.noun_phrase(d, verb.objects, Case.NOM, level, relative=relative, only=only))
    tense = d.pick(verbs.PASSIVE[sphere])
    if tense == "perfect" and front.en:
        tense = "past"
    if context == "because" and tense == "modal":
        d.used.add("because with modal")
    support = negated or shape == "question"
    group = verbs.passive(d, verb, tense, sphere, subject.person, support=support, negated=negated)
    parts, before = Field(), list[tuple[str, int]]()
    if negated:
        negation = d.unit()
        d.used.add("negation")
        before.append(("not", negation))
        parts.middle.append(("nicht", negation))
    if d.draw() < 0.5:
        agent = phrases.prepositional(d, "by", "von", Case.DAT, lexicon.PEOPLE, level, relative=relative)
        parts.add(agent, parts.late)
    if not parts.heavy and not front.en and tense != "perfect" and d.draw() < 0.3:
        when = phrases.time(d, sphere, negated=negated)
        parts.en += when.en
        parts.early += when.de
    return arrange(shape, subject, front, group, before, parts)


def predication(
    d: Draft,
    shape: Shape,
    level: int,
    sphere: str,
    *,
    subject: Nominal | None = None,
    front: Pair = EMPTY,
    adjective: Adjective | None = None,
) -> Pair:
    """A copular clause: an adjective or a comparison."""
    negated = d.draw() < 0.15
    if subject is None and d.draw() < 0.1:
        subject = phrases.of_phrase(d, Case.NOM)
    elif subject is None:
        pool = lexicon.PEOPLE if d.draw() < 0.4 else lexicon.PREDICABLE
        only = phrases.NEGATABLE if negated else phrases.DETERMINERS
        phrase = phrases.noun_phrase(d, pool, Case.NOM, level, relative=relative, only=only)
        subject = phrases.in_place(phrase)
    assert subject.noun is not None
    group = verbs.copula(d, sphere, subject.person, perfect=sphere == "past" and not front.en and d.draw() < 0.1)
    parts, before = Field(), list[tuple[str, int]]()
    if negated:
        negation = d.unit()
        d.used.add("negation")
        before.append(("not", negation))
        parts.middle.append(("nicht", negation))
    adjective, unit = adjective or d.pick(subject.noun.adjectives), d.unit()
    if d.draw() < 0.25:
        d.used.add("comparative")
        than = d.unit()
        other = phrases.noun_phrase(d, lexicon.CLASSES_OF[subject.noun], Case.NOM, 0, only=_OVERT)
        parts.en += [*((word, unit) for word in adjective.more), ("than", than), *other.en]
        parts.late += [(adjective.comparative, unit), ("als", than), *other.de]
    else:
        parts.en.append((adjective.english, unit))
        parts.late.append((adjective.german, unit))
    return arrange(shape, subject, front, group, before, parts)


def relative(d: Draft, noun: Noun, gender: Gender, level: int) -> Pair:
    """The clause that modifies a noun, which is its subject, its object or a possessor in it."""
    person = Person.PLURAL if gender == Gender.PLURAL else Person.SINGULAR
    sphere = "past" if d.draw() < 0.5 else "now"
    chance = d.draw()
    if noun.human and chance < 0.12:
        return _whose(d, gender, level, sphere)
    subjects, objects = lexicon.SUBJECT_OF[noun], lexicon.OBJECT_OF[noun]
    if subjects and chance < 0.55:
        verb = _nestable(d, subjects, level)
        who = _link(d, noun, gender, Case.NOM, person)
        return clause(d, "sub", level, sphere, verb=verb, subject=who, context="relative")
    if not objects or chance > 0.93:
        return predication(d, "sub", level, sphere, subject=_link(d, noun, gender, Case.NOM, person))
    verb = d.pick(objects)
    english, german, case = verb.preposition
    d.used.add("object relative")
    if german:
        if english:
            d.used.add("stranded preposition")
        who = _link(d, noun, gender, case, person)
        front = Pair(who.en, [(german, d.unit()), *who.de])
    else:
        who = _link(d, noun, gender, Case.DAT if verb.frame == "dative" else Case.ACC, person)
        front = Pair(who.en, who.de)
    return clause(d, "sub", level, sphere, verb=verb, front=front, gap=True, context="relative", subject=agent(d))


def agent(d: Draft) -> Nominal:
    """A light subject for a relative clause whose object is the noun."""
    if d.draw() < 0.5:
        return phrases.pronoun(d, d.pick(lexicon.PRONOUNS), Case.NOM)
    return phrases.noun_phrase(d, lexicon.PEOPLE, Case.NOM, 0, only=_OVERT)


def _nestable(d: Draft, pool: Sequence[Verb], level: int) -> Verb:
    verb = d.pick(pool)
    while level >= d.max_depth and verb.frame in ("that", "infinitive"):
        verb = d.pick(pool)
    return verb


def _link(d: Draft, noun: Noun, gender: Gender, case: Case, person: Person) -> Nominal:
    english, german = phrases.relative_pronoun(noun, gender, case)
    unit = d.unit()
    return Nominal([(english, unit)], [(german, unit)], person, noun, gender)


def _whose(d: Draft, gender: Gender, level: int, sphere: str) -> Pair:
    """whose dog sleeps, dessen Hund schläft."""
    d.used.add("whose")
    unit = d.unit()
    verb = d.pick(lexicon.VERBS["intransitive"])
    owned = phrases.noun_phrase(d, verb.subjects, Case.NOM, level, only=(lexicon.BARE,), singular=True)
    subject = owned._replace(en=[("whose", unit), *owned.en], de=[(lexicon.whose(gender), unit), *owned.de])
    return clause(d, "sub", level, sphere, verb=verb, subject=subject, context="relative")
