"""From tokens to words to links: against loops over single numbers, and a case by hand."""

import dataclasses

import numpy as np
import pytest

from transformer.alignment.links import Rule, align, by_word, links, select_heads
from transformer.alignment.record import Attended, Side
from transformer.config import Tokenizer
from transformer.data.tokenizers.subwords import SentencePieceTokenizer
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.errors import UsageError
from transformer.special_tokens import UNK


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_words_of_tokens_equal_loops(seed):
    random = np.random.default_rng(seed)

    def spans(words):
        found = [word for word in range(words) for _ in range(random.integers(1, 4))]
        return (*found, -1)

    U, W = random.integers(1, 7, 2)
    target, source = spans(U), spans(W)
    weights = softmax(2 * random.normal(size=(2, 3, len(target), len(source))))
    weights *= random.uniform(0.2, 1, size=(2, 3, len(target), 1)).astype(np.float32)  # as a window's gain does
    found = by_word(weights, target, source)
    assert found.shape == (2, 3, U, W)
    for layer in range(2):
        for head in range(3):
            for u in range(U):
                rows = [t for t, word in enumerate(target) if word == u]
                for w in range(W):
                    total = 0.0
                    for t in rows:
                        row = weights[layer, head, t]
                        words = sum(row[s] for s in range(len(source)) if source[s] >= 0)
                        mine = sum(row[s] for s in range(len(source)) if source[s] == w)
                        total += mine / words * row.sum()
                    np.testing.assert_allclose(found[layer, head, u, w], total / len(rows), rtol=1e-4)
    sums = np.stack([weights[:, :, [t == u for t in target]].sum(-1).mean(-1) for u in range(U)], -1)
    np.testing.assert_allclose(found.sum(-1), sums, rtol=1e-4)


def test_a_row_that_attends_to_special_tokens_only_is_zero_and_has_no_link():
    weights = np.array([[0.0, 0.0, 1.0], [0.25, 0.5, 0.25]], np.float32)
    found = by_word(weights, (0, 1), (0, 1, -1))
    np.testing.assert_allclose(found, [[0, 0], [1 / 3, 2 / 3]], rtol=1e-6)
    assert links(found) == {(1, 1)}


def by_hand():
    """la maison bleue -> the blue house, of pieces [la][mai][son][bleue][/] and [the][blue][hou][se][/]."""
    source = Side(("la", "maison", "bleue"), ("▁la", "▁mai", "son", "▁bleue", "</s>"), (0, 1, 1, 2, -1))
    target = Side(("the", "blue", "house"), ("▁the", "▁blue", "▁hou", "se", "</s>"), (0, 1, 2, 2, -1))
    one = [[0.7, 0.1, 0.0, 0.0, 0.2], [0.0, 0.1, 0.2, 0.6, 0.1], [0.1, 0.4, 0.3, 0.2, 0.0], [0.0, 0.3, 0.3, 0.4, 0.0]]
    other = [[0.0, 0.0, 0.0, 1.0, 0.0]] * 4
    rows = [[*layer, [0, 0, 0, 0, 1]] for layer in (one, other)]
    return Attended(source, target, np.array(rows, np.float32)[:, None])


def test_a_pair_by_hand():
    weights, found = align(by_hand(), Rule(layer=0, head=0))
    expected = [[0.875, 0.125, 0], [0, 1 / 3, 2 / 3], [0.05, 0.65, 0.3]]
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    assert found == {(0, 0), (2, 1), (1, 2)}
    assert align(by_hand(), Rule(layer=0, threshold=0.29))[1] == {(0, 0), (1, 1), (2, 1), (1, 2), (2, 2)}
    any_weight = Rule(layer=0, threshold=0.0)
    assert align(by_hand(), any_weight)[1] == {(0, 0), (1, 0), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)}
    assert any_weight.describe()["links"] == "every weight above zero"
    assert align(by_hand(), Rule(layer=1))[1] == {(2, 0), (2, 1), (2, 2)}
    mean, _ = align(by_hand(), Rule())
    np.testing.assert_allclose(mean[1], np.array([0, 0.15, 0.8]) / 0.95, rtol=1e-5)


RULES_BY_HAND = {
    # Rows of "house" are [hou] and [se]; columns of "maison" are [mai] and [son]. The end token has 0.2, 0.1, 0 and 0.
    ("mean", "sink"): [[0.7, 0.05, 0], [0, 0.15, 0.6], [0.05, 0.325, 0.3]],
    ("max", "sink"): [[0.7, 0.1, 0], [0, 0.2, 0.6], [0.1, 0.4, 0.4]],
    ("any", "sink"): [[0.7, 0.1, 0], [0, 0.2, 0.6], [0.1, 0.4, 0.4]],
    ("sum", "sink"): [[0.7, 0.1, 0], [0, 0.3, 0.6], [0.05, 0.65, 0.3]],
    ("sum", "null"): [[0.7, 0.1, 0], [0, 0.3, 0.6], [0.05, 0.65, 0.3]],
    ("max", "dropped"): [[0.875, 0.125, 0], [0, 2 / 9, 2 / 3], [0.1, 0.4, 0.4]],
}


@pytest.mark.parametrize("rule", RULES_BY_HAND, ids=str)
def test_rules_from_pieces_to_words_by_hand(rule):
    pieces, end = rule
    weights, _ = align(by_hand(), Rule(layer=0, pieces=pieces, end=end))
    np.testing.assert_allclose(weights, RULES_BY_HAND[rule], rtol=1e-5, atol=1e-7)


def test_a_word_is_linked_where_any_of_its_pieces_is():
    assert align(by_hand(), Rule(layer=0))[1] == {(0, 0), (2, 1), (1, 2)}
    # [hou] prefers [mai], and [se] prefers [bleue]: the word has two links.
    assert align(by_hand(), Rule(layer=0, pieces="any"))[1] == {(0, 0), (2, 1), (1, 2), (2, 2)}


def test_a_word_that_prefers_the_end_token_has_no_link():
    pair = by_hand()
    pair.cross[0, 0, 0] = [0.3, 0.1, 0.0, 0.0, 0.6]
    assert (0, 0) in align(pair, Rule(layer=0))[1]
    assert align(pair, Rule(layer=0, end="null"))[1] == {(2, 1), (1, 2)}
    assert align(pair, Rule(layer=0, end="null", pieces="any"))[1] == {(2, 1), (1, 2), (2, 2)}
    # Without rescaling, 0.3 is below the threshold; rescaled it is 0.75.
    assert (0, 0) in align(pair, Rule(layer=0, threshold=0.5))[1]
    assert (0, 0) not in align(pair, Rule(layer=0, threshold=0.5, end="sink"))[1]


def test_another_read_out_replaces_the_weights():
    pair = dataclasses.replace(by_hand(), readouts={"norms": by_hand().cross[1:]})
    assert pair.kinds == ("cross", "norms")
    assert align(pair, Rule(by="norms"))[1] == {(2, 0), (2, 1), (2, 2)}


def test_a_shifted_rule_reads_the_row_of_the_next_token():
    weights, _ = align(by_hand(), Rule(layer=0, shift=1))
    np.testing.assert_allclose(weights[0], [0, 1 / 3, 2 / 3], rtol=1e-5)
    # The rows of "hou" and "se" are now those of "se" and of the EOS token, which attends to the EOS token only.
    np.testing.assert_allclose(weights[2], np.array([0, 0.6, 0.4]) / 2, rtol=1e-5)


def test_selection_averages_over_layers_and_heads_that_are_not_given():
    weights = np.random.default_rng(0).random((3, 2, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(select_heads(weights), weights.reshape(6, 4, 5).mean(0), rtol=1e-6)
    np.testing.assert_allclose(select_heads(weights, 1), weights[1].mean(0), rtol=1e-6)
    np.testing.assert_allclose(select_heads(weights, head=1), weights[:, 1].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(select_heads(weights, 2, 0), weights[2, 0])


@pytest.mark.parametrize(("layer", "head"), [(3, None), (-1, None), (None, 2), (0, -1)])
def test_a_missing_layer_or_head_is_refused(layer, head):
    with pytest.raises(UsageError, match="the attention has"):
        select_heads(np.ones((3, 2, 4, 5), np.float32), layer, head)


def test_words_are_separated_by_plain_spaces():
    text = ["la\u00a0maison bleue .", "la maison\u3000bleue ▁ ▁x ."]
    pieces = SentencePieceTokenizer.train(Tokenizer(kind="bpe", vocabulary=30), text)
    words = WordTokenizer.train(Tokenizer(kind="word", vocabulary=10), text)
    for tokenizer in (pieces, words):
        for line in text:
            side = Side.of(tokenizer.segment(line), tokenizer)
            assert len(side.words) == max(side.spans) + 1 == len(line.split(" "))
    assert Side.of(pieces.segment(text[0]), pieces).words == ("la\u00a0maison", "bleue", ".")
    assert Side.of(pieces.segment(text[1]), pieces).words == ("la", "maison\u3000bleue", "_", "_x", ".")
    # An unknown token in the middle of a word is spelled apart: the text has 4 words.
    side = Side.of(pieces.spell([*pieces.encode("la"), UNK, *pieces.encode("bleue .")]), pieces)
    assert side.words == ("la", "⁇", "bleue", ".")
    assert max(side.spans) == 3


def test_sides_of_real_tokenizers():
    text = ["the old man sleeps .", "the man sold the old house ."]
    pieces = SentencePieceTokenizer.train(Tokenizer(kind="bpe", vocabulary=24), text)
    side = Side.of(pieces.segment(text[1]), pieces)
    assert side.words == ("the", "man", "sold", "the", "old", "house", ".")
    assert side.pieces[-1] == "</s>"
    assert side.spans[-1] == -1
    for number, word in enumerate(side.words):
        mine = [piece for piece, span in zip(side.pieces, side.spans, strict=True) if span == number]
        assert "".join(mine) == f"▁{word}"
    words = WordTokenizer.train(Tokenizer(kind="word", vocabulary=7), text)
    side = Side.of(words.segment(text[1]), words)
    assert side.spans == (0, 1, 2, 3, 4, 5, 6, -1)
    assert side.pieces[2] == "<unk>"
    assert side.words[2] == "sold"


def test_negative_weights_count_as_zero_between_words():
    """As differential attention and talking heads have; by hand. The second word has nothing else, and no link."""
    weights = np.array([[[[0.5, -0.2, 0.3], [-0.1, -0.4, 0.0]]]], np.float32)
    pair = Attended(Side(tuple("abc"), tuple("abc"), (0, 1, 2)), Side(tuple("xy"), tuple("xy"), (0, 1)), weights)
    found, linked = align(pair, Rule(threshold=0))
    np.testing.assert_allclose(found, [[0.5, 0, 0.3], [0, 0, 0]], atol=1e-7)
    assert linked == {(0, 0), (2, 0)}
    assert align(pair, Rule())[1] == {(0, 0)}
