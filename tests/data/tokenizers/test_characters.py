"""Characters as tokens."""

import pickle

import pytest

from transformer.data.config import Tokenizer
from transformer.data.tokenizers.characters import CharacterTokenizer
from transformer.data.tokenizers.files import load_tokenizers, save_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError
from transformer.special_tokens import EOS, UNK

TEXTS = ["to  be,\nor not\tto be ", "\u2581é\n\nd\u0000"]


@pytest.fixture
def tokenizer():
    return CharacterTokenizer.train(Tokenizer(kind="characters"), TEXTS)


def test_every_text_of_known_characters_is_decoded_as_it_was(tokenizer, tmp_path):
    save_tokenizers(Tokenizers(tokenizer, tokenizer), tmp_path)
    for one in (tokenizer, pickle.loads(pickle.dumps(tokenizer)), load_tokenizers(tmp_path).source):
        for text in TEXTS:
            assert one.decode([*one.encode(text), EOS, 5]) == text
            assert "".join(one.pieces(one.encode(text))) == text
    assert tokenizer.encode("tZo")[1] == UNK
    assert tokenizer.decode([UNK]) == "\ufffd"


def test_words_are_what_spaces_separate(tokenizer):
    sentence = tokenizer.segment("to  be or ")
    assert sentence.words == ["to", "be", "or"]
    assert sentence.word_ids == (0, 0, 1, 1, 1, 1, 2, 2, 2, 2)
    assert sentence.tokens == tuple(tokenizer.encode("to  be or "))
    assert tokenizer.spell(sentence.tokens).word_ids == sentence.word_ids


def test_frequent_characters_come_first_and_bad_files_are_refused():
    small = CharacterTokenizer.train(Tokenizer(kind="characters", vocabulary=6), ["bbaac"])
    assert small.pieces(range(4, 6)) == ["a", "b"]
    for content in (b"[]", b"{", b'["<pad>", "<unk>", "<s>", "</s>", "ab"]', b"3"):
        with pytest.raises(TransformerError, match="not a vocabulary of characters"):
            CharacterTokenizer(content)
    with pytest.raises(TransformerError, match="no text"):
        CharacterTokenizer.train(Tokenizer(kind="characters"), [""])
