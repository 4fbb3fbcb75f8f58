"""Replacement of unknown words by attention, with weights set by hand and with a trained model."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from transformer import api
from transformer.config import Attention, Rnn
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.decoding.unknown import read_lexicon, replace_unknown
from transformer.errors import TransformerError, UsageError
from transformer.special_tokens import EOS, UNK
from transformer.training.run import train

SPECIAL_TOKENS = "<pad>\n<unk>\n<s>\n</s>\n"
WORDS = Tokenizers(
    WordTokenizer((SPECIAL_TOKENS + "the\nsees\n").encode()), WordTokenizer((SPECIAL_TOKENS + "der\nsieht\n").encode())
)
LINE = "the  Zyx sees Quux"
SOURCE = [4, UNK, 5, UNK, EOS]
# Most attention to: the, Zyx, sees, the EOS token (and next Quux).
WEIGHTS = np.array(
    [[0.9, 0.1, 0, 0, 0], [0.2, 0.5, 0.3, 0, 0], [0, 0, 1, 0, 0], [0.1, 0.05, 0.05, 0.2, 0.6]], np.float32
)


def test_an_unknown_word_is_the_source_word_with_most_attention_never_a_special_token():
    target = [4, UNK, 5, UNK]
    replaced = replace_unknown(LINE, SOURCE, target, WEIGHTS, WORDS, {})
    assert replaced == ("der Zyx sieht Quux", (4, UNK, 5, UNK), (0, 1, 2, 3))
    padded = np.pad(WEIGHTS, ((0, 2), (0, 3)))
    padded[:, 5:] = 7  # weights beyond the sentence are never read
    lexicon = {"Quux": "Kwuks", "the": "x"}
    assert replace_unknown(LINE, SOURCE, target, padded, WORDS, lexicon).text == "der Zyx sieht Kwuks"


def test_a_known_word_is_never_replaced():
    assert replace_unknown(LINE, SOURCE, [4, 5], WEIGHTS, WORDS, {"the": "wrong"}).text == "der sieht"


def test_words_of_a_replacement_by_several_are_counted():
    """Links of `Zyx` name the last word of its translation, those of `Quux` the word after `sieht`."""
    replaced = replace_unknown(LINE, SOURCE, [4, UNK, 5, UNK], WEIGHTS, WORDS, {"Zyx": "New York City"})
    assert replaced.text == "der New York City sieht Quux"
    assert replaced.word_ids == (0, 3, 4, 5)
    assert [replaced.words[number] for number in replaced.word_ids] == ["der", "City", "sieht", "Quux"]


def test_a_lexicon_has_pairs_of_words(tmp_path):
    path = tmp_path / "lexicon"
    path.write_text("dog\tHund\ncat\tKatze\ndog\tHund\n")
    assert read_lexicon(path, WORDS) == {"dog": "Hund", "cat": "Katze"}
    for wrong, complaint in (
        ("dog\tHund\ncat\n", "line 2: not a word"),
        ("\tHund\n", "line 1: not a word"),
        ("dog\tHund\textra\n", "line 1: not a word"),
        ("dog\tHund\ndog\tRüde\n", "line 2: 'dog' already has a different translation"),
    ):
        path.write_text(wrong)
        with pytest.raises(TransformerError, match=complaint):
            read_lexicon(path, WORDS)
    with pytest.raises(TransformerError, match="no such file"):
        read_lexicon(tmp_path / "none", WORDS)


def test_a_lexicon_is_normalised_like_the_text(tmp_path, caplog):
    """The same word in two normal forms, reserved characters, blank lines, and an entry that no word can match."""
    path = tmp_path / "lexicon"
    path.write_text("\n cafe\u0301\tCafe\u0301\ncaf\u00e9\tCaf\u00e9\n \n\na▁b\tx▅\nNew York\tNeu York\n\n")
    sides = [WordTokenizer(tokenizer.content, "nfc") for tokenizer in WORDS]
    lexicon = read_lexicon(path, Tokenizers(*sides))
    assert lexicon == {"caf\u00e9": "Caf\u00e9", "a_b": "x▆", "New York": "Neu York"}
    assert f"{path}: entries for several words, which replace nothing: 1 ('New York' ...)" in caplog.text
    line, target = "the cafe\u0301", [UNK]
    found = replace_unknown(line, [4, UNK, EOS], target, WEIGHTS[1:2], Tokenizers(*sides), lexicon)
    assert found.text == "Caf\u00e9"
    path.write_text("cafe\u0301\tx\n\ncaf\u00e9\ty\n")
    with pytest.raises(TransformerError, match="line 3: 'caf\u00e9' already has a different translation above"):
        read_lexicon(path, Tokenizers(*sides))


@pytest.fixture
def copying(settings):
    """Settings of a vocabulary of four words, with location attention of few places."""
    attention = Attention(score="location", positions=5)
    return dataclasses.replace(
        settings,
        tokenizer=dataclasses.replace(settings.tokenizer, vocabulary=8),
        model=Rnn(embedding=12, width=16, attention=attention, tie="none", max_length=32),
    )


def test_translations_replace_unknown_words_and_warn_about_sources_beyond_the_attention(copying, tmp_path, caplog):
    train(copying, tmp_path / "run", "toy")
    assert "location attention knows 5 source tokens" in caplog.text
    sources = Path(copying.data.train + ".xx").read_text()
    expected = sum(max(0, len(line.split()) + 1 - 5) for line in sources.splitlines())
    assert f"tokens beyond get no attention, {expected} of" in caplog.text
    model = api.load(tmp_path / "run")
    lines = ["zz", "qq zz ww", "zz zz zz zz zz zz"]
    plain, replaced = model.translate(lines, beam=1), model.translate(lines, beam=1, replace_unknown=True)
    assert "lines longer than the 5 tokens of location attention" in caplog.text
    assert "(--model.attention.positions): 1 (first: line 3)" in caplog.text
    assert any("<unk>" in text for text in plain)
    lexicon = tmp_path / "lexicon"
    lexicon.write_text("zz\tYY\n")
    looked_up = model.translate(lines, beam=1, replace_unknown=True, lexicon=str(lexicon))
    for line, before, after, other in zip(lines, plain, replaced, looked_up, strict=True):
        assert len(before.split()) == len(after.split()) == len(other.split())
        for old, new, found in zip(before.split(), after.split(), other.split(), strict=True):
            assert new in line.split() if old == "<unk>" else new == old
            assert found == ("YY" if old == "<unk>" and new == "zz" else new)


def test_settings_that_cannot_replace_words_are_refused(settings, tmp_path):
    def searching(**changes):
        return dataclasses.replace(
            settings, decoding=dataclasses.replace(settings.decoding, replace_unknown=True), **changes
        )

    run = tmp_path / "run"
    with pytest.raises(UsageError, match="bpe has no unknown words"):
        train(searching(tokenizer=dataclasses.replace(settings.tokenizer, kind="bpe")), run, "toy")
    no_attention = Rnn(attention=Attention(score="none"), embedding=8, width=8, max_length=32)
    with pytest.raises(UsageError, match="score=none"):
        train(searching(model=no_attention), run, "toy")
    alone = dataclasses.replace(settings.decoding, lexicon="words")
    with pytest.raises(UsageError, match="lexicon has no effect without"):
        train(dataclasses.replace(settings, decoding=alone), run, "toy")
    assert not run.exists()
