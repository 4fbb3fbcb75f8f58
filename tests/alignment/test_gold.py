"""The links that alignments are measured against: their origin, and that they are within their pairs."""

import dataclasses

import pytest

from transformer.alignment import gold
from transformer.alignment.measure import Gold, all_sure, link_counts, measure
from transformer.config import Data, Tokenizer
from transformer.data.corpora.corpus import Corpus
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.errors import TransformerError

FILES = Data(source="files", alignments="links")


class Words:
    """Words of a text, as every tokenizer numbers them."""

    def split_words(self, text):
        return text.split(" ")


TOKENIZERS = Tokenizers(Words(), Words())


def pairs(*alignments):
    texts = ["a b c"] * len(alignments)
    return Corpus(texts, texts, list(alignments), "validation")


def test_the_grammars_links_are_gold_and_those_of_the_data_are_not(tmp_path):
    part = pairs(((0, 0),), ((1, 1), (2, 2)))
    exact, aligner = (gold.of_data(tmp_path, part, data, TOKENIZERS) for data in (Data(source="grammar"), FILES))
    assert exact.links == aligner.links == all_sure(part.alignments)
    assert exact.origin == "the grammar's gold links"
    assert "gold" not in aligner.origin
    assert "an aligner's output" in aligner.origin
    assert gold.of_data(tmp_path, part._replace(alignments=None), FILES, TOKENIZERS) is None


def test_links_that_count_from_1_are_refused(tmp_path):
    """Every last word is linked, so every pair names a fourth word."""
    part = pairs(*[((1, 1), (3, 3))] * 12)
    with pytest.raises(
        TransformerError,
        match=r"validation\.align: .* in 12 of 12 aligned pairs \(first: line 1: 3-3 in a pair of 3 and 3 words\); no "
        r"link names word 0, .* train the run again with --data\.first-word 1",
    ):
        gold.of_data(tmp_path, part, FILES, TOKENIZERS)


def test_a_few_unusable_pairs_are_left_out_and_counted(tmp_path, caplog):
    part = pairs(((0, 0),), ((0, 0), (1, 7)), ((2, 2),))
    reference = gold.of_data(tmp_path, part, FILES, TOKENIZERS)
    assert reference.links == [Gold(*[frozenset({(0, 0)})] * 2), None, Gold(*[frozenset({(2, 2)})] * 2)]
    assert "in 1 of 3 aligned pairs (first: line 2: 1-7 in a pair of 3 and 3 words): left out" in caplog.text
    measured = measure([frozenset({(0, 0)}), frozenset({(1, 1)}), frozenset({(2, 1)})], reference.links)
    # Of the first and the third pair: two links, two gold links, one of both.
    assert measured.aer == pytest.approx(1 - (1 + 1) / (2 + 2))
    assert (measured.sentences, measured.left_out) == (2, 1)


def test_links_within_their_pairs_that_never_name_word_0_are_warned_about(tmp_path, caplog):
    part = pairs(*[((1, 1),)] * 12)
    gold.of_data(tmp_path, part, FILES, TOKENIZERS)
    assert "no link names word 0: if the words of --data.alignments=links count from 1" in caplog.text
    caplog.clear()
    gold.of_data(tmp_path, part, dataclasses.replace(FILES, first_word=0), TOKENIZERS)
    assert not caplog.messages


def test_a_pair_that_was_not_aligned_is_in_no_count():
    """Before, its gold links counted as missed: the error rate was 1 - (2 + 2) / (2 + 3)."""
    found, right = [frozenset({(0, 0), (1, 1)}), None], all_sure([[(0, 0), (1, 1)], [(0, 0)]])
    measured = measure(found, right)
    assert (measured.aer, measured.recall, measured.sentences, measured.left_out) == (0.0, 1.0, 1, 1)
    assert link_counts(found, right).tolist() == [[2, 2, 2, 2], [0, 0, 0, 0]]
    nothing = measure([None, None], right)
    assert (nothing.sentences, nothing.left_out) == (0, 2)


def test_gold_links_of_words_that_the_normal_form_splits_are_refused(tmp_path):
    """A no-break space becomes a plain one under nfkc, so the word after it has another number."""
    text = ["the cat\u00a0sat there"]
    path, part = tmp_path / "gold", Corpus(text, text, None, "test")
    path.write_text("2-2\n")
    plain = WordTokenizer.train(Tokenizer(kind="word", vocabulary=20), text)
    assert gold.read(path, 0, part, Tokenizers(plain, plain)).links == [Gold(*[frozenset({(2, 2)})] * 2)]
    normal = WordTokenizer(plain.content, "nfkc")
    with pytest.raises(
        TransformerError, match=r"gold, line 1: the pair has 3 and 3 words, and 4 and 4 in the run's no"
    ):
        gold.read(path, 0, part, Tokenizers(normal, normal))
