"""Verbal groups: the finite verb and the rest of the bracket, in every tense, mood and voice."""

from dataclasses import dataclass

from transformer.data.grammar import english, lexicon
from transformer.data.grammar.german import HABEN, SEIN, WERDEN, Person
from transformer.data.grammar.lexicon import Modal, Verb
from transformer.data.grammar.phrases import Draft, Words

TENSES = {
    "past": ("past",) * 12 + ("perfect",) * 2 + ("pluperfect",) * 2 + ("modal",) * 3,
    "now": ("present",) * 7 + ("progressive",) * 2 + ("modal",) * 5 + ("modal perfect",) + ("gern",),
    "future": ("future",) * 3 + ("modal",),
}
# For subjects that are not human: no modals, no "gern".
PLAIN = {"past": ("past",) * 4 + ("pluperfect",), "now": ("present",) * 3 + ("progressive",), "future": ("future",)}
PASSIVE = {
    "past": ("past",) * 4 + ("perfect", "pluperfect", "modal"),
    "now": ("present",) * 2 + ("modal",) * 2,
    "future": ("future",) * 2 + ("modal",),
}


@dataclass(slots=True)
class Group:
    """The verbal group: English auxiliary and rest, German finite verb and the right end of its bracket."""

    unit: int
    en_finite: Words
    en_rest: Words
    finite: tuple[str, int]
    rest: Words  # participles and infinitives in German order
    prefix: str = ""
    gern: Words | None = None

    @property
    def right(self) -> Words:
        """Right bracket of a clause with the finite verb in second place."""
        return self.rest or ([(self.prefix, self.unit)] if self.prefix else [])

    @property
    def final(self) -> Words:
        """Right bracket of a verb-final clause."""
        return [*self.rest, self.finite] if self.rest else [(self.prefix + self.finite[0], self.finite[1])]


def _do(person: Person) -> str:
    return "does" if person == Person.SINGULAR else "do"


def _modal(d: Draft, sphere: str, person: Person, *, support: bool, negated: bool, passive: bool) -> Group:
    """A modal without its main verb."""
    modals = lexicon.MODALS["past" if sphere == "past" else "now"]
    modal: Modal = d.pick(modals[: 2 if sphere == "past" else 4] if passive else modals)
    d.used.add("modal")
    unit = d.unit()
    words = modal.english[person]
    german = lexicon.MUST_NOT.german if negated and words[0] == "must" else modal.german
    finite = (german[person], unit)
    if not modal.base:
        return Group(unit, [(words[0], unit)], [(word, unit) for word in words[1:]], finite, [])
    if support:
        do = "did" if sphere == "past" else _do(person)
        return Group(unit, [(do, unit)], [(word, unit) for word in modal.base], finite, [])
    return Group(unit, [], [(word, unit) for word in words], finite, [])


def group(d: Draft, verb: Verb, tense: str, sphere: str, person: Person, *, support: bool, negated: bool) -> Group:
    """Active group of a verb. `support` asks for an English auxiliary, as negation and inversion do."""
    unit = d.unit()
    forms, german = verb.english, verb.german
    particle = [(word, unit) for word in verb.particle]
    if german.prefix:
        d.used.add("separable")
    if german.reflexive:
        d.used.add("reflexive")
    if tense == "past" and forms.past == forms.base and not support:
        tense = "pluperfect"  # "they read" would be present or past
    if tense == "modal perfect" and negated:
        tense = "modal"
    if tense == "present":
        finite = (german.present[person], unit)
        if support:
            return Group(unit, [(_do(person), unit)], [(forms.base, unit), *particle], finite, [], german.prefix)
        form = forms.third if person == Person.SINGULAR else forms.base
        return Group(unit, [], [(form, unit), *particle], finite, [], german.prefix)
    if tense == "progressive":
        d.used.add("progressive")
        be, finite = (english.BE[person], unit), (german.present[person], unit)
        return Group(unit, [be], [(forms.gerund, unit), *particle], finite, [], german.prefix)
    if tense == "modal":
        result = _modal(d, sphere, person, support=support, negated=negated, passive=False)
        result.en_rest += [(forms.base, unit), *particle]
        result.rest = [(german.infinitive, unit)]
        return result
    if tense == "modal perfect":
        d.used |= {"modal", "modal perfect"}
        modal, have = d.unit(), d.unit()
        word, table = ("must", _MUST) if d.draw() < 0.5 else ("should", _SHOULD)
        auxiliary = german.auxiliary or german
        return Group(
            unit,
            [(word, modal)],
            [("have", have), (forms.participle, unit), *particle],
            (table[person], modal),
            [(german.participle, unit), (auxiliary.infinitive, have)],
        )
    if tense == "future":
        d.used.add("future")
        will = d.unit()
        finite, rest = (WERDEN.present[person], will), [(german.infinitive, unit)]
        return Group(unit, [("will", will)], [(forms.base, unit), *particle], finite, rest)
    if tense == "gern":
        d.used.add("gern")
        like = d.unit()
        finite = (german.present[person], unit)
        words = [("to", like), (forms.base, unit), *particle]
        gern = [("gern", like)]
        if support:
            return Group(unit, [(_do(person), like)], [("like", like), *words], finite, [], german.prefix, gern)
        form = "likes" if person == Person.SINGULAR else "like"
        return Group(unit, [], [(form, like), *words], finite, [], german.prefix, gern)
    if tense == "past" and german.preterite:
        finite = (german.preterite[person], unit)
        if support:
            return Group(unit, [("did", unit)], [(forms.base, unit), *particle], finite, [], german.prefix)
        return Group(unit, [], [(forms.past, unit), *particle], finite, [], german.prefix)
    # The other tenses consist of haben or sein and the participle.
    d.used.add("pluperfect" if tense == "pluperfect" else "perfect")
    auxiliary = german.auxiliary or german
    rest = [(german.participle, unit)]
    if tense == "past" and not support:
        return Group(unit, [], [(forms.past, unit), *particle], (auxiliary.present[person], unit), rest)
    have = d.unit()
    if tense == "past":
        finite = (auxiliary.present[person], have)
        return Group(unit, [("did", have)], [(forms.base, unit), *particle], finite, rest)
    past = tense == "pluperfect"
    finite = ((auxiliary.preterite if past else auxiliary.present)[person], have)
    has = "had" if past else "has" if person == Person.SINGULAR else "have"
    return Group(unit, [(has, have)], [(forms.participle, unit), *particle], finite, rest)


def passive(d: Draft, verb: Verb, tense: str, sphere: str, person: Person, *, support: bool, negated: bool) -> Group:
    """Passive group, with werden: was sold, wurde verkauft."""
    d.used.add("passive")
    unit, be = d.unit(), d.unit()
    done = [(verb.english.participle, unit), *((word, unit) for word in verb.particle)]
    participle = (verb.german.participle, unit)
    if verb.german.prefix:
        d.used.add("separable")
    if tense in ("present", "past"):
        word, werden = (english.BE, WERDEN.present) if tense == "present" else (english.WAS, WERDEN.preterite)
        return Group(unit, [(word[person], be)], done, (werden[person], be), [participle])
    if tense == "modal":
        result = _modal(d, sphere, person, support=support, negated=negated, passive=True)
        result.en_rest += [("be", be), *done]
        result.rest = [participle, ("werden", be)]
        return result
    first = d.unit()
    if tense == "future":
        d.used.add("future")
        finite = (WERDEN.present[person], first)
        return Group(unit, [("will", first)], [("be", be), *done], finite, [participle, ("werden", be)])
    past = tense == "pluperfect"
    has = "had" if past else "has" if person == Person.SINGULAR else "have"
    finite = ((SEIN.preterite if past else SEIN.present)[person], first)
    return Group(unit, [(has, first)], [("been", be), *done], finite, [participle, ("worden", be)])


def copula(d: Draft, sphere: str, person: Person, *, perfect: bool) -> Group:
    """The verb be, sein, whose past is the preterite."""
    unit = d.unit()
    if sphere == "future":
        will = d.unit()
        d.used.add("future")
        return Group(unit, [("will", will)], [("be", unit)], (WERDEN.present[person], will), [("sein", unit)])
    if perfect:
        have = d.unit()
        has = "has" if person == Person.SINGULAR else "have"
        finite = (SEIN.present[person], have)
        return Group(unit, [(has, have)], [("been", unit)], finite, [("gewesen", unit)])
    table, german = (english.WAS, SEIN.preterite) if sphere == "past" else (english.BE, SEIN.present)
    return Group(unit, [(table[person], unit)], [], (german[person], unit), [])


def zu_infinitive(d: Draft, verb: Verb) -> tuple[Words, Words]:
    """English to-infinitive, and the German one with zu, which stands inside a separable verb."""
    unit = d.unit()
    german = verb.german
    words: Words = [(verb.english.base, unit), *((word, unit) for word in verb.particle)]
    if german.reflexive:
        d.used |= {"reflexive", "reflexive infinitive"}
    if german.prefix:
        d.used.add("separable")
        return [("to", unit), *words], [(german.zu_infinitive, unit)]
    to = d.unit()
    return [("to", to), *words], [("zu", to), (german.infinitive, unit)]


_MUST = next(modal for modal in lexicon.MODALS["now"] if modal.english[0] == ("must",)).german
_SHOULD = next(modal for modal in lexicon.MODALS["now"] if modal.english[0] == ("should",)).german
assert HABEN.auxiliary is None  # an auxiliary is its own auxiliary
