import hashlib
import random
from collections import Counter
from functools import cache
from itertools import islice, pairwise

import pytest
from sacrebleu.metrics.bleu import BLEU

from transformer.data.grammar import german as morphology
from transformer.data.grammar import numbers, pairs
from transformer.data.grammar.german import Case, Gender, Person, Strength
from transformer.data.grammar.lexicon import NOUNS, VERBS, lemmas
from transformer.data.grammar.pairs import SPLITS, UNSEEN, Pair, generate, word_for_word, word_table
from transformer.data.grammar.phrases import Draft
from transformer.data.grammar.sentences import Derivation, derive

INGREDIENTS = {
    "relative with separable": {"relative", "separable"},
    "because with modal": {"because", "modal"},
    "numeral with relative": {"numeral", "relative"},
    "fronted with ditransitive": {"fronted adverbial", "ditransitive"},
    "reflexive infinitive": {"reflexive", "infinitive"},
}


@cache
def sample(split: str, count: int = 2500, seed: int = 1) -> tuple[Pair, ...]:
    return tuple(islice(generate(split, seed=seed), count))


@cache
def texts() -> frozenset[str]:
    return frozenset(pair.target for split in SPLITS for pair in sample(split))


def derivations(count: int, seed: str, depth: int) -> list[Derivation]:
    draw = random.Random(seed).random
    return [derive(draw, depth) for _ in range(count)]


@pytest.mark.slow
def test_word_for_word_is_a_bad_translation():
    table = word_table(sample("train"))
    test = sample("test")[:1000]
    assert table["the"] in {"der", "die", "das", "den", "dem"}
    hypotheses = [word_for_word(pair.source, table) for pair in test]
    assert 3 < BLEU(tokenize="none").corpus_score(hypotheses, [[pair.target for pair in test]]).score < 30


@pytest.mark.parametrize("count", [10_000, pytest.param(25_000, marks=pytest.mark.slow)])
def test_a_source_has_one_target(count):
    targets: dict[str, tuple[str, bool]] = {}
    for depth in (0, 1, 2):
        for one in derivations(count, f"ambiguity {depth}", depth):
            result = " ".join(one.target), one.constructions.isdisjoint(UNSEEN)
            assert targets.setdefault(" ".join(one.source), result) == result, one.source


@pytest.mark.slow
def test_a_source_has_one_target_when_words_are_few(monkeypatch):
    # Few words of each pool in a round, so that the same English is derived again and again.
    targets: dict[str, tuple[str, bool]] = {}
    repeated = 0
    for offset in range(20):

        def pick(self, words, offset=offset):
            index = int(self.draw() * len(words))
            if len(words) > 4 and not isinstance(words[0], str) and not callable(words[0]):
                index = (index * 2 // len(words) * len(words) // 2 + offset) % len(words)
            return words[index]

        monkeypatch.setattr(Draft, "pick", pick)
        targets.clear()
        for one in derivations(2500, f"few {offset}", offset % 2):
            source, result = " ".join(one.source), (" ".join(one.target), one.constructions.isdisjoint(UNSEEN))
            repeated += source in targets
            assert targets.setdefault(source, result) == result, source
    assert repeated > 300


@pytest.mark.parametrize("split", SPLITS)
def test_alignments_link_every_word_but_german_commas(split):
    for pair in sample(split):
        source, target = pair.source.split(), pair.target.split()
        assert list(pair.alignment) == sorted(set(pair.alignment))
        assert {i for i, _ in pair.alignment} == set(range(len(source))), pair
        linked = {j for _, j in pair.alignment}
        assert linked <= set(range(len(target)))
        assert all(target[j] == "," for j in set(range(len(target))) - linked), pair
        assert not {(source[i], target[j]) for i, j in pair.alignment if (source[i] in ",.?") != (target[j] in ",.?")}


def test_splits_are_disjoint_for_any_seed():
    found = {split: {pair.source for pair in (*sample(split)[:1200], *sample(split, 1200, seed=2))} for split in SPLITS}
    for split in SPLITS:
        assert all(found[split].isdisjoint(found[other]) for other in SPLITS if other != split)
        assert len({p.source for p in sample(split)}) == len(sample(split))


def test_unseen_combinations_are_new_and_their_ingredients_are_not():
    for split in ("train", "validation", "test"):
        assert all(pair.constructions.isdisjoint(UNSEEN) for pair in sample(split))
    assert not any(pair.constructions.isdisjoint(UNSEEN) for pair in sample("unseen"))
    counts = Counter(name for pair in sample("unseen") for name in pair.constructions)
    trained = Counter(name for pair in sample("train") for name in pair.constructions)
    assert INGREDIENTS.keys() == UNSEEN.keys()
    for name, ingredients in INGREDIENTS.items():
        assert counts[name] > 50, name
        assert all(trained[ingredient] > 50 for ingredient in ingredients), name
    trained_words = {word for pair in sample("train", 30_000) for word in pair.source.split()}
    unseen_words = {word for pair in sample("unseen") for word in pair.source.split()}
    assert len(unseen_words - trained_words) < 10


def test_the_same_arguments_give_the_same_pairs():
    assert list(islice(generate("test", seed=7), 200)) == list(islice(generate("test", seed=7), 200))
    assert list(islice(generate("test", seed=7), 200)) != list(islice(generate("test", seed=8), 200))


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("train", "badf3d950255eb70bfdbe71de0c7676d9e56244aac61a4ce6f8f84e59138da38"),
        ("validation", "5d84cc520822cb6e9869fc760849b3257de6de4d1c63f899301aaa2b70694692"),
        ("test", "1b0ad53edeb6fa982818e0e4fd4b46f64d229a8d302f5641b39df42a26aaff7f"),
        ("unseen", "6474445071a575b232c6f94117c4fef8be39f2a14f25cabc25ef73c5440b2d4e"),
    ],
)
def test_the_pairs_are_those_of_version_0_1(split, digest):
    """Runs on the grammar resume, and published results hold, only as long as the sentences stay the same."""
    hashed = hashlib.sha256()
    for pair in sample(split)[:2000]:
        hashed.update(repr((pair.source, pair.target, pair.alignment, sorted(pair.constructions))).encode())
    assert hashed.hexdigest() == digest


def test_limits_hold():
    for pair in islice(generate("train", max_words=8), 500):
        assert max(len(pair.source.split()), len(pair.target.split())) <= 8
    for depth in (0, 1, 2, 3):
        depths = Counter(one.depth for one in derivations(3000, "depth", depth))
        assert max(depths) == depth
    simple = " ".join(pair.target for pair in islice(generate("train", max_depth=0), 500))
    assert not {"weil", "dass", "zu", "dessen"} & set(simple.split()) - {"zu"}


def test_lengths_spread():
    lengths = sorted(len(pair.source.split()) for pair in sample("train"))
    assert 10 <= sum(lengths) / len(lengths) <= 15
    assert lengths[0] <= 4
    assert lengths[-len(lengths) // 50] >= 24


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="train, validation, test, unseen"):
        generate("dev")
    with pytest.raises(ValueError, match="max_words=2"):
        generate("train", max_words=2)
    with pytest.raises(ValueError, match="max_depth"):
        generate("train", max_depth=-1)


def test_an_exhausted_grammar_says_so(monkeypatch):
    monkeypatch.setattr(pairs, "_MAX_FAILURES", 3000)
    with pytest.raises(ValueError, match="raise max_words"):
        list(generate("validation", max_words=3, max_depth=0))


def test_the_vocabulary_is_large_and_every_word_is_used():
    assert len(lemmas()) >= 400
    words = {word for pair in sample("train", 30_000) for word in pair.source.split()}
    missing = {noun.english[0] for noun in NOUNS} - words
    assert not missing


def test_adjectives_are_not_participles():
    participles = {verb.english.participle for verbs in VERBS.values() for verb in verbs}
    assert not participles & {adjective.english for noun in NOUNS for adjective in noun.adjectives}


def test_verbs_that_only_german_gives_a_preposition():
    texts = find("remember him", source=True)
    assert texts
    assert all("an ihn" in text for text in texts)


def test_nouns_are_not_verbs():
    forms = {form for verbs in VERBS.values() for verb in verbs for form in verb.english}
    assert not forms & {word for noun in NOUNS for word in noun.english}, "a word is a noun and a verb"


@pytest.mark.parametrize(
    ("number", "english", "german"),
    [
        (1, "one", "eins"),
        (7, "seven", "sieben"),
        (12, "twelve", "zwölf"),
        (16, "sixteen", "sechzehn"),
        (17, "seventeen", "siebzehn"),
        (20, "twenty", "zwanzig"),
        (21, "twenty-one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (66, "sixty-six", "sechsundsechzig"),
        (77, "seventy-seven", "siebenundsiebzig"),
        (100, "one hundred", "einhundert"),
        (101, "one hundred and one", "einhunderteins"),
        (111, "one hundred and eleven", "einhundertelf"),
        (235, "two hundred and thirty-five", "zweihundertfünfunddreißig"),
        (999, "nine hundred and ninety-nine", "neunhundertneunundneunzig"),
    ],
)
def test_numbers(number, english, german):
    assert " ".join(numbers.english(number)) == english
    assert numbers.german(number) == german


@pytest.mark.parametrize("number", [0, 1000, -3])
def test_numbers_out_of_range(number):
    with pytest.raises(ValueError, match="1 to 999"):
        numbers.german(number)


def noun_forms(english: str) -> str:
    noun = next(noun for noun in NOUNS if noun.english[0] == english)
    return " ".join((*noun.german[0], *noun.german[1]))


@pytest.mark.parametrize(
    ("english", "forms"),
    [
        ("man", "Mann Mann Mann Mannes Männer Männer Männern Männer"),
        ("woman", "Frau Frau Frau Frau Frauen Frauen Frauen Frauen"),
        ("student", "Student Studenten Studenten Studenten Studenten Studenten Studenten Studenten"),
        ("boy", "Junge Jungen Jungen Jungen Jungen Jungen Jungen Jungen"),
        ("name", "Name Namen Namen Namens Namen Namen Namen Namen"),
        ("car", "Auto Auto Auto Autos Autos Autos Autos Autos"),
        ("bus", "Bus Bus Bus Busses Busse Busse Bussen Busse"),
        ("secret", "Geheimnis Geheimnis Geheimnis Geheimnisses Geheimnisse Geheimnisse Geheimnissen Geheimnisse"),
        ("teacher", "Lehrer Lehrer Lehrer Lehrers Lehrer Lehrer Lehrern Lehrer"),
        ("park", "Park Park Park Parks Parks Parks Parks Parks"),
        ("house", "Haus Haus Haus Hauses Häuser Häuser Häusern Häuser"),
    ],
)
def test_declension_of_nouns(english, forms):
    assert noun_forms(english) == forms


@pytest.mark.parametrize(
    ("word", "strength", "gender", "case", "form"),
    [
        ("alt", Strength.WEAK, Gender.MASCULINE, Case.NOM, "alte"),
        ("alt", Strength.WEAK, Gender.MASCULINE, Case.ACC, "alten"),
        ("alt", Strength.WEAK, Gender.FEMININE, Case.ACC, "alte"),
        ("alt", Strength.WEAK, Gender.PLURAL, Case.NOM, "alten"),
        ("alt", Strength.MIXED, Gender.MASCULINE, Case.NOM, "alter"),
        ("alt", Strength.MIXED, Gender.NEUTER, Case.NOM, "altes"),
        ("alt", Strength.MIXED, Gender.NEUTER, Case.DAT, "alten"),
        ("alt", Strength.STRONG, Gender.MASCULINE, Case.DAT, "altem"),
        ("alt", Strength.STRONG, Gender.FEMININE, Case.DAT, "alter"),
        ("alt", Strength.STRONG, Gender.PLURAL, Case.NOM, "alte"),
        ("alt", Strength.STRONG, Gender.PLURAL, Case.GEN, "alter"),
        ("teuer", Strength.WEAK, Gender.NEUTER, Case.NOM, "teure"),
        ("dunkel", Strength.MIXED, Gender.FEMININE, Case.NOM, "dunkle"),
        ("hoch", Strength.MIXED, Gender.MASCULINE, Case.NOM, "hoher"),
        ("müde", Strength.STRONG, Gender.PLURAL, Case.NOM, "müde"),
        ("sauber", Strength.WEAK, Gender.MASCULINE, Case.NOM, "saubere"),
    ],
)
def test_declension_of_adjectives(word, strength, gender, case, form):
    assert morphology.adjective(word)[strength][gender][case] == form


@pytest.mark.parametrize(
    ("entry", "present", "participle", "zu"),
    [
        ("arbeiten", "arbeite arbeitest arbeitet arbeiten arbeiten", "gearbeitet", "arbeiten"),
        ("öffnen", "öffne öffnest öffnet öffnen öffnen", "geöffnet", "öffnen"),
        ("lächeln", "lächle lächelst lächelt lächeln lächeln", "gelächelt", "lächeln"),
        ("lesen:liest:gelesen", "lese liest liest lesen lesen", "gelesen", "lesen"),
        ("mögen:mag/magst:gemocht", "mag magst mag mögen mögen", "gemocht", "mögen"),
        ("reparieren", "repariere reparierst repariert reparieren reparieren", "repariert", "reparieren"),
        ("auf|stehen::gestanden+", "stehe stehst steht stehen stehen", "aufgestanden", "aufzustehen"),
        ("ein|laden:lädt/lädst:geladen", "lade lädst lädt laden laden", "eingeladen", "einzuladen"),
        ("vor|bereiten", "bereite bereitest bereitet bereiten bereiten", "vorbereitet", "vorzubereiten"),
        ("putzen", "putze putzt putzt putzen putzen", "geputzt", "putzen"),
    ],
)
def test_conjugation(entry, present, participle, zu):
    verb = morphology.verb(entry)
    assert (" ".join(verb.present), verb.participle, verb.zu_infinitive) == (present, participle, zu)
    assert verb.present[Person.SINGULAR] == present.split()[2]
    assert verb.auxiliary is (morphology.SEIN if entry.endswith("+") else morphology.HABEN)


def find(*words: str, source: bool = False) -> list[str]:
    """Sentences of the sample that have all the phrases."""
    return [
        pair.target
        for split in SPLITS
        for pair in sample(split)
        if all(f" {word} " in f" {pair.source if source else pair.target} " for word in words)
    ]


def test_separable_verbs_split_and_join():
    assert any(text.split()[-2] == "auf" and "steht" in text.split() for text in find("steht", "auf"))
    for joined in ("aufgestanden", "aufzustehen", "aufstehen"):
        assert find(joined), joined
    for text in find("dass"):
        assert "steht auf ." not in text.partition("dass")[2]


def test_the_verb_is_second_after_a_fronted_adverbial():
    finite = {"hat", "ist", "habe", "bin", "hast", "bist", "haben", "sind", "wurde", "wurden"}
    checked = 0
    for text in texts():
        words = text.split()
        if words[0] == "gestern" and words[1] != "Abend" and {"hat", "haben"} & set(words):
            checked += 1
            assert words[1] in finite or words[1].endswith(("te", "ten", "test", "war", "waren")), text
    assert checked > 8


def test_subordinate_clauses_end_in_the_finite_verb():
    german = [verb.german for verbs in VERBS.values() for verb in verbs]
    finite = {verb.prefix + form for verb in german for form in verb.present + verb.preterite}
    for auxiliary in (morphology.HABEN, morphology.SEIN, morphology.WERDEN):
        finite |= {*auxiliary.present, *auxiliary.preterite}
    nested = {"that", "whether", "why", "relative", "infinitive", "modal", "coordinated clauses", "fronted clause"}
    nested |= {"if", "when", "while", "after", "as soon as", "although"}
    checked = 0
    for pair in sample("train", 30_000):
        if " weil " in pair.target and nested.isdisjoint(pair.constructions):
            checked += 1
            assert pair.target.split()[-2] in finite, pair.target
    assert checked > 100


def test_relative_pronouns_agree():
    assert any("der Mann , der " in text for text in texts())
    assert any(" , den " in text for text in texts())
    assert any(" , dessen " in text for text in texts())
    for text in texts():
        assert "die Frau , der hat" not in text
        assert "das Kind , der" not in text
        assert ", den die Frau ist" not in text


def test_words_that_depend_on_their_context():
    assert all("wissen" in t or "wei" in t or "wuss" in t or "gewusst" in t for t in find("know that", source=True))
    assert find("auf dem Ufer") == []
    assert find("on the bank", source=True)
    assert all("Ufer" in text for text in find("on the bank", source=True))
    assert all("Bank" in text for text in find("in the bank", source=True))
    assert all("darf" in text or "dürfen" in text for text in find("must not", source=True))


def test_german_spelling_and_punctuation():
    for text in texts():
        words = text.split()
        assert words[-1] in ".?"
        assert "" not in text.split(" ")
        for left, right in pairwise(words):
            assert not (left == "," and right in ",.?"), text
            assert (left, right) not in {("in", "dem"), ("zu", "dem"), ("an", "dem"), ("von", "dem")} or "," in text


def test_the_word_table_counts_links():
    examples = [
        Pair("he sees it", "er sieht es", ((0, 0), (1, 1), (2, 2)), frozenset()),
        Pair("he saw it", "er hat es gesehen", ((0, 0), (1, 1), (1, 3), (2, 2)), frozenset()),
        Pair("well he saw it", "er sah es", ((1, 0), (2, 1), (3, 2)), frozenset()),
    ]
    table = word_table(examples)
    assert table == {"he": "er", "sees": "sieht", "it": "es", "saw": "hat gesehen", "well": ""}
    assert word_for_word("well he saw them", table) == "er hat gesehen them"
