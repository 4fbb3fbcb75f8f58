"""Epochs whose pieces are sampled; streams of fixed examples are in test_batches."""

import itertools
import time

import numpy as np
import pytest

from transformer import config
from transformer.data import pairs, shards
from transformer.data.batching.epochs import START, DataPosition, ResampledEpochs, examples_at, stream
from transformer.data.batching.pairs import assemble, assemble_packed
from transformer.data.batching.plan import Share
from transformer.data.corpora.corpus import Corpus
from transformer.data.tokenizers.train import train_tokenizers

SENTENCES = [
    f"{a} {b} {c}" for a in ("der", "die", "jede") for b in ("alte", "junge") for c in ("frau", "katze", "maus")
]
CORPUS = Corpus(SENTENCES, SENTENCES[::-1], None, "train")
TOKENIZERS = train_tokenizers(config.Tokenizer(kind="bpe", vocabulary=50), *CORPUS[:2])
BATCHING = config.Batching(tokens=128, shapes=2)


def batches_of(source, start=START):
    return stream(source, lambda examples, bucket, ids, _: assemble(examples, bucket, ids), start)


@pytest.fixture
def supply(tmp_path):
    made = []

    def supply(seed=1, cache=tmp_path, batching=BATCHING):
        plain = pairs.build(CORPUS, TOKENIZERS, None, cache)
        shares = (Share(0, 1.0),)

        def sample(epoch, limit, folder, stop):
            return pairs.sample(plain, CORPUS, TOKENIZERS, 0.5, seed, epoch, limit, folder, stop)

        made.append(ResampledEpochs(plain, sample, seed, batching, 4, shares, 40, cache))
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
    for place, _, batch in batches_of(one):
        if place.epoch == 3:
            break
        if place.batch == 0:
            spelled.append([])
            batches.append([])
        rows = [row[row > 0].tolist() for row in batch.source if row.any()]
        batches[-1] += rows
        spelled[-1] += [TOKENIZERS.source.decode(row) for row in rows]
        ids = examples_at(one, place)
        assert [SENTENCES[i] for i in ids.tolist()] == spelled[-1][-len(ids) :]
    assert all(sorted(epoch) == sorted(SENTENCES) for epoch in spelled)
    assert spelled[0] != spelled[1] != spelled[2]
    assert sorted(batches[0]) != sorted(batches[1]) != sorted(batches[2])


def test_it_resumes_from_any_position(supply, tmp_path):
    whole = take(batches_of(supply(cache=tmp_path / "a")), 25)
    positions = [planned.position for planned in whole]
    for stopped in (0, 3, 11, 19):
        resumed = take(batches_of(supply(cache=tmp_path / f"b{stopped}"), positions[stopped].next), 24 - stopped)
        for (place, _, batch), (wanted, _, other) in zip(resumed, whole[stopped + 1 :], strict=True):
            assert place == wanted
            for one, two in zip(batch[:3], other[:3], strict=True):
                np.testing.assert_array_equal(one, two)


def test_a_different_seed_draws_different_samples(supply, tmp_path):
    first, second = (take(batches_of(supply(seed, tmp_path / str(seed)), START), 4) for seed in (1, 2))
    assert any(not np.array_equal(a.source, b.source) for (*_, a), (*_, b) in zip(first, second, strict=True))


def scratch(cache):
    return sorted(path.name for path in (cache / "drawn").glob("*/*"))


def test_epochs_that_were_read_are_removed(supply, tmp_path):
    one = supply()
    assert scratch(tmp_path) == ["0"]
    for epoch in range(4):
        one.epoch(epoch)
        assert scratch(tmp_path) == [str(n) for n in range(max(0, epoch - 1), epoch + 1)]
    one.close()
    assert scratch(tmp_path) == []


def test_runs_that_share_a_cache_do_not_interfere(supply, tmp_path):
    one, other = supply(), supply()
    wanted = take(batches_of(one), 6)
    one.close()
    for (place, _, batch), (expected, _, same) in zip(take(batches_of(other), 6), wanted, strict=True):
        assert place == expected
        np.testing.assert_array_equal(batch.source, same.source)


def test_samples_of_a_killed_process_are_removed_by_the_next(supply, tmp_path):
    (tmp_path / "drawn" / "of-a-dead-one" / "3").mkdir(parents=True)
    alive = supply()
    supply()
    assert not (tmp_path / "drawn" / "of-a-dead-one").exists()
    alive.epoch(1)


def test_closing_does_not_wait_for_an_epoch_to_be_drawn(supply, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_SIZE", 2)
    one, write, written = supply(), shards._write_shard, []

    def slow(*given):
        written.append(given[2])
        time.sleep(0.3)
        write(*given)

    monkeypatch.setattr(shards, "_write_shard", slow)
    one.prepare(1)
    time.sleep(0.1)
    one.close()
    assert len(written) < 9, "the second epoch has nine shards"


def test_an_error_while_drawing_reaches_the_reader(supply, monkeypatch):
    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    one = supply()
    monkeypatch.setattr(shards, "tokenise", broken)
    with pytest.raises(Exception, match="No space left"):
        take(batches_of(one, DataPosition(7)), 1)


def test_a_place_past_the_end_of_its_epoch_is_the_beginning_of_the_next(supply):
    (planned,) = take(batches_of(supply(), DataPosition(0, 10_000)), 1)
    assert planned.position == DataPosition(1, 0)


def test_sampled_epochs_are_packed(supply):
    source = supply(batching=config.Batching(tokens=160, pack=40))
    planned = take(stream(source, lambda examples, bucket, ids, _: assemble_packed(examples, bucket, ids)), 5)
    assert planned[-1].position.epoch > 0
    assert len({one.bucket for one in planned}) == 1
    for one in planned:
        if one.position.epoch < planned[-1].position.epoch - 1:
            continue  # its pieces are gone
        examples, _ = source.epoch(one.position.epoch)
        ids = examples_at(source, one.position)
        assert (one.batch.source != 0).sum() == examples.lengths["source"][ids].sum()
