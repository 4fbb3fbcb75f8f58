import json
import random
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transformer import config
from transformer.data.tokenizers import subwords
from transformer.data.tokenizers.files import fingerprint, load_tokenizers, save_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.data.tokenizers.train import train_tokenizers
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.errors import TransformerError
from transformer.special_tokens import BOS, EOS, PAD, UNK

ENGLISH = [
    "the cat sat on the mat",
    "a dog ran over the street",
    "hello world again",
    "the cat saw a dog",
] * 3
GERMAN = [
    "die Katze saß auf der Matte",
    "ein Hund lief über die Straße",
    "hallo schöne Welt",
    "die Katze",
] * 3
ODD = "ﬁ e\u0301 é Å \u212b \u00a0x\u200by 日本 \u2028 🙂 ⁇ a\tb ½"
SENTENCEPIECE = ["bpe", "unigram", "char"]
KINDS = [*SENTENCEPIECE, "word"]


def trained(kind: str, vocabulary: int = 60, **fields: object) -> Tokenizers:
    return train_tokenizers(config.Tokenizer(kind=kind, vocabulary=vocabulary, **fields), ENGLISH, GERMAN)


@pytest.fixture(scope="module", params=KINDS)
def joint(request):
    return trained(request.param).source


def test_special_tokens(joint):
    assert joint.pieces([PAD, UNK, BOS, EOS]) == ["<pad>", "<unk>", "<s>", "</s>"]
    assert joint.size <= 60


def test_encode(joint):
    for text in [*ENGLISH, *GERMAN]:
        ids = joint.encode(text)
        assert all(EOS < id_ < joint.size for id_ in ids)
        assert joint.decode(ids) == text
    assert joint.encode("") == []
    assert joint.decode([]) == ""


def test_encode_all_equals_encode(joint):
    texts = [*ENGLISH, "", *GERMAN, ODD]
    assert joint.encode_all(texts) == [joint.encode(text) for text in texts]
    assert joint.encode_all([]) == []


def test_decode_drops_special_tokens_and_stops_at_eos(joint):
    ids = joint.encode("the cat")
    assert joint.decode([BOS, *ids, PAD, EOS, *ids, PAD]) == "the cat"


def test_no_text_becomes_a_special_token(joint):
    assert not {PAD, BOS, EOS} & set(joint.encode("<pad> <s> </s> <unk>"))


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_round_trip_of_odd_characters(kind):
    both = train_tokenizers(config.Tokenizer(kind=kind, vocabulary=130), [*ENGLISH, ODD], GERMAN)
    ids = both.source.encode(ODD)
    assert UNK not in ids
    assert both.source.decode(ids).encode() == ODD.encode()


@pytest.fixture(scope="module")
def by_bytes():
    return trained("bpe", 330, byte_fallback=True).source


@settings(deadline=None)
@example(["<s>", "</s>", "<unk>", "<pad>", "<0xE4>"])
@example(["a▁b", "▁", "▅", "nul\0"])
@given(st.lists(st.text(st.characters(exclude_characters=" ", exclude_categories=["Cs"]), min_size=1)))
def test_byte_fallback_leaves_nothing_unknown(by_bytes, words):
    text = " ".join(words)
    ids = by_bytes.encode(text)
    assert UNK not in ids
    assert by_bytes.decode(ids) == by_bytes.normal(text)


def test_no_normalisation():
    plain = trained("char").source
    assert UNK in plain.encode("ｔｈｅ")  # NFKC would make it "the"
    assert plain.encode("The") != plain.encode("the")


def test_joint_or_separate():
    both = trained("bpe")
    assert both.source is both.target
    apart = trained("bpe", 40, joint=False)
    assert apart.source.content != apart.target.content
    assert UNK in apart.source.encode("ß")
    assert UNK not in apart.target.encode("ß")


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_a_vocabulary_shrinks_with_a_warning(kind, caplog):
    size = trained(kind, 8000).source.size
    assert size < 8000
    (message,) = caplog.messages
    assert message.startswith(f"the joint {kind} vocabulary has {size} entries, not --tokenizer.vocabulary=8000")
    caplog.clear()
    assert trained(kind, size).source.size == size
    assert not caplog.messages


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize("wanted", [0, 3])
def test_too_small_a_vocabulary_names_the_smallest(kind, byte_fallback, wanted):
    with pytest.raises(TransformerError, match=f"--tokenizer.vocabulary={wanted} is too small") as info:
        trained(kind, wanted, byte_fallback=byte_fallback)
    least = int(str(info.value).split("the smallest that works is ")[1].split()[0])
    assert trained(kind, least, byte_fallback=byte_fallback).source.size == least
    if kind in ("bpe", "unigram"):
        with pytest.raises(TransformerError, match=f"works is {least}"):
            trained(kind, least - 1, byte_fallback=byte_fallback)


@pytest.mark.parametrize("kind", KINDS)
def test_no_text(kind):
    for nothing in ([], ["", " "]):
        with pytest.raises(TransformerError, match="no text to train a tokenizer on"):
            train_tokenizers(config.Tokenizer(kind=kind), nothing, nothing)


def test_training_is_silent(capfd):
    trained("unigram", 8000)
    trained("bpe")
    assert capfd.readouterr() == ("", "")


def test_long_sentences_count():
    long = "zebra " * 5000
    both = train_tokenizers(config.Tokenizer(vocabulary=60), [*ENGLISH, long], [])
    assert UNK not in both.source.encode("zebra")


PROGRAM = """
import random
from transformer import config
from transformer.data.tokenizers import subwords
from transformer.data.tokenizers.files import fingerprint
from transformer.data.tokenizers.train import train_tokenizers
subwords.SAMPLED_SENTENCES = 100
draw = random.Random(1)
text = [" ".join(str(draw.randrange(100)) for _ in range(9)) for _ in range(400)]
for kind in ("bpe", "unigram"):
    print(fingerprint(train_tokenizers(config.Tokenizer(kind=kind, vocabulary=50), text, [])))
"""


def test_training_is_the_same_in_every_process():
    runs = [
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert len(runs[0].split()) == 2
    assert runs[0] == runs[1]


def test_sample_is_fair_and_bounded():
    drawn = [subwords._sample(map(str, range(1000)), 500) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 500
    assert 180 < sum(int(number) < 500 for number in drawn[0]) < 320  # 250 expected, sigma 11
    assert subwords._sample(["a", "b"], 500) == ["a", "b"]


def test_words_by_frequency_then_alphabet():
    settings = config.Tokenizer(kind="word", vocabulary=8, min_count=2)
    word = train_tokenizers(settings, ["b a c c", "b a  c rare"], ["ü ü", "z z"]).source
    assert word.pieces(range(word.size)) == ["<pad>", "<unk>", "<s>", "</s>", "c", "a", "b", "z"]
    assert word.encode("c rare  a ü") == [4, UNK, 5, UNK]
    assert word.decode(word.encode("c rare a")) == "c <unk> a"


def test_words_are_split_at_spaces_only():
    word = train_tokenizers(config.Tokenizer(kind="word"), ["a\u00a0b\u2028c d"], []).source
    assert word.pieces(range(4, word.size)) == ["a\u00a0b\u2028c", "d"]
    assert len(WordTokenizer(word.content).encode("a\u00a0b\u2028c d")) == 2


def test_special_tokens_in_a_text_are_unknown_words():
    word = train_tokenizers(config.Tokenizer(kind="word"), ["</s> <unk> a"], []).source
    assert word.encode("<s> </s> <unk> <pad> a") == [UNK] * 4 + [4]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("together", [True, False])
def test_save_and_load(tmp_path, kind, together):
    before = trained(kind, 40, joint=together)
    save_tokenizers(before, tmp_path / "run")
    after = load_tokenizers(tmp_path / "run")
    assert (after.source is after.target) == together
    assert fingerprint(after) == fingerprint(before)
    for text in (*ENGLISH, ODD):
        assert [t.encode(text) for t in after] == [t.encode(text) for t in before]
    names = {path.stem for path in (tmp_path / "run").iterdir()}
    assert names == ({"joint", "tokenizer"} if together else {"source", "target", "tokenizer"})


def test_fingerprints_differ():
    kinds = [trained(kind, 40, joint=together) for kind in KINDS for together in (True, False)]
    prints = {fingerprint(both) for both in kinds}
    assert len(prints) == 8
    assert all(len(value) == 64 for value in prints)
    swapped = kinds[1]._replace(source=kinds[1].target, target=kinds[1].source)
    assert fingerprint(swapped) not in prints


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_load_refuses_changed_files(tmp_path, kind):
    both = trained(kind, 40)
    save_tokenizers(both, tmp_path)
    model = tmp_path / f"joint{both.source.suffix}"
    content = bytearray(both.source.content)
    content[random.Random(0).randrange(len(content))] ^= 1
    model.write_bytes(content)
    with pytest.raises(TransformerError, match=r"joint.* was changed"):
        load_tokenizers(tmp_path)
    model.unlink()
    with pytest.raises(TransformerError, match=r"joint.* cannot be read"):
        load_tokenizers(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1, "kind": "pickle", "joint": true, "models": {}}'])
def test_load_refuses_a_damaged_description(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(TransformerError, match=r"tokenizer\.json is damaged"):
        load_tokenizers(tmp_path)


def test_load_refuses_other_versions_and_nothing(tmp_path):
    with pytest.raises(TransformerError, match=r"tokenizer\.json: the tokenizer cannot be read"):
        load_tokenizers(tmp_path)
    save_tokenizers(trained("word"), tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(TransformerError, match="version 99"):
        load_tokenizers(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pieces_of_a_word_spell_it(kind):
    texts = ["the old man sees the dog", "a", "dog man old"]
    one = train_tokenizers(config.Tokenizer(kind=kind, vocabulary=40), texts, texts).source
    for text in [*texts, "the ☃ dog ☃☃man"]:
        sentence = one.segment(text)
        assert sentence.tokens == tuple(one.encode(text))
        assert sentence.words == text.split()
        assert sorted(set(sentence.word_ids)) == list(range(len(text.split())))
        for number, word in enumerate(text.split()):
            if "☃" not in word:
                ids = [i for i, n in zip(sentence.tokens, sentence.word_ids, strict=True) if n == number]
                assert one.decode(ids) == word


PARTS = st.sampled_from(["a", "the", "cat", " ", "  ", "▁", "▅", "\0", "☃", "\u00a0", "\t", "\u3000", "e\u0301", "ß"])


@settings(deadline=None)
@example("a▁b ▁ ▁▁the\u00a0cat  ☃ ☃▁ ")
@given(st.one_of(st.lists(PARTS).map("".join), st.text(st.characters(exclude_categories=["Cs"]))))
def test_words_are_numbered_in_the_text(joint, text):
    """Tokens word by word are those of the whole text, and every word of the text has tokens."""
    sentence = joint.segment(text)
    assert sentence.tokens == tuple(joint.encode(text))
    assert len(sentence.words) == len([word for word in text.split(" ") if word])
    assert list(dict.fromkeys(sentence.word_ids)) == list(range(len(sentence.words)))
    assert list(sentence.word_ids) == sorted(sentence.word_ids)


def test_words_of_the_normal_form_are_numbered():
    both = train_tokenizers(config.Tokenizer(kind="char", vocabulary=40), ENGLISH, GERMAN, "nfkc")
    sentence = both.source.segment("ｔｈｅ\u00a0cat \u00a0 sat")
    assert sentence.text == "the cat   sat"
    assert sentence.words == ["the", "cat", "sat"]
    assert sentence.tokens == tuple(both.source.encode("the cat sat"))
    composed = train_tokenizers(config.Tokenizer(kind="char", vocabulary=40), ENGLISH, GERMAN, "nfc").source
    words = composed.segment("a \u00a0 b")  # a word that stripping would take away
    assert words.words == ["a", "\u00a0", "b"]
    assert words.tokens == tuple(composed.encode("a \u00a0 b"))
    assert words.word_ids[-1] == 2


def test_words_of_what_a_model_writes_are_those_of_its_text():
    """Pieces of no text: spaces that no word follows, an unknown character within a word, a line break as a byte."""
    one = train_tokenizers(config.Tokenizer(kind="char", vocabulary=300, byte_fallback=True), ["ab"], []).source
    names = {piece: id_ for id_, piece in enumerate(one.pieces(range(one.size)))}
    space, a, b, newline, unknown = (names[piece] for piece in ("▁", "a", "b", "<0x0A>", "<unk>"))

    def numbers(*tokens):
        sentence = one.spell(tokens)
        assert sentence.tokens == tokens
        assert len(sentence.words) == max(sentence.word_ids, default=-1) + 1
        return sentence.words, sentence.word_ids

    assert numbers(space, a, b, space, b) == (["ab", "b"], (0, 0, 0, 1, 1))
    assert numbers(space, space, a, space, space, b, space) == (["a", "b"], (0, 0, 0, 1, 1, 1, 1))
    assert numbers(a, unknown, b) == (["a", "⁇", "b"], (0, 1, 2))
    assert numbers(space, a, newline, b) == (["a", "b"], (0, 0, 1, 1))
    assert numbers(space, a, PAD, b, EOS) == (["ab"], (0, 0, -1, 0, -1))
    assert numbers(space, space) == ([], (-1, -1))
    assert numbers() == ([], ())


@settings(deadline=None)
@given(st.lists(st.integers(4, 59), max_size=12))
def test_words_exist_for_any_tokens(joint, tokens):
    sentence = joint.spell([token % joint.size for token in tokens if token % joint.size > EOS])
    assert sentence.text == joint.decode(sentence.tokens)
    assert set(sentence.word_ids) - {-1} == set(range(len(sentence.words)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("character", ["▅", "▁", "\0"])
def test_sentences_with_reserved_characters_are_trained_on(kind, character):
    """Every sentence has one, and the letters of `zebra` are nowhere else."""
    text = [f"{line} {character}" for line in ENGLISH] + [f"zebra{character} qux"]
    made = train_tokenizers(config.Tokenizer(kind=kind, vocabulary=200), text, []).source
    for line in text:
        assert UNK not in made.encode(line)
        assert made.decode(made.encode(line)) == made.normal(line)
    assert made.normal(text[-1]).startswith("zebra")
    assert len(made.segment(text[-1]).words) == 2


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_letters_that_only_special_tokens_have_are_known(kind):
    text = [*ENGLISH, "struck <s>out</s>", "<unk> <pad>"]
    made = train_tokenizers(config.Tokenizer(kind=kind, vocabulary=80), text, []).source
    for line in text:
        assert not {PAD, UNK, BOS, EOS} & set(made.encode(line))
        assert made.decode(made.encode(line)) == line
