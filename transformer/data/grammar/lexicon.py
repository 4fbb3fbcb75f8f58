"""The vocabulary with every form precomputed, and the sets of words that the syntax chooses from."""

from dataclasses import dataclass, replace

from transformer.data.grammar import english, german, vocabulary
from transformer.data.grammar.german import Case, Gender, Person, Strength, Table

Segments = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]  # each piece is a link unit


@dataclass(frozen=True, slots=True, eq=False)
class Adjective:
    """An adjective: English and German words, comparatives, and the attributive forms."""

    english: str
    german: str
    more: tuple[str, ...]
    comparative: str
    forms: tuple[Table, Table, Table]
    scale: str  # adjectives of one scale exclude each other


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """A noun: English singular and plural ("" of a mass noun), German forms by number and case."""

    english: tuple[str, str]
    german: tuple[tuple[str, ...], tuple[str, ...]]
    gender: Gender
    kind: str
    adjectives: tuple[Adjective, ...]

    @property
    def human(self) -> bool:
        """Whether its pronouns are "who", "he" and "she", not "which" and "it"."""
        return self.kind == "person"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A place noun with its prepositions: English, German for rest, German for motion ("-": no goal)."""

    noun: Noun
    english: str
    rest: str
    goal: str


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """A verb of both languages with its frame. `subjects` and `objects` are the nouns it may take."""

    english: english.Forms
    particle: tuple[str, ...]
    german: german.Verb
    frame: str
    state: bool
    subjects: tuple[Noun, ...]
    objects: tuple[Noun, ...]
    preposition: tuple[str, str, Case]  # English, German, its case; empty strings without one
    polysemous: bool  # the object determines the German verb, so it must be a noun
    how: Segments = ()  # a phrase that determines the German verb


@dataclass(frozen=True, slots=True, eq=False)
class Determiner:
    """A determiner: English before a singular and before a plural, German forms, strength of the adjective."""

    english: tuple[str, str]
    forms: Table
    strength: tuple[Strength, Strength]


@dataclass(frozen=True, slots=True, eq=False)
class Pronoun:
    """A personal pronoun: English subject and object form, German nominative, accusative and dative."""

    english: tuple[str, str]
    german: tuple[str, str, str]
    person: Person


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()]


def segments(text: str) -> Segments:
    """Parse pieces such as in_the=am morning=Morgen."""
    pieces = (piece.split("=") for piece in text.split())
    return tuple((tuple(en.split("_")), tuple(de.split("_"))) for en, de in pieces)


_SCALES = {word: line[0] for line in _lines(vocabulary.SCALES) for word in line}


def _adjective(line: list[str]) -> Adjective:
    word, _, more = line[0].partition("/")
    comparative = line[2] if len(line) > 2 else german.attributive_stem(line[1]) + "er"
    degrees = (more,) if more else ("more", word)
    scale = _SCALES.get(word, word)
    return Adjective(word, line[1], degrees, comparative, german.adjective(line[1]), scale)


def _noun(line: list[str], kind: str, adjectives: tuple[Adjective, ...]) -> Noun:
    word, _, plural = line[0].partition("/")
    mass = line[3] == "-"
    gender = Gender("mfn".index(line[2]))
    forms = german.noun(line[1], gender, "" if mass else line[3], weak="weak" in line)
    return Noun((word, "" if mass else plural or english.plural(word)), forms, gender, kind, adjectives)


ADJECTIVES: dict[str, tuple[Adjective, ...]] = {
    kind: tuple(map(_adjective, _lines(text)))
    for kinds, text in vocabulary.ADJECTIVES.items()
    for kind in kinds.split()
}
CLASSES: dict[str, tuple[Noun, ...]] = {
    kind: tuple(_noun(line, kind, ADJECTIVES[kind]) for line in _lines(text)) for kind, text in vocabulary.NOUNS.items()
}


def _places() -> tuple[Place, ...]:
    lines = _lines(vocabulary.PLACES)
    words = [line[0] for line in lines]
    # A place word that occurs twice is ambiguous without its preposition: verbs may not take it alone.
    kinds = ["spot" if words.count(word) > 1 else "place" for word in words]
    return tuple(
        Place(_noun(line[:4], kind, ADJECTIVES["place"]), *line[4:]) for line, kind in zip(lines, kinds, strict=True)
    )


PLACES = _places()
GOALS = tuple(place for place in PLACES if place.goal != "-")
CLASSES["place"] = tuple(place.noun for place in PLACES if place.noun.kind == "place")
NOUNS: tuple[Noun, ...] = tuple(noun for nouns in CLASSES.values() for noun in nouns)
_BY_NAME = {noun.english[0]: noun for noun in NOUNS}


def nouns(names: str) -> tuple[Noun, ...]:
    """Nouns of classes, groups of classes and single words, joined with |."""
    found: list[Noun] = []
    for name in names.split("|"):
        if name in vocabulary.GROUPS:
            found += nouns(vocabulary.GROUPS[name].replace(" ", "|"))
        else:
            found += CLASSES[name] if name in CLASSES else (_BY_NAME[name],)
    return tuple(found)


PEOPLE = CLASSES["person"]
FURNITURE = CLASSES["furniture"]
WHOLES: dict[Noun, tuple[Noun, ...]] = {_BY_NAME[part]: nouns(wholes) for part, wholes in _lines(vocabulary.WHOLES)}
PREDICABLE = tuple(noun for noun in NOUNS if noun.kind not in ("part", "place", "spot"))
CLASSES_OF: dict[Noun, tuple[Noun, ...]] = {noun: CLASSES[noun.kind] for noun in NOUNS}
_NO_PREPOSITION = ("", "", Case.NOM)


def _verb(frame: str, line: list[str], subjects: str, objects: str, twice: frozenset[str]) -> Verb:
    entry = line[0].removesuffix("~")
    phrase, _, preposition = entry.partition("+")
    first, *rest = phrase.split("/")
    base, *particle = first.split("_")
    governed = _NO_PREPOSITION
    if frame == "prepositional":
        word, _, case = line[2].partition(":")
        governed = (preposition, word, Case[case.upper()])
    elif frame == "control":
        governed = ("", "", Case[line[2].upper()])
    return Verb(
        english.verb(base, *rest),
        tuple(particle),
        german.verb(line[1]),
        frame,
        line[0].endswith("~"),
        nouns(subjects),
        nouns(objects) if objects else (),
        governed,
        line[0] in twice,
    )


def _verbs(frame: str, text: str, subject: int | None = None, object_: int | None = None) -> tuple[Verb, ...]:
    lines = _lines(text)
    words = [line[0].removesuffix("~").split("/")[0] for line in lines]
    twice = frozenset(line[0] for line, word in zip(lines, words, strict=True) if words.count(word) > 1)
    return tuple(
        _verb(
            frame,
            line,
            "person" if subject is None else line[subject],
            "" if object_ is None else line[object_],
            twice,
        )
        for line in lines
    )


VERBS: dict[str, tuple[Verb, ...]] = {
    "intransitive": _verbs("intransitive", vocabulary.INTRANSITIVE, subject=2),
    "transitive": _verbs("transitive", vocabulary.TRANSITIVE, object_=2),
    "dative": _verbs("dative", vocabulary.DATIVE, object_=2),
    "prepositional": _verbs("prepositional", vocabulary.PREPOSITIONAL, object_=3),
    "ditransitive": _verbs("ditransitive", vocabulary.DITRANSITIVE, object_=2),
    "position": _verbs("position", vocabulary.POSITION, subject=2, object_=3),
    "motion": _verbs("motion", vocabulary.MOTION),
    "placing": _verbs("placing", vocabulary.PLACING, object_=2),
    "that": _verbs("that", vocabulary.THAT),
    "whether": _verbs("whether", vocabulary.WHETHER),
    "infinitive": _verbs("infinitive", vocabulary.INFINITIVE),
    "control": _verbs("control", vocabulary.CONTROL),
}
VERBS["motion"] += tuple(
    replace(VERBS["motion"][0], german=german.verb(line[-1]), how=segments(" ".join(line[:-1])))
    for line in _lines(vocabulary.TRANSPORT)
)
PASSIVE = tuple(v for v in VERBS["transitive"] if not v.state and "to" not in v.particle)

# Verbs by the noun that a relative clause modifies, as its subject or as its object.
_RELATIVE_FRAMES = ("intransitive", "transitive", "dative", "prepositional", "position", "that", "infinitive")
_SIMPLE_FRAMES = (*_RELATIVE_FRAMES[:5], "ditransitive", "motion", "placing")
_OBJECT_FRAMES = ("transitive", "dative", "prepositional")
SUBJECT_OF: dict[Noun, tuple[Verb, ...]] = {
    noun: tuple(v for frame in _RELATIVE_FRAMES for v in VERBS[frame] if noun in v.subjects) for noun in NOUNS
}
OBJECT_OF: dict[Noun, tuple[Verb, ...]] = {
    noun: tuple(v for frame in _OBJECT_FRAMES for v in VERBS[frame] if noun in v.objects) for noun in NOUNS
}

TRANSITIVE_OF: dict[Noun, tuple[Verb, ...]] = {
    noun: tuple(v for v in VERBS["transitive"] if noun in v.objects and v.english.past != v.english.base)
    for noun in NOUNS
}
# English puts "it" before the particle of a verb, which would split it.
PRONOUN_OF: dict[Noun, tuple[Verb, ...]] = {
    noun: tuple(v for v in found if not v.particle) for noun, found in TRANSITIVE_OF.items()
}
THINGS = tuple(noun for noun in NOUNS if PRONOUN_OF[noun] and noun.kind not in ("person", "part"))

# What a question word may stand for: an object of one meaning, a person, a place.
WHAT = tuple(v for v in VERBS["transitive"] if not v.polysemous and not v.objects[0].human)
WHO = tuple(v for f in _OBJECT_FRAMES for v in VERBS[f] if v.objects[0].human)
LOCATED = (
    *VERBS["motion"],
    *(v for v in VERBS["position"] if v.subjects[0].human),
    *(v for v in VERBS["intransitive"] if v.subjects[0].human and not v.german.prefix and not v.german.reflexive),
)
HUMAN = tuple(v for f in _SIMPLE_FRAMES for v in VERBS[f] if v.subjects[0].human)

THE = Determiner(("the", "the"), german.ARTICLE, (Strength.WEAK, Strength.WEAK))
A = Determiner(("a", ""), (*german.ein_word("ein")[:3], ("",) * 4), (Strength.MIXED, Strength.STRONG))
WHICH = Determiner(("which", "which"), german.der_word("welch"), (Strength.WEAK, Strength.WEAK))
BARE = Determiner(("", ""), (("",) * 4,) * 4, (Strength.STRONG, Strength.STRONG))  # after "whose"
NO = Determiner(("no", "no"), german.ein_word("kein"), (Strength.MIXED, Strength.MIXED))
THIS = Determiner(("this", "these"), german.der_word("dies"), (Strength.WEAK, Strength.WEAK))
EVERY = Determiner(("every", ""), german.der_word("jed"), (Strength.WEAK, Strength.STRONG))
SOME = Determiner(("", "some"), german.der_word("einig"), (Strength.STRONG, Strength.STRONG))
MANY = Determiner(("", "many"), german.der_word("viel"), (Strength.STRONG, Strength.STRONG))
POSSESSIVES = tuple(
    Determiner((word, word), german.ein_word(stem), (Strength.MIXED, Strength.MIXED))
    for word, stem in (
        ("my", "mein"),
        ("your", "dein"),
        ("his", "sein"),
        ("her", "ihr"),
        ("our", "unser"),
        ("their", "ihr"),
    )
)

PRONOUNS = (
    Pronoun(("I", "me"), ("ich", "mich", "mir"), Person.I),
    Pronoun(("you", "you"), ("du", "dich", "dir"), Person.YOU),
    Pronoun(("he", "him"), ("er", "ihn", "ihm"), Person.SINGULAR),
    Pronoun(("she", "her"), ("sie", "sie", "ihr"), Person.SINGULAR),
    Pronoun(("we", "us"), ("wir", "uns", "uns"), Person.WE),
    Pronoun(("they", "them"), ("sie", "sie", "ihnen"), Person.PLURAL),
)
THIRD = PRONOUNS[2:4] + PRONOUNS[5:]
IT: tuple[tuple[str, str], ...] = (("er", "ihn"), ("sie", "sie"), ("es", "es"))  # by gender of the antecedent

CITIES = tuple((line[0], line[1]) for line in _lines(vocabulary.CITIES))
NAMES = tuple(vocabulary.NAMES.split())
SPHERES = ("past", "now", "future")
TIMES: dict[str, tuple[Segments, ...]] = {
    sphere: tuple(
        segments(" ".join(word for word in line if "=" in word)) for line in _lines(vocabulary.TIMES) if sphere in line
    )
    for sphere in SPHERES
}
SINGLE_TIMES = {sphere: tuple(time for time in times if time[0][0] != ("every",)) for sphere, times in TIMES.items()}
UNITS = tuple((line[0], line[1]) for line in _lines(vocabulary.UNITS))
FREQUENCY = tuple(segments(piece) for piece in vocabulary.FREQUENCY.split())
MANNER = tuple(segments(piece) for piece in vocabulary.MANNER.split())
COMMENTS = tuple(segments(piece) for piece in vocabulary.COMMENTS.split())


@dataclass(frozen=True, slots=True, eq=False)
class Modal:
    """A modal: English forms by `Person`, whether English negates it with do, German forms by `Person`."""

    english: tuple[tuple[str, ...], ...]
    base: tuple[str, ...]  # the tokens under "do", empty of a true auxiliary
    german: tuple[str, ...]


def _modal(line: list[str]) -> Modal:
    words = tuple(line[0].split("_"))
    forms = (line[1], line[2], line[3], line[4], line[4])
    if words[0] not in ("want", "wanted", "had"):
        return Modal((words,) * 5, (), forms)
    base = {"want": "want", "wanted": "want", "had": "have"}[words[0]]
    third = ("wants", *words[1:]) if words[0] == "want" else words
    return Modal((words, words, third, words, words), (base, *words[1:]), forms)


MODALS: dict[str, tuple[Modal, ...]] = {
    sphere: tuple(map(_modal, _lines(text))) for sphere, text in vocabulary.MODALS.items()
}
MUST_NOT = _modal(["must", "darf", "darfst", "darf", "dürfen"])
"""Negated, "must" is not müssen but dürfen."""


def lemmas() -> frozenset[str]:
    """English lemmas of the open classes and of the closed ones, a particle or preposition included."""
    found = {noun.english[0] for noun in NOUNS} | {place.noun.english[0] for place in PLACES}
    found |= {adjective.english for adjectives in ADJECTIVES.values() for adjective in adjectives}
    found |= {" ".join((v.english.base, *v.particle, v.preposition[0])).strip() for vs in VERBS.values() for v in vs}
    found |= {city for city, _ in CITIES} | set(NAMES) | {unit for unit, _ in UNITS}
    for pieces in (*FREQUENCY, *MANNER, *COMMENTS, *(time for times in TIMES.values() for time in times)):
        found |= {word for words, _ in pieces for word in words}
    return frozenset(found)


def whose(gender: Gender) -> str:
    """The relative pronoun that owns the noun after it."""
    return german.RELATIVE[gender][Case.GEN]
