"""What is shown of a tokenizer: places against the text, merges against the encoding."""

import itertools

import pytest

from transformer.data.config import Tokenizer
from transformer.data.grammar.pairs import generate
from transformer.data.tokenizers.shown import merges, spans
from transformer.data.tokenizers.train import train_tokenizers
from transformer.special_tokens import UNK

LINES = [pair.target for pair in itertools.islice(generate("train"), 200)]
TEXT = "der  alte 东é Mann schläft ."
KINDS = {
    "bpe": Tokenizer(kind="bpe", vocabulary=300),
    "bytes": Tokenizer(kind="bpe", vocabulary=560, byte_fallback=True),
    "unigram": Tokenizer(kind="unigram", vocabulary=200),
    "char": Tokenizer(kind="char", vocabulary=200),
    "word": Tokenizer(kind="word", vocabulary=40),
    "characters": Tokenizer(kind="characters", vocabulary=200),
    "byte_bpe": Tokenizer(kind="byte_bpe", vocabulary=400),
}


@pytest.fixture(params=KINDS, scope="module")
def tokenizer(request):
    return request.param, train_tokenizers(KINDS[request.param], LINES, []).source


def test_places_are_those_of_the_pieces(tokenizer):
    kind, made = tokenizer
    ids, places = made.encode(TEXT), spans(made, TEXT)
    assert len(ids) == len(places)
    assert places == sorted(places)
    for id_, piece, (start, end) in zip(ids, made.pieces(ids), places, strict=True):
        found = TEXT[start:end]
        if kind == "byte_bpe":
            assert made.decode([id_]) == found or "\ufffd" in made.decode([id_])
        elif piece.startswith("<0x"):
            assert found in "东é"
        elif piece == "▁":
            assert not found.strip()
        else:
            assert id_ == UNK or found == piece.removeprefix("▁")
    unknown = [TEXT[start:end] for id_, (start, end) in zip(ids, places, strict=True) if id_ == UNK]
    assert kind in ("word", "bytes", "byte_bpe") or "".join(unknown) == "东é"
    covered = {place for start, end in places for place in range(start, end)}
    assert {place for place, one in enumerate(TEXT) if one != " "} <= covered
    assert spans(made, "") == []


def test_the_last_step_of_the_merges_is_the_encoding(tokenizer):
    kind, made = tokenizer
    for line in LINES[:40]:
        steps = merges(made, line)
        if kind in ("word", "characters"):
            assert steps is None
        elif kind in ("bpe", "byte_bpe"):
            words = {"".join(word[0]): word for word in steps}
            assert all(len(after) < len(step) for word in steps for step, after in itertools.pairwise(word))
            assert all(len("".join(step)) == len(word[0]) for word in steps for step in word)
            found = {piece for word in words.values() for piece in word[-1]}
            assert found == set(made.pieces(made.encode(line)))
