"""Byte-level BPE: merges by hand, a slow encoder from the definition, and every text there and back."""

import itertools
import random

import pytest

from transformer.data.config import Tokenizer
from transformer.data.tokenizers import byte_bpe
from transformer.data.tokenizers.byte_bpe import CHARACTERS, ByteBpeTokenizer, learn_merges, merge_steps
from transformer.data.tokenizers.files import load_tokenizers, save_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError
from transformer.special_tokens import EOS, SPECIAL_TOKENS, UNK

TEXTBOOK = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
"""Sennrich et al. 2016, algorithm 1, without its end-of-word symbol."""
ODD = [
    "I'll say it's  fine,\n\n won't they've?",
    " a  b\t\tc \n ",
    "Łódź 东京 😀👩‍👩‍👧 é e\u0301 ½ ٣ \u00a0x\u2028y\u3000z \0",
    "",
    "don'T 12,345.67 x²",
]


def test_merges_of_the_textbook_by_hand():
    """Ties go to the pair seen first: (e, s) before (s, t), (l, o) before (o, w), and so on."""
    by_hand = ["e s", "es t", "l o", "lo w", "n e", "w est", "ne west", "w i", "d est", "wi dest", "e r", "low er"]
    assert [" ".join(pair) for pair in learn_merges(TEXTBOOK, 99)] == by_hand
    ranks = {pair: rank for rank, pair in enumerate(learn_merges(TEXTBOOK, 4))}
    steps = [" ".join(pieces) for pieces in merge_steps("lowest", ranks)]
    assert steps == ["l o w e s t", "l o w es t", "l o w est", "lo w est", "low est"]
    assert [*merge_steps("aaaa", {("a", "a"): 0})][-1] == ("aa", "aa")


def slow_merges(counts, number):
    """All pairs counted anew for every merge."""
    words, merges, order = [([*word], count) for word, count in counts.items()], [], {}
    while len(merges) < number:
        totals = {}
        for pieces, count in words:
            for pair in itertools.pairwise(pieces):
                totals[pair] = totals.get(pair, 0) + count
                order.setdefault(pair, len(order))
        if not totals:
            break
        best = min(totals, key=lambda pair: (-totals[pair], order[pair]))
        merges.append(best)
        for pieces, _ in words:
            place = 0
            while place < len(pieces) - 1:
                if (pieces[place], pieces[place + 1]) == best:
                    pieces[place : place + 2] = ["".join(best)]
                place += 1
    return merges


@pytest.fixture(scope="module")
def tokenizer():
    draw = random.Random(1)
    lines = ["".join(draw.choice("abc  é\n'st") for _ in range(40)) for _ in range(60)]
    return ByteBpeTokenizer.train(Tokenizer(kind="byte_bpe", vocabulary=320), lines)


def test_learning_and_encoding_equal_slow_ones(tokenizer):
    draw = random.Random(2)
    for _ in range(20):
        counts = {"".join(draw.choice("abc") for _ in range(draw.randint(1, 9))): draw.randint(1, 5) for _ in range(15)}
        assert learn_merges(counts, 12) == slow_merges(counts, 12)
    for text in [*ODD, "abcab ésts bca"]:
        expected = []
        for word in byte_bpe.WORDS.findall(text):
            pieces = [CHARACTERS[byte] for byte in word.encode()]
            for first, second in tokenizer.ranks:  # one merge after the other, over the whole word
                place = 0
                while place < len(pieces) - 1:
                    if (pieces[place], pieces[place + 1]) == (first, second):
                        pieces[place : place + 2] = [first + second]
                    place += 1
            expected += pieces
        assert tokenizer.pieces(tokenizer.encode(text)) == expected


def test_every_text_is_decoded_as_it_was(tokenizer, tmp_path):
    save_tokenizers(Tokenizers(tokenizer, tokenizer), tmp_path)
    again = ByteBpeTokenizer.of_gpt2(*tokenizer.gpt2_files())
    for one in (tokenizer, load_tokenizers(tmp_path).source, again):
        assert one.content == tokenizer.content
        for text in ODD:
            assert one.decode([*one.encode(text), EOS, 9]) == text
            assert UNK not in one.encode(text)
    assert tokenizer.size == 320
    assert tokenizer.decode([UNK]) == "\ufffd"
    assert tokenizer.decode(tokenizer.encode("é")[:1]) in ("é", "\ufffd")
    vocabulary, _ = tokenizer.gpt2_files()
    assert vocabulary["!"] == 0
    assert vocabulary["Ġ"] == tokenizer.encode(" ")[0] - len(SPECIAL_TOKENS)


def test_a_token_belongs_to_the_word_of_its_last_byte(tokenizer):
    sentence = tokenizer.segment("ab  é東 c")
    assert sentence.words == ["ab", "é東", "c"]
    spelt = [tokenizer.pieces([token])[0] for token in sentence.tokens]
    by_word = ["".join(p for p, n in zip(spelt, sentence.word_ids, strict=True) if n == word) for word in range(3)]
    assert by_word[0] == "ab"
    assert bytes(CHARACTERS.index(one) for one in by_word[1]).decode() == "  é東"
    assert by_word[2] == "Ġc"


def test_bad_files_and_sizes_are_refused(tokenizer):
    for content in (b"", b"{}", b'{"pieces": ["a"], "merges": []}', tokenizer.content.replace(b'"<s>"', b'"<x>"')):
        with pytest.raises(TransformerError, match="not a byte-level BPE"):
            ByteBpeTokenizer(content)
    with pytest.raises(TransformerError, match="the smallest that works is 260"):
        ByteBpeTokenizer.train(Tokenizer(kind="byte_bpe", vocabulary=259), ["a"])
    with pytest.raises(TransformerError, match="no text"):
        ByteBpeTokenizer.train(Tokenizer(kind="byte_bpe"), [""])
