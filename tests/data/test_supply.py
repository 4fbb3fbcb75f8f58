"""Epochs whose pieces are drawn; streams of fixed examples are in test_batches."""

import itertools
import time

import numpy as np
import pytest

from transformer import config
from transformer.data import examples, tokenizer
from transformer.data.buckets import choose_buckets
from transformer.data.corpus import Corpus
from transformer.data.plan import Share
from transformer.data.supply import BEGINNING, Place, Redrawn, after, pairs_of, stream

SENTENCES = [
    f"{a} {b} {c}" for a in ("der", "die", "jede") for b in ("alte", "junge") for c in ("frau", "katze", "maus")
]
CORPUS = Corpus(SENTENCES, SENTENCES[::-1], None, "train")
TOKENIZERS = tokenizer.train(config.Tokenizer(kind="bpe", vocabulary=50), *CORPUS[:2])


@pytest.fixture
def supply(tmp_path):
    made = []

    def supply(seed=1, cache=tmp_path):
        plain = examples.build(CORPUS, TOKENIZERS, None, cache)
        lengths = 2 * plain.source_lengths, 2 * plain.target_lengths
        buckets = choose_buckets(*lengths, config.Batching(tokens=128, shapes=2), 4, widest=True)
        longest = buckets[-1].source_length, buckets[-1].target_length
        first = examples.draw(plain, CORPUS, TOKENIZERS, 0.5, seed, 0, longest, cache)
        made.append(Redrawn(plain, first, CORPUS, TOKENIZERS, 0.5, seed, tuple(buckets), (Share(0, 1.0),), cache))
        return made[-1]

    yield supply
    for one in made:
        one.close()


def take(opened, count):
    taken = list(itertools.islice(opened, count))
    opened.close()
    return taken


def test_every_epoch_has_every_sentence_once_in_other_pieces(supply):
    one, spelled, batches = supply(), [], []
    for place, batch in stream(one):
        if place.epoch == 3:
            break
        if place.position == 0:
            spelled.append([])
            batches.append([])
        rows = [row[row > 0].tolist() for row in batch.source if row.any()]
        batches[-1] += rows
        spelled[-1] += [TOKENIZERS.source.decode(row) for row in rows]
        ids = pairs_of(one, place)
        assert [SENTENCES[i] for i in ids.tolist()] == spelled[-1][-len(ids) :]
    assert all(sorted(epoch) == sorted(SENTENCES) for epoch in spelled)
    assert spelled[0] != spelled[1] != spelled[2]
    assert sorted(batches[0]) != sorted(batches[1]) != sorted(batches[2])


def test_it_resumes_from_any_place(supply, tmp_path):
    whole = take(stream(supply(cache=tmp_path / "a")), 25)
    places = [place for place, _ in whole]
    for stopped in (0, 3, 11, 19):
        resumed = take(stream(supply(cache=tmp_path / f"b{stopped}"), after(places[stopped])), 24 - stopped)
        for (place, batch), (wanted, other) in zip(resumed, whole[stopped + 1 :], strict=True):
            assert place == wanted
            for one, two in zip(batch[:3], other[:3], strict=True):
                np.testing.assert_array_equal(one, two)


def test_another_seed_draws_others(supply, tmp_path):
    first, second = (take(stream(supply(seed, tmp_path / str(seed)), BEGINNING), 4) for seed in (1, 2))
    assert any(not np.array_equal(a.source, b.source) for (_, a), (_, b) in zip(first, second, strict=True))


def test_epochs_that_were_read_are_removed(supply, tmp_path):
    one = supply()
    for epoch in range(4):
        one.epoch(epoch)
    assert len([path for path in (tmp_path / "drawn").iterdir() if not path.name.startswith(".")]) <= 2
    one.close()
    assert list((tmp_path / "drawn").iterdir()) == []


def test_closing_does_not_wait_for_an_epoch_to_be_drawn(supply, monkeypatch):
    monkeypatch.setattr(examples.shards, "SHARD", 2)
    one, write, written = supply(), examples.shards._write, []

    def slow(*given):
        written.append(given[2])
        time.sleep(0.3 * (len(written) > 9))
        write(*given)

    monkeypatch.setattr(examples.shards, "_write", slow)
    one.epoch(0)
    time.sleep(0.1)
    began = time.monotonic()
    one.close()
    assert time.monotonic() - began < 1.5, "the second epoch has nine shards"


def test_an_error_while_drawing_reaches_the_reader(supply, monkeypatch):
    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    one = supply()
    monkeypatch.setattr(examples.shards, "make", broken)
    with pytest.raises(Exception, match="No space left"):
        take(stream(one, Place(7)), 1)
