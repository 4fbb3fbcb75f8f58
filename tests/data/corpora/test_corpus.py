import dataclasses
import gzip
from itertools import islice
from pathlib import Path

import pytest

from transformer import config
from transformer.data.corpora import corpus
from transformer.data.corpora import files as text_files
from transformer.data.corpora.load import load_corpora
from transformer.data.grammar.pairs import generate
from transformer.errors import TransformerError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


def put(folder: Path, name: str, english: list[str], german: list[str]) -> str:
    for language, lines in (("en", english), ("de", german)):
        (folder / f"{name}.{language}").write_bytes("".join(line + "\n" for line in lines).encode())
    return str(folder / name)


def files(**fields: object) -> config.Data:
    return config.Data(source="files", **fields)  # type: ignore[arg-type]


def numbered(count: int) -> tuple[list[str], list[str]]:
    return [f"sentence {i}" for i in range(count)], [f"Satz {i}" for i in range(count)]


def test_a_line_ends_at_newline_only(tmp_path):
    path = tmp_path / "a.en"
    path.write_bytes("\ufeffone\u2028still one\r\n  two\x0cstill two\t\n\nfour \u0085 x\rx".encode())
    assert text_files.read_lines(path) == ["one\u2028still one", "two\x0cstill two", "", "four \u0085 x\rx"]


def test_the_last_newline_starts_no_line(tmp_path):
    for end in ("", "\n"):
        (tmp_path / "a").write_text("x\ny" + end)
        assert text_files.read_lines(tmp_path / "a") == ["x", "y"]
    (tmp_path / "a").write_text("")
    assert text_files.read_lines(tmp_path / "a") == []


def test_gzip_equals_plain(tmp_path):
    text = "größer\nkleiner\n".encode()
    (tmp_path / "a.en").write_bytes(text)
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(text))
    assert (
        text_files.read_lines(tmp_path / "a.en") == text_files.read_lines(tmp_path / "a.en.gz") == ["größer", "kleiner"]
    )


def test_streaming_reads_lazily(tmp_path):
    (tmp_path / "a").write_bytes(b"good\n\xff\n")
    lines = text_files.stream_lines(tmp_path / "a")
    assert next(lines) == "good"
    with pytest.raises(TransformerError, match=r"a, line 2: not UTF-8 \(byte 0xff at 1\)"):
        next(lines)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latin.en", "ok\ngrün\n".encode("latin-1"), r"latin\.en, line 2: not UTF-8 \(byte 0xfc at 3\)"),
        ("utf16.en", "hello".encode("utf-16"), r"utf16\.en, line 1: not UTF-8"),
        ("text.en.gz", b"not gzip", r"text\.en\.gz: broken gzip file"),
        (
            "cut.en.gz",
            gzip.compress(b"hello\n" * 1000, mtime=0)[:-12],
            r"cut\.en\.gz: broken gzip file after line \d+",
        ),
        ("flip.en.gz", gzip.compress(b"abc\n", mtime=0)[:-8] + bytes(8), r"flip\.en\.gz: broken gzip file"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TransformerError, match=message) as info:
        text_files.read_lines(tmp_path / name)
    assert "\n" not in str(info.value)


def test_folder_and_missing_file(tmp_path):
    with pytest.raises(TransformerError, match="cannot be read"):
        text_files.read_lines(tmp_path)
    with pytest.raises(TransformerError, match="no such file"):
        text_files.read_lines(tmp_path / "nothing")


def test_a_missing_language_names_similar_files(tmp_path):
    (tmp_path / "train.en.gz").write_bytes(b"")
    (tmp_path / "train.fr").write_bytes(b"")
    (tmp_path / "other.de").write_bytes(b"")
    with pytest.raises(TransformerError) as info:
        load_corpora(files(train=str(tmp_path / "train"), languages=("de", "en")))
    message = str(info.value)
    assert f"{tmp_path}/train.de or {tmp_path}/train.de.gz" in message
    assert "found: train.en.gz, train.fr)" in message


def test_missing_prefix(tmp_path):
    with pytest.raises(TransformerError, match="found: nothing like it"):
        load_corpora(files(train=str(tmp_path / "no" / "such")))


def test_lang_anywhere_in_the_path(tmp_path):
    for language, text in (("en", "a house\n"), ("de", "ein Haus\n")):
        folder = tmp_path / language
        folder.mkdir()
        (folder / "set.txt").write_text(text)
    pattern = str(tmp_path / "{lang}" / "set.txt")
    loaded = load_corpora(files(train=pattern, validation=pattern))
    assert (loaded.train.sources, loaded.train.targets) == (["a house"], ["ein Haus"])
    with pytest.raises(TransformerError, match=r"fr.set\.txt.*found: .*de.set\.txt, .*en.set\.txt"):
        load_corpora(files(train=pattern, languages=("en", "fr")))


def test_unequal_and_empty_files(tmp_path):
    with pytest.raises(TransformerError, match=r"a\.en has 2 lines but .*a\.de has 3"):
        load_corpora(files(train=put(tmp_path, "a", ["1", "2"], ["1", "2", "3"])))
    with pytest.raises(TransformerError, match=r"b\.de: the file is empty"):
        load_corpora(files(train=put(tmp_path, "b", ["1"], [])))


def test_empty_sides_leave_training_only(tmp_path):
    train = put(tmp_path, "train", ["a", "", "c", " "], ["x", "y", "", ""])
    other = put(tmp_path, "other", ["a", ""], ["", "y"])
    loaded = load_corpora(files(train=train, validation=other, test=other))
    assert loaded.train == corpus.Corpus(["a"], ["x"], None, "train")
    assert loaded.skipped == {"empty side": 3}
    assert loaded.test is not None
    assert loaded.validation[:2] == loaded.test[:2] == (["a", ""], ["", "y"])
    assert loaded.unseen is None


@pytest.mark.parametrize(("most", "drawn"), [(1000, 10), (7, 7), (0, 1)])
def test_held_out_shares_no_side_with_training(tmp_path, most, drawn):
    english, german = numbered(100)
    english[50:60], german[70:80] = english[:10], german[10:20]
    prefix = put(tmp_path, "train", english, german)
    first, second = (
        load_corpora(files(train=prefix, held_out=most)),
        load_corpora(files(train=prefix, held_out=most)),
    )
    assert first == second
    assert len(first.validation.sources) == drawn
    assert not set(first.train.sources) & set(first.validation.sources)
    assert not set(first.train.targets) & set(first.validation.targets)
    assert set(zip(*first.validation[:2], strict=True)) <= set(zip(english, german, strict=True))
    left_out = sum(first.skipped.values())
    assert len(first.train.sources) + drawn + left_out == 100


def test_held_out_counts_repetitions(tmp_path):
    english, german = numbered(10)
    loaded = load_corpora(files(train=put(tmp_path, "train", english * 3, german * 3), held_out=1))
    assert len(loaded.validation.sources) == 1
    assert loaded.skipped == {"also in the held-out set": 2}
    assert len(loaded.train.sources) == 27


def test_limit_applies_to_training_only(tmp_path):
    prefix = put(tmp_path, "train", *numbered(50))
    every = load_corpora(files(train=prefix))
    some = load_corpora(files(train=prefix, limit=20))
    assert some.train.sources == every.train.sources[:20]
    assert some.train.targets == every.train.targets[:20]
    assert some.validation == every.validation
    assert some.skipped == {}
    assert some.cut
    assert load_corpora(files(train=prefix, limit=45)) == every


def test_pairs_that_share_a_held_out_side_are_counted_with_a_limit_too(tmp_path):
    english, german = numbered(40)
    prefix = put(tmp_path, "train", [*english, *english], [*german, *(f"anders {n}" for n in range(40))])
    loaded = load_corpora(files(train=prefix, limit=38, held_out=4))
    assert loaded.cut
    assert len(loaded.train.sources) == 38
    held = set(loaded.validation.sources)
    # Read were the first 40 pairs or so: those that share a source with a held-out pair and are not it.
    read = list(zip([*english, *english], [*german, *(f"anders {n}" for n in range(40))], strict=True))
    end = read.index((loaded.train.sources[-1], loaded.train.targets[-1])) + 1
    pairs = set(zip(*loaded.validation[:2], strict=True))
    wanted = sum(pair[0] in held and pair not in pairs for pair in read[:end])
    assert loaded.skipped.get("also in the held-out set", 0) == wanted


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TransformerError, match=r"--data\.cache=.*file cannot be written \(Not a directory\)"):
        load_corpora(files(train=put(tmp_path, "a", *numbered(30)), cache=str(tmp_path / "file")))


def test_nothing_left_to_train_on(tmp_path):
    with pytest.raises(TransformerError, match="no pairs are left to train on"):
        load_corpora(files(train=put(tmp_path, "a", ["one"] * 5, ["eins"] * 5)))
    with pytest.raises(TransformerError, match="no pairs are left to train on"):
        load_corpora(files(train=put(tmp_path, "b", ["", "one"], ["eins", ""])))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (config.Data(source="gramar"), "did you mean grammar"),
        (config.Data(source="file"), "did you mean files"),
        (config.Data(also=("more",)), "--data.also requires"),
        (config.Data(source="files", train="a", also=("more",), alignments="b"), "--data.alignments requires"),
        (config.Data(source="files"), "needs --data.train"),
        (config.Data(languages=("en", "en")), "are both 'en'"),
        (config.Data(limit=-1), "--data.limit=-1 is negative"),
    ],
)
def test_impossible_settings(data, message):
    with pytest.raises(UsageError, match=message):
        load_corpora(data)


ROUND_TRIP = corpus.Corpus(
    ["a\u2028b", "", "c \r d"], ["ä ö", "ﬁ", "\u00df"], [((0, 0), (0, 1)), (), ((2, 11),)], "unseen"
)


@pytest.mark.parametrize("kept", [ROUND_TRIP, ROUND_TRIP._replace(alignments=None)])
def test_write_and_read(tmp_path, kept):
    corpus.write(kept, tmp_path / "new" / "data", ("en", "de"))
    assert corpus.read(tmp_path / "new" / "data", "unseen", ("en", "de")) == kept


def test_alignments_are_pharaoh(tmp_path):
    corpus.write(ROUND_TRIP, tmp_path, ("en", "de"))
    assert (tmp_path / "unseen.align").read_text() == "0-0 0-1\n\n2-11\n"


@pytest.mark.parametrize("damaged", ["unseen.en", "unseen.align"])
def test_one_changed_byte_is_noticed(tmp_path, damaged):
    """In this set alone: the other sets of the folder are read."""
    for name in ("unseen", "test"):
        corpus.write(ROUND_TRIP._replace(name=name), tmp_path, ("en", "de"))
    path = tmp_path / damaged
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(TransformerError, match=f"{damaged} is not what was written"):
        corpus.read(tmp_path, "unseen", ("en", "de"))
    assert corpus.read(tmp_path, "test", ("en", "de")).sources == ROUND_TRIP.sources
    path.unlink()
    with pytest.raises(TransformerError, match=f"{damaged} is missing"):
        corpus.read(tmp_path, "unseen", ("en", "de"))


def test_read_refuses_wrong_files_of_versions_without_checksums(tmp_path):
    corpus.write(ROUND_TRIP, tmp_path, ("en", "de"))
    (tmp_path / "checksums.json").unlink()
    path = tmp_path / "unseen.align"
    path.write_text("0-0\n0:1\n\n")
    with pytest.raises(TransformerError, match=r"unseen\.align, line 2: not an alignment"):
        corpus.read(tmp_path, "unseen", ("en", "de"))
    path.write_text("0-0\n")
    with pytest.raises(TransformerError, match="1 line for 3 sentence pairs"):
        corpus.read(tmp_path, "unseen", ("en", "de"))
    with pytest.raises(TransformerError, match="no such file"):
        corpus.read(tmp_path, "test", ("en", "de"))


GRAMMAR = config.Grammar(train=30, validation=10, test=5)


def test_grammar_splits():
    loaded = load_corpora(config.Data(grammar=GRAMMAR))
    assert loaded.test is not None
    assert loaded.unseen is not None
    assert [len(c.sources) for c in loaded[:4]] == [30, 10, 5, 5]
    for split in loaded[:4]:
        assert len(split.sources) == len(split.targets) == len(split.alignments)
        for source, target, links in zip(*split[:3], strict=True):
            assert all(s < len(source.split(" ")) and t < len(target.split(" ")) for s, t in links)


def test_grammar_in_the_other_direction():
    there = load_corpora(config.Data(grammar=GRAMMAR)).test
    back = load_corpora(config.Data(grammar=GRAMMAR, languages=("de", "en"))).test
    assert (there.sources, there.targets) == (back.targets, back.sources)
    assert [set(links) for links in there.alignments] == [{(t, s) for s, t in links} for links in back.alignments]


def test_grammar_refuses():
    with pytest.raises(UsageError, match="speaks en and de only"):
        load_corpora(config.Data(languages=("en", "fr")))
    with pytest.raises(UsageError, match="validation must be at least 1"):
        load_corpora(config.Data(grammar=config.Grammar(validation=0)))


def test_alignments_follow_their_pairs(tmp_path):
    """Even if pairs are left out for an empty side or held out."""
    pairs = [(f"s{n}" + " x" * n, f"t{n}") for n in range(30)]
    pairs[4] = ("s4", "")
    for side, language in enumerate(("en", "de")):
        (tmp_path / f"all.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
    (tmp_path / "all.align").write_text("".join(f"{n}-0\n" for n in range(30)))
    data = config.Data(source="files", train=str(tmp_path / "all"), alignments=str(tmp_path / "all.align"))
    loaded = load_corpora(data)
    for part in (loaded.train, loaded.validation):
        assert [links[0][0] for links in part.alignments] == [int(source.split()[0][1:]) for source in part.sources]
    without = load_corpora(dataclasses.replace(data, alignments=""))
    assert without.validation.sources == loaded.validation.sources, "alignments change nothing about what is held out"
    (tmp_path / "all.align").write_text("0-0\n")
    with pytest.raises(TransformerError, match=r"all\.en has 30 lines but .*all\.align has 1 line:"):
        load_corpora(data)
    (tmp_path / "all.align").write_text("0-0\n" * 29 + "0:0\n")
    with pytest.raises(TransformerError, match="line 30: not an alignment"):
        load_corpora(data)


def test_held_out_pairs_are_counted_if_nothing_is_left(tmp_path):
    with pytest.raises(TransformerError) as info:
        load_corpora(files(train=put(tmp_path, "a", ["one"], ["eins"])))
    message = str(info.value)
    assert "no pairs are left to train on; of 1 pair, 1 went to the validation set: name a validation set" in message
    with pytest.raises(TransformerError) as info:
        load_corpora(files(train=put(tmp_path, "b", ["one", "", "one"], ["eins", "x", "uno"])))
    assert (
        "of 3 pairs, 1 went to the validation set and left out were 1 (empty side), 1 (also in the held-out set): name"
        in str(info.value)
    )


def test_pairs_that_are_also_held_out_are_counted_and_removed_on_demand(tmp_path):
    """Two of three occurrences of held-out pairs are written in another normal form; one shares only its source."""
    train = put(tmp_path, "train", ["a", "u\u0308", "c", "b▁", "ü", "d"], ["x", "y", "z", "w", "y", "v"])
    validation = put(tmp_path, "validation", ["ü", "c", "e"], ["y", "other", "u"])
    test = put(tmp_path, "test", ["b▁", "d"], ["w", "v"])
    data = files(
        train=train, validation=validation, test=test, filter=config.Filter(normalize="nfc", drop_duplicates=False)
    )
    loaded = load_corpora(data)
    assert loaded.shared == {"validation": 2, "test": 2}
    assert (loaded.skipped, loaded.replaced) == ({}, 1)
    assert loaded.train.sources == ["a", "ü", "c", "b_", "ü", "d"]
    without = load_corpora(dataclasses.replace(data, filter=dataclasses.replace(data.filter, drop_held_out=True)))
    assert without.shared == {}
    assert without.skipped == {"also in the validation set": 2, "also in the test set": 2}
    assert without.train.sources == ["a", "c"]
    put(tmp_path, "test", ["b"], ["w"])
    assert load_corpora(data).shared == {"validation": 2}, "counted again for another test set"


def test_with_a_limit_only_read_pairs_are_counted(tmp_path):
    english, german = numbered(20)
    train, validation = put(tmp_path, "train", english, german), put(tmp_path, "other", english[5:15], german[5:15])
    data = files(train=train, validation=validation, limit=8)
    assert load_corpora(data).shared == {"validation": 3}
    without = load_corpora(dataclasses.replace(data, filter=config.Filter(drop_held_out=True)))
    assert without.train.sources == [*english[:5], *english[15:18]]
    assert without.skipped == {"also in the validation set": 10}


def test_labels_of_the_grammar_say_whether_a_sentence_has_a_construction():
    grammar = dataclasses.replace(GRAMMAR, label="relative")
    labelled = load_corpora(config.Data(grammar=grammar, languages=("de", "label")))
    plain = load_corpora(config.Data(grammar=GRAMMAR, languages=("de", "en")))
    assert labelled.train.sources[:] == plain.train.sources[:]
    pairs = {pair.target: pair for pair in islice(generate("test"), GRAMMAR.test)}
    assert {*labelled.test.targets} <= {"yes", "no"}
    for source, label in zip(labelled.test.sources, labelled.test.targets, strict=True):
        assert (label == "yes") == ("relative" in pairs[source].constructions)
    assert labelled.test.alignments is None


@pytest.mark.parametrize(
    ("label", "languages", "message"),
    [
        ("relativ", ("en", "label"), "did you mean 'relative'"),
        ("relative", ("en", "de"), "give en label, or de label"),
    ],
)
def test_impossible_labels(label, languages, message):
    with pytest.raises(UsageError, match=message):
        load_corpora(config.Data(grammar=dataclasses.replace(GRAMMAR, label=label), languages=languages))
