import json
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from transformer import config
from transformer.data import pairs, shards
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.pairs import assemble
from transformer.data.corpora.corpus import Corpus
from transformer.data.corpora.text import Text, TextWriter
from transformer.data.examples import Examples
from transformer.data.tokenizers.train import train_tokenizers
from transformer.errors import TransformerError
from transformer.special_tokens import EOS

SOURCES = ["a b c", "a", "", "c c c c c c", "b a"] * 7
TARGETS = ["x y", "x", "y", "z", "x x x x x x x x"] * 7
CORPUS = Corpus(SOURCES, TARGETS, None, "train")
TOKENIZERS = train_tokenizers(config.Tokenizer(kind="word", joint=False), SOURCES, TARGETS)


def expected(max_length: float = float("inf")) -> list[tuple[list[int], list[int]]]:
    both = [[[*t.encode(text), EOS] for text in side] for t, side in zip(TOKENIZERS, (SOURCES, TARGETS), strict=True)]
    return [(s, t) for s, t in zip(*both, strict=True) if len(s) <= max_length and len(t) <= max_length]


def listed(built: Examples) -> list[tuple[list[int], list[int]]]:
    return [tuple(side.tolist() for side in built.example(i)) for i in range(len(built))]


def folders(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "examples").iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("chunk", [1, 4, 1000])
@pytest.mark.parametrize("max_length", [None, 9, 8, 7, 4])
def test_examples_are_the_tokenised_pairs(tmp_path, monkeypatch, chunk, max_length):
    monkeypatch.setattr(shards, "SHARD_SIZE", chunk)
    built = pairs.build(CORPUS, TOKENIZERS, max_length, tmp_path)
    wanted = expected(max_length or np.inf)
    assert listed(built) == wanted
    assert built.lengths["source"].tolist() == [len(source) for source, _ in wanted]
    assert built.lengths["target"].tolist() == [len(target) for _, target in wanted]
    lost = len(SOURCES) - len(wanted)
    assert built.dropped == ({f"longer than --data.max-length={max_length}": lost} if lost else {})


def test_long_pairs_are_counted(tmp_path):
    assert pairs.build(CORPUS, TOKENIZERS, 7, tmp_path).dropped == {"longer than --data.max-length=7": 7}


def test_no_example_outside(tmp_path):
    built = pairs.build(CORPUS, TOKENIZERS, None, tmp_path)
    for index in (-1, len(built)):
        with pytest.raises(IndexError):
            built.example(index)


def test_tokens_take_two_bytes_where_they_can(tmp_path, monkeypatch):
    small = pairs.build(CORPUS, TOKENIZERS, None, tmp_path)
    assert small["source"].values.dtype == np.uint16
    assert small["source"].offsets.dtype == np.int64
    words = [str(number) for number in range(70_000)]
    many = train_tokenizers(config.Tokenizer(kind="word", vocabulary=80_000), words, [])
    large = pairs.build(Corpus(words, words, None, "train"), many, None, tmp_path)
    assert large["source"].values.dtype == np.int32
    assert {ids[0] for ids, _ in map(large.example, range(len(large)))} == set(range(4, 70_004))


def test_found_again_without_tokenising(tmp_path, monkeypatch):
    first = pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)
    monkeypatch.setattr(shards, "tokenise", None)
    again = pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)
    assert listed(again) == listed(first)
    assert again.dropped == first.dropped != {}
    assert len(folders(tmp_path)) == 1


def test_different_content_is_a_different_entry(tmp_path):
    def moved(corpus):  # the same text, cut differently
        return corpus._replace(sources=["a b c a", "", *SOURCES[2:]])

    other = train_tokenizers(config.Tokenizer(kind="word"), SOURCES, TARGETS)
    swapped = Corpus(TARGETS, SOURCES, None, "train")
    for corpus, tokenizers, length in [
        (CORPUS, TOKENIZERS, None),
        (CORPUS, TOKENIZERS, 8),
        (CORPUS, TOKENIZERS, 9),
        (CORPUS, other, None),
        (moved(CORPUS), TOKENIZERS, None),
        (swapped, TOKENIZERS, None),
    ]:
        pairs.build(corpus, tokenizers, length, tmp_path)
    assert len(folders(tmp_path)) == 6


def test_the_name_of_a_split_does_not_matter(tmp_path):
    for name in ("train", "validation"):
        pairs.build(CORPUS._replace(name=name), TOKENIZERS, None, tmp_path)
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
def test_a_damaged_entry_is_rebuilt(tmp_path, damage):
    pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)
    (folder,) = folders(tmp_path)
    damage(folder)
    assert listed(pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)) == expected(8)
    assert folders(tmp_path) == [folder]


@pytest.fixture
def small_shards(monkeypatch):
    """Four pairs per shard, tokenised by this process."""
    monkeypatch.setattr(shards, "SHARD_SIZE", 4)


def test_an_interrupted_tokenisation_resumes(tmp_path, small_shards, monkeypatch):
    done, write = [], shards._write_shard

    def until_the_third(folder, job, shard, threads):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(shard)
        write(folder, job, shard, threads)

    monkeypatch.setattr(shards, "_write_shard", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)
    monkeypatch.setattr(shards, "_write_shard", lambda *given: done.append(given[2]) or write(*given))
    assert listed(pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)) == expected(8)
    assert done == [(start, min(start + 4, len(SOURCES))) for start in range(0, len(SOURCES), 4)], "each shard once"
    (folder,) = folders(tmp_path)
    assert not [path.name for path in folder.iterdir() if "shard" in path.name or path.suffix == ".tmp"]


def on_disk(folder: Path) -> Corpus:
    sides = []
    for name, lines in (("source", SOURCES), ("target", TARGETS)):
        with TextWriter(folder / name) as writer:
            for line in lines:
                writer.append(line)
        sides.append(Text(folder / name))
    return Corpus(sides[0], sides[1], None, "train")


def test_several_processes_give_the_same_examples(tmp_path, small_shards):
    """Enough shards that several processes are started, which load tokenizers and text themselves."""
    corpus = on_disk(tmp_path)
    built = pairs.build(corpus, TOKENIZERS, 8, tmp_path)
    assert listed(built) == expected(8)
    kept = [n for n, pair in enumerate(zip(SOURCES, TARGETS, strict=True)) if max(map(words, pair)) < 8]
    assert built.sentences.tolist() == kept
    assert pairs.build(CORPUS, TOKENIZERS, 8, tmp_path).key == built.key, "text on disk and lists are the same text"


def words(text: str) -> int:
    return len(text.split())


def test_a_lost_process_is_reported(tmp_path, small_shards, monkeypatch):
    monkeypatch.setattr(shards, "_init_worker", end_this_process)
    with pytest.raises(TransformerError, match="a tokenising process was lost"):
        pairs.build(on_disk(tmp_path), TOKENIZERS, 8, tmp_path)


def end_this_process() -> None:
    os._exit(9)


SENTENCES = [
    "der alte mann schläft",
    "die frau sieht das haus",
    "a",
    "das alte haus",
    "die alte frau schläft lange",
] * 9
PIECES = train_tokenizers(config.Tokenizer(kind="bpe", vocabulary=60), SENTENCES, SENTENCES)


def sampled(plain: Examples, cache: Path, limit: int = 99, **changes: int) -> Examples:
    given = {"seed": 1, "epoch": 0} | changes
    corpus = Corpus(SENTENCES, SENTENCES, None, "train")
    folder = cache / f"sampled{len(list(cache.glob('sampled*')))}"
    return pairs.sample(plain, corpus, PIECES, 0.5, **given, limit=(limit, limit), folder=folder)


def test_sampled_pieces_spell_the_same_sentences(tmp_path):
    longest = max(map(len, PIECES.source.encode_all(SENTENCES)))
    plain = pairs.build(Corpus(SENTENCES, SENTENCES, None, "train"), PIECES, longest, tmp_path)
    assert 0 < len(plain) < len(SENTENCES)
    one, other = sampled(plain, tmp_path), sampled(plain, tmp_path, epoch=1)
    assert listed(one) != listed(plain)
    assert listed(one) != listed(other)
    for chosen in (one, other):
        for index, pair in zip(plain.sentences.tolist(), listed(chosen), strict=True):
            assert [PIECES.source.decode(ids) for ids in pair] == [SENTENCES[index]] * 2
    sides = list(zip(*listed(one), strict=True))
    assert sides[0] != sides[1], "source and target are sampled independently"


def test_samples_depend_only_on_seed_epoch_and_example(tmp_path, small_shards):
    plain = pairs.build(Corpus(SENTENCES, SENTENCES, None, "train"), PIECES, None, tmp_path)
    pieces = [listed(sampled(plain, tmp_path)) for _ in range(2)]
    shards.SHARD_SIZE = 7
    pieces.append(listed(sampled(plain, tmp_path)))
    assert pieces[0] == pieces[1] == pieces[2]


def test_pairs_that_would_not_fit_keep_their_plain_pieces(tmp_path):
    plain = pairs.build(Corpus(SENTENCES, SENTENCES, None, "train"), PIECES, None, tmp_path)
    limit = int(max(plain.lengths["source"].max(), plain.lengths["target"].max()))
    free, tight = sampled(plain, tmp_path), sampled(plain, tmp_path, limit=limit)
    assert max(map(max, (free.lengths["source"], free.lengths["target"]))) > limit
    for wanted, other, found in zip(listed(plain), listed(free), listed(tight), strict=True):
        assert found == (other if max(map(len, other)) <= limit else wanted)


def test_removed_text_is_reported(tmp_path):
    plain = pairs.build(Corpus(SENTENCES, SENTENCES, None, "train"), PIECES, None, tmp_path)
    shutil.rmtree(tmp_path / "examples")
    with pytest.raises(TransformerError, match="the tokenised text was removed while it was in use"):
        sampled(plain, tmp_path)


def flip(whole: bytes) -> bytes:
    """A changed byte in the middle of the tokens."""
    return whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], flip])
def test_a_damaged_shard_is_rebuilt(tmp_path, small_shards, monkeypatch, damage):
    monkeypatch.setattr(shards, "_join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(shards, "SHARD_SIZE", 4)
    path = sorted((tmp_path / "examples").glob(".*/shard-*"))[3]
    path.write_bytes(damage(path.read_bytes()))
    assert listed(pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)) == expected(8)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def count(cache: Path) -> int:
    return len(pairs.build(CORPUS, TOKENIZERS, None, cache))


def test_many_writers_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(count, [tmp_path] * 8, chunksize=1) == [len(SOURCES)] * 8
    assert len(folders(tmp_path)) == 1


def test_nothing_left(tmp_path):
    with pytest.raises(TransformerError, match=r"all of 35 pairs of the train set .*--data\.max-length=1 .*raise it"):
        pairs.build(CORPUS, TOKENIZERS, 1, tmp_path)
    with pytest.raises(TransformerError, match="the test set has no sentences"):
        pairs.build(Corpus([], [], None, "test"), TOKENIZERS, None, tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TransformerError, match=r"--data\.cache=.*file cannot be written \(Not a directory\)"):
        pairs.build(CORPUS, TOKENIZERS, None, tmp_path / "file")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    pairs.build(CORPUS, TOKENIZERS, None, Path("~/cache"))
    assert len(folders(tmp_path / "cache")) == 1


def test_links_in_tokens_by_hand(tmp_path):
    """Words of two pieces, a pair that is too long and left out, and an alignment of words that do not exist."""
    sources, targets = ["ab a", "a a a a a a a a a", "b ab", "a b"], ["xy x", "x", "x xy", "y x"]
    alignments = [((0, 1), (1, 0)), ((0, 0),), (), ((0, 0), (2, 1))]
    corpus = Corpus(sources, targets, alignments, "train")
    tokenizers = train_tokenizers(config.Tokenizer(kind="char", vocabulary=30, joint=False), sources, targets)
    linked = pairs.link(pairs.build(corpus, tokenizers, 8, tmp_path), corpus, tokenizers)
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
    linked = pairs.link(pairs.build(corpus, TOKENIZERS, None, tmp_path), corpus, TOKENIZERS)
    batch = assemble(linked, Bucket(3, (5, 4)), np.array([0, 1]))
    expected = np.zeros((3, 4, 5))
    expected[0, 0, [0, 2]] = 0.5
    expected[0, 1, 1] = 1
    np.testing.assert_array_equal(batch.alignment, expected)


def overwritten(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def test_ids_overwritten_in_the_cache_are_rebuilt_and_announced(tmp_path, caplog):
    """40 bytes of 0xff: ids beyond the vocabulary, in a file of the right size."""
    pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)
    (folder,) = folders(tmp_path)
    overwritten(folder / "source.tokens", 10, b"\xff" * 40)
    assert listed(pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)) == expected(8)
    assert f"{folder} is rebuilt: source.tokens is not what was written" in caplog.text
    (folder / "checksums.json").unlink()
    assert listed(pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)) == expected(8)
    assert f"{folder} is rebuilt: it has no checksums" in caplog.text


@pytest.mark.parametrize("content", [b"\xff\xff", b"\x07\x00"])
def test_no_id_outside_the_vocabulary_is_in_a_batch(tmp_path, content):
    """Even if the file is damaged while it is in use: the vocabulary of the sources has 7 entries."""
    built = pairs.build(CORPUS, TOKENIZERS, 8, tmp_path)
    assert TOKENIZERS.source.size == 7
    bucket = Bucket(len(built), (8, 8))
    assemble(built, bucket, np.arange(len(built)))
    (folder,) = folders(tmp_path)
    overwritten(folder / "source.tokens", 2, content)
    with pytest.raises(TransformerError, match=rf"token {int.from_bytes(content, 'little')} of a vocabulary of 7 ent"):
        assemble(built, bucket, np.arange(len(built)))


def test_links_number_the_words_of_the_text(tmp_path):
    """U+2581 and other spaces separate no words; a word of an unknown letter between spaces is one."""
    sources, targets = ["a\u2581b\u00a0c  b", "a \u2603 b"], ["x y", "x y"]
    corpus = Corpus(sources, targets, [((1, 0),), ((2, 1), (1, 0))], "train")
    tokenizers = train_tokenizers(config.Tokenizer(kind="char", vocabulary=30, joint=False), ["a b_c\u00a0"], targets)
    built = pairs.build(corpus, tokenizers, None, tmp_path)
    pieces = [tokenizers.source.pieces(built["source"][number]) for number in range(2)]
    assert pieces[0] == ["▁", "a", "_", "b", "\u00a0", "c", "▁", "b", "</s>"]
    assert pieces[1] == ["▁", "a", "▁", "<unk>", "▁", "b", "</s>"]
    links = pairs.link(built, corpus, tokenizers).links
    assert links.unusable == 0
    assert links.pairs.tolist() == [
        *([s, t] for s in (6, 7) for t in (0, 1)),
        *([s, t] for s in (4, 5) for t in (2, 3)),
        *([s, t] for s in (2, 3) for t in (0, 1)),
    ]
