"""The conversion of text before it is tokenised, by hand."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer.data.normal_form import normalize, replace_reserved, split_words


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        (" a  b ", "none", " a  b "),
        (" a  b ", "nfc", "a  b"),
        ("ﬁne\u00a0½", "none", "ﬁne\u00a0½"),
        ("ﬁne\u00a0Ａ u\u0308", "nfc", "ﬁne\u00a0Ａ ü"),
        ("ﬁne\u00a0Ａ u\u0308  x", "nfkc", "fine A ü  x"),
        ("´x", "nfkc", "\u0301x"),  # an accent of its own is a space and an accent
    ],
)
def test_normalisation_by_hand(text, form, expected):
    assert normalize(text, form) == expected


@given(st.text(), st.sampled_from(["none", "nfc", "nfkc"]))
def test_normalisation_is_idempotent(text, form):
    once = normalize(text, form)
    assert normalize(once, form) == once
    assert form == "none" or unicodedata.is_normalized(form.upper(), once)


def test_reserved_characters_become_ordinary_ones_and_words_stay_the_same():
    text = "▁a b▁c ▅ x\0y  ▆"
    assert replace_reserved(text) == "_a b_c ▆ x␀y  ▆"
    assert split_words(text) == ["▁a", "b▁c", "▅", "x\0y", "▆"]
    assert split_words(replace_reserved(text)) == ["_a", "b_c", "▆", "x␀y", "▆"]


def test_plain_spaces_separate_words():
    assert split_words("  la\u00a0maison\tbleue  .\u3000 ") == ["la\u00a0maison\tbleue", ".\u3000"]
    assert split_words(" ") == split_words("") == []
