import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from transformer import config
from transformer.data import batches, examples, tokenizer
from transformer.data.corpus import Corpus
from transformer.data.tokenizer import END
from transformer.errors import TransformerError

SOURCES = ["a b c", "a", "", "c c c c c c", "b a"] * 7
TARGETS = ["x y", "x", "y", "z", "x x x x x x x x"] * 7
CORPUS = Corpus(SOURCES, TARGETS, None, "train")
TOKENIZERS = tokenizer.train(config.Tokenizer(kind="word", joint=False), SOURCES, TARGETS)


def expected(max_length: float = float("inf")) -> list[tuple[list[int], list[int]]]:
    both = [[[*t.encode(text), END] for text in side] for t, side in zip(TOKENIZERS, (SOURCES, TARGETS), strict=True)]
    return [(s, t) for s, t in zip(*both, strict=True) if len(s) <= max_length and len(t) <= max_length]


def listed(built: examples.Examples) -> list[tuple[list[int], list[int]]]:
    return [tuple(side.tolist() for side in built.example(i)) for i in range(len(built))]


def folders(cache: Path) -> list[Path]:
    return sorted((cache / "examples").iterdir())


@pytest.mark.parametrize("chunk", [1, 4, 1000])
@pytest.mark.parametrize("max_length", [None, 9, 8, 7, 4])
def test_examples_are_the_tokenised_pairs(tmp_path, monkeypatch, chunk, max_length):
    monkeypatch.setattr(examples, "CHUNK", chunk)
    built = examples.build(CORPUS, TOKENIZERS, max_length, tmp_path)
    wanted = expected(max_length or np.inf)
    assert listed(built) == wanted
    assert built.source_lengths.tolist() == [len(source) for source, _ in wanted]
    assert built.target_lengths.tolist() == [len(target) for _, target in wanted]
    lost = len(SOURCES) - len(wanted)
    assert built.dropped == ({f"longer than --data.max-length={max_length}": lost} if lost else {})


def test_long_pairs_are_counted(tmp_path):
    assert examples.build(CORPUS, TOKENIZERS, 7, tmp_path).dropped == {"longer than --data.max-length=7": 7}


def test_no_example_outside(tmp_path):
    built = examples.build(CORPUS, TOKENIZERS, None, tmp_path)
    for index in (-1, len(built)):
        with pytest.raises(IndexError):
            built.example(index)


def test_tokens_take_two_bytes_where_they_can(tmp_path, monkeypatch):
    small = examples.build(CORPUS, TOKENIZERS, None, tmp_path)
    assert small.source.tokens.dtype == np.uint16
    assert small.source.offsets.dtype == np.int64
    words = [str(number) for number in range(70_000)]
    many = tokenizer.train(config.Tokenizer(kind="word", vocabulary=80_000), words, [])
    large = examples.build(Corpus(words, words, None, "train"), many, None, tmp_path)
    assert large.source.tokens.dtype == np.int32
    assert {ids[0] for ids, _ in map(large.example, range(len(large)))} == set(range(4, 70_004))


def test_found_again_without_tokenising(tmp_path, monkeypatch):
    first = examples.build(CORPUS, TOKENIZERS, 8, tmp_path)
    monkeypatch.setattr(examples, "_encode", None)
    again = examples.build(CORPUS, TOKENIZERS, 8, tmp_path)
    assert listed(again) == listed(first)
    assert again.dropped == first.dropped != {}
    assert len(folders(tmp_path)) == 1


def test_another_content_is_another_entry(tmp_path):
    def moved(corpus):  # the same text, cut differently
        return corpus._replace(sources=["a b c a", "", *SOURCES[2:]])

    other = tokenizer.train(config.Tokenizer(kind="word"), SOURCES, TARGETS)
    swapped = Corpus(TARGETS, SOURCES, None, "train")
    for corpus, tokenizers, length in [
        (CORPUS, TOKENIZERS, None),
        (CORPUS, TOKENIZERS, 8),
        (CORPUS, TOKENIZERS, 9),
        (CORPUS, other, None),
        (moved(CORPUS), TOKENIZERS, None),
        (swapped, TOKENIZERS, None),
    ]:
        examples.build(corpus, tokenizers, length, tmp_path)
    assert len(folders(tmp_path)) == 6


def test_the_name_of_a_split_does_not_matter(tmp_path):
    for name in ("train", "validation"):
        examples.build(CORPUS._replace(name=name), TOKENIZERS, None, tmp_path)
    assert len(folders(tmp_path)) == 1


def cut(folder: Path) -> None:
    path = folder / "target.tokens"
    path.write_bytes(path.read_bytes()[:-2])


def lie(folder: Path) -> None:
    path = folder / "examples.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"examples": 3}))


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lie,
        lambda folder: (folder / "source.offsets").unlink(),
        lambda folder: (folder / "source.tokens").write_bytes(b""),
        lambda folder: (folder / "examples.json").write_text("{"),
        lambda folder: (folder / "examples.json").write_text("[]"),
        lambda folder: (folder / "examples.json").unlink(),
        lambda folder: [shutil.rmtree(folder), folder.mkdir()],
    ],
)
def test_a_damaged_entry_is_made_anew(tmp_path, damage):
    examples.build(CORPUS, TOKENIZERS, 8, tmp_path)
    (folder,) = folders(tmp_path)
    damage(folder)
    assert listed(examples.build(CORPUS, TOKENIZERS, 8, tmp_path)) == expected(8)
    assert folders(tmp_path) == [folder]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*_):
        yield [[4, END]], [[4, END]], [True]
        raise KeyboardInterrupt

    monkeypatch.setattr(examples, "_encode", broken)
    with pytest.raises(KeyboardInterrupt):
        examples.build(CORPUS, TOKENIZERS, None, tmp_path)
    assert folders(tmp_path) == []


def count(cache: Path) -> int:
    return len(examples.build(CORPUS, TOKENIZERS, None, cache))


def test_many_writers_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(count, [tmp_path] * 8, chunksize=1) == [len(SOURCES)] * 8
    assert len(folders(tmp_path)) == 1


def test_a_writer_that_comes_second(tmp_path, monkeypatch):
    examples.build(CORPUS, TOKENIZERS, None, tmp_path)
    (folder,) = folders(tmp_path)
    before = (folder / "examples.json").stat().st_ino
    examples._make(folder, CORPUS, TOKENIZERS, None)
    assert (folder / "examples.json").stat().st_ino == before
    assert folders(tmp_path) == [folder]


def test_nothing_left(tmp_path):
    with pytest.raises(TransformerError, match=r"all 35 pairs of the train set .*--data\.max-length=1 .*raise it"):
        examples.build(CORPUS, TOKENIZERS, 1, tmp_path)
    with pytest.raises(TransformerError, match="the test set has no sentences"):
        examples.build(Corpus([], [], None, "test"), TOKENIZERS, None, tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TransformerError, match=r"--data\.cache=.*file cannot be written \(Not a directory\)"):
        examples.build(CORPUS, TOKENIZERS, None, tmp_path / "file")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    examples.build(CORPUS, TOKENIZERS, None, Path("~/cache"))
    assert len(folders(tmp_path / "cache")) == 1


def test_links_in_tokens_by_hand(tmp_path):
    """Words of two pieces, a pair that is too long and left out, and an alignment of words that are not there."""
    sources, targets = ["ab a", "a a a a a a a a a", "b ab", "a b"], ["xy x", "x", "x xy", "y x"]
    alignments = [((0, 1), (1, 0)), ((0, 0),), (), ((0, 0), (2, 1))]
    corpus = Corpus(sources, targets, alignments, "train")
    tokenizers = tokenizer.train(config.Tokenizer(kind="char", vocabulary=30, joint=False), sources, targets)
    linked = examples.link(examples.build(corpus, tokenizers, 8, tmp_path), corpus, tokenizers, 8)
    pieces = [
        [t.pieces(side) for t, side in zip(tokenizers, linked.example(i), strict=True)] for i in range(len(linked))
    ]
    assert pieces[0] == [["▁", "a", "b", "▁", "a", "</s>"], ["▁", "x", "y", "▁", "x", "</s>"]]
    found = [
        {tuple(link) for link in linked.links.pairs[linked.links.offsets[i] : linked.links.offsets[i + 1]].tolist()}
        for i in range(len(linked))
    ]
    assert found == [
        {(s, t) for s in (0, 1, 2) for t in (3, 4)} | {(s, t) for s in (3, 4) for t in (0, 1, 2)},
        set(),
        set(),
    ]
    assert linked.links.unusable == 1


def test_alignments_of_a_batch_are_shares(tmp_path):
    corpus = Corpus(["a b c", "a"], ["x y", "x"], [((0, 0), (2, 0), (1, 1)), ()], "train")
    linked = examples.link(examples.build(corpus, TOKENIZERS, None, tmp_path), corpus, TOKENIZERS, None)
    batch = batches.assemble(linked, batches.Bucket(3, 5, 4), np.array([0, 1]))
    expected = np.zeros((3, 4, 5))
    expected[0, 0, [0, 2]] = 0.5
    expected[0, 1, 1] = 1
    np.testing.assert_array_equal(batch.alignment, expected)
