"""Every rule by hand; the cleaner and the set of hashes against plain loops."""

import hashlib
import pickle
import unicodedata
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer.config import Filter
from transformer.data.corpora import filters
from transformer.data.corpora.filters import (
    COPY,
    DUPLICATE,
    EMPTY,
    INVALID_UNICODE,
    UNPRINTABLES,
    Cleaner,
    HashSet,
    filter_pairs,
    hash_pairs,
    violated_rule,
)
from transformer.errors import UsageError

FULL = Filter("nfkc", drop_unprintable=True, max_words=8, max_ratio=2, drop_copies=True, drop_duplicates=True)
LONG, UNEQUAL = "longer than --data.filter.max-words=8", "lengths further apart than --data.filter.max-ratio=2"


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("a house", "ein Haus", None),
        ("", "x", EMPTY),
        ("x", "", EMPTY),
        ("x", " \u2003\t", EMPTY),
        ("a \ufffd b", "x", INVALID_UNICODE),
        ("x", "half \ud83d", INVALID_UNICODE),
        ("\ufdd0", "x", INVALID_UNICODE),
        ("x", "\U0010ffff", INVALID_UNICODE),
        ("x\x00", "y\ufffe", INVALID_UNICODE),  # both: the first rule
        ("bell\x07", "x", UNPRINTABLES),
        ("x", "\x84Windows\x93", UNPRINTABLES),  # quotation marks of Windows-1252 read as Latin-1
        ("\uf0b7 item", "x", UNPRINTABLES),  # a bullet of a symbol font
        ("delete\x7f", "x", UNPRINTABLES),
        ("soft\u00adhyphen", "\u200eleft to right\u200f", None),
        ("می\u200cخواهم", "👩\u200d👧", None),
        ("tab\there", "line\u2028separator\x0cfeed\x85next", None),
        ("1 2 3 4 5 6 7 8", "1 2 3 4 5 6 7 9", None),
        ("1 2 3 4 5 6 7 8 9", "x", LONG),
        ("x", "1 2 3\t4 5 6 7\u00a08 9", LONG),
        ("1 2 3 4 5 6", "a b c", None),
        ("1 2 3 4 5 6 7", "a b c", UNEQUAL),
        ("a b c", "1 2 3 4 5 6 7", UNEQUAL),
        ("1 2 3 4 5", "a", None),  # short: any ratio
        ("1 2 3 4 5 6", "a", UNEQUAL),
        ("Berlin", "Berlin", COPY),
        ("STRASSE", "Straße", COPY),
        ("Berlin", "Berlin!", None),
    ],
)
def test_rules_by_hand(source, target, reason):
    assert violated_rule(source, target, FULL) == reason
    assert violated_rule(source, target, Filter()) == (reason if reason == EMPTY else None)


def test_each_rule_can_be_switched_on_alone():
    for settings, pair, reason in (
        (Filter(drop_unprintable=True), ("a\x01", "a\x01"), UNPRINTABLES),
        (Filter(max_words=8), ("w " * 9, "w"), LONG),
        (Filter(max_ratio=2), ("w " * 9, "w"), UNEQUAL),
        (Filter(drop_copies=True), ("a\x01", "A\x01"), COPY),
    ):
        assert violated_rule(*pair, settings) == reason
        assert violated_rule("w " * 9, "x " * 9, settings) == (LONG if settings.max_words else None)


def test_a_fractional_ratio_is_named_as_it_was_given():
    settings = Filter(max_ratio=1.5)
    assert violated_rule("1 2 3 4 5 6", "a b c d", settings) is None
    assert (
        violated_rule("1 2 3 4 5 6 7", "a b c d", settings) == "lengths further apart than --data.filter.max-ratio=1.5"
    )


def test_unprintable_and_invalid_characters():
    for code in [*range(0xF0000), *range(0xF0000, 0x110000, 251), 0xFFFFE, 0x10FFFF]:
        character = chr(code)
        kind = unicodedata.category(character)
        invalid = kind == "Cs" or code == 0xFFFD or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
        unprintable = (kind == "Cc" and not character.isspace()) or (kind == "Co" and not invalid)
        expected = INVALID_UNICODE if invalid else UNPRINTABLES if unprintable else None
        if expected or code < 0x3000:
            found = violated_rule(f"a{character}", "b", Filter(drop_unprintable=True))
            assert found == expected, hex(code)


def test_rules_apply_to_normalised_text():
    pairs = [("Ｂｅｒｌｉｎ", "berlin"), ("a", "b"), ("ａ", "b"), ("\u3000", "x")]
    cleaner = Cleaner(FULL)
    assert list(cleaner.clean(pairs)) == [(1, "a", "b")]
    assert cleaner.counts == {EMPTY: 1, COPY: 1, DUPLICATE: 1}
    assert (list(cleaner.counts), cleaner.read) == ([EMPTY, COPY, DUPLICATE], 4)
    other = Cleaner(replace(FULL, normalize="none"))
    assert [place for place, *_ in other.clean(pairs)] == [0, 1, 2]


def test_reserved_characters_of_pairs_that_pass_are_replaced_and_counted():
    pairs = [("a▁b", "c"), ("d", "▅"), ("e", "f"), ("", "▅"), ("a_b", "c"), ("nul \0", "g")]
    cleaner = Cleaner(Filter(drop_duplicates=True, drop_unprintable=True))
    assert list(cleaner.clean(pairs)) == [(0, "a_b", "c"), (1, "d", "▆"), (2, "e", "f")]
    assert cleaner.replaced == 2
    assert cleaner.counts == {EMPTY: 1, UNPRINTABLES: 1, DUPLICATE: 1}


words = st.lists(st.sampled_from(["a", "b", "A", "ß", "ss", "ﬁ", "\x01", "\ufffd", "\u00ad", " "]), max_size=10)
texts = words.map(" ".join)
settings_of_all_kinds = st.builds(
    Filter,
    normalize=st.sampled_from(["none", "nfc", "nfkc"]),
    drop_unprintable=st.booleans(),
    max_words=st.sampled_from([0, 1, 6]),
    max_ratio=st.sampled_from([0.0, 1.0, 2.5]),
    drop_copies=st.booleans(),
    drop_duplicates=st.booleans(),
)


def loops(pairs, settings):
    """The pairs that are kept, and the counts of the others by reason, by the documented rules and a set of pairs."""
    kept, counts, seen = [], Counter(), set()
    for place, pair in enumerate(pairs):
        if settings.normalize != "none":
            pair = tuple(unicodedata.normalize(settings.normalize.upper(), side) for side in pair)
            pair = tuple(side.strip() for side in pair)
        lengths = [len(side.split()) for side in pair]
        text = "".join(pair)
        if not min(lengths):
            reason = EMPTY
        elif settings.drop_unprintable and "\ufffd" in text:
            reason = INVALID_UNICODE
        elif settings.drop_unprintable and "\x01" in text:
            reason = UNPRINTABLES
        elif settings.max_words and max(lengths) > settings.max_words:
            reason = f"longer than --data.filter.max-words={settings.max_words}"
        elif settings.max_ratio and max(lengths) > 5 and max(lengths) / min(lengths) > settings.max_ratio:
            reason = f"lengths further apart than --data.filter.max-ratio={settings.max_ratio:g}"
        elif settings.drop_copies and pair[0].casefold() == pair[1].casefold():
            reason = COPY
        elif settings.drop_duplicates and pair in seen:
            reason = DUPLICATE
        else:
            kept.append((place, *pair))
            seen.add(pair)
            continue
        counts[reason] += 1
    return kept, dict(counts)


@given(st.lists(st.tuples(texts, texts), max_size=60), settings_of_all_kinds, st.sampled_from([1, 3, 64]))
def test_the_cleaner_equals_loops(pairs, settings, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filters, "CHUNK", chunk)
        cleaner = Cleaner(settings)
        kept = list(cleaner.clean(iter(pairs)))
    assert (kept, cleaner.counts) == loops(pairs, settings)
    assert cleaner.read == len(pairs) == len(kept) + sum(cleaner.counts.values())


@given(st.lists(st.tuples(texts, texts), max_size=60), settings_of_all_kinds)
def test_chunks_of_workers_equal_one_process(pairs, settings):
    one, parent = Cleaner(settings), Cleaner(settings)
    kept = []
    for start in range(0, len(pairs), 7):
        sent = pickle.loads(pickle.dumps(filter_pairs(pairs[start : start + 7], settings)))
        fresh = parent.accept(sent)
        kept += [(start + sent.positions[i], *sent.pairs[i]) for i in np.flatnonzero(fresh)]
    assert kept == list(one.clean(pairs))
    assert (parent.counts, parent.read) == (one.counts, one.read)


def test_cleaning_reads_one_chunk_at_a_time(monkeypatch):
    monkeypatch.setattr(filters, "CHUNK", 4)
    taken = []
    stream = Cleaner(Filter()).clean((f"{taken.append(i) or i}", "x") for i in range(100))
    next(stream)
    assert len(taken) == 4


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=30))
def test_the_set_of_hashes_equals_a_set(chunks):
    seen, known = HashSet(), set()
    for chunk in chunks:
        expected = []
        for one in chunk:
            expected.append(one not in known)
            known.add(one)
        assert seen.add(np.array(chunk, np.uint64)).tolist() == expected


def test_many_hashes_take_eight_bytes_each():
    draw = np.random.default_rng(1)
    hashes = draw.permutation(np.arange(2**64 - 60_000, 2**64, dtype=np.uint64))  # beyond what a float can tell apart
    seen = HashSet()
    for chunk in np.array_split(hashes, 200):
        assert seen.add(chunk).all()
    assert not seen.add(draw.permutation(hashes)).any()
    sizes = [len(run) for run in seen._runs]
    assert sum(run.nbytes for run in seen._runs) == 8 * 60_000
    assert all(longer > 2 * shorter for longer, shorter in pairwise(sizes))


def test_hashes_by_hand():
    pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("1 a", "b"), ("größer", "\ud800")]
    found = hash_pairs(pairs)
    assert found.dtype == np.uint64
    assert len(set(found.tolist())) == len(pairs)
    expected = hashlib.blake2b(b"1 abc", digest_size=8).digest()
    assert found[0] == int.from_bytes(expected, "little")
    assert len(hash_pairs([])) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Filter(max_words=-1), r"--data\.filter\.max-words=-1 is negative"),
        (Filter(max_ratio=0.5), r"--data\.filter\.max-ratio=0\.5 must be at least 1, or 0"),
        (Filter(max_ratio=-2), r"--data\.filter\.max-ratio=-2 must be"),
        (Filter(max_ratio=float("nan")), r"--data\.filter\.max-ratio=nan must be"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        Cleaner(settings)
