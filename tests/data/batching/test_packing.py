"""Packed rows: which examples share one, their arrays, and the plans of epochs."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.batching.test_batches import invented, many, sides
from transformer.config import Batching
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.epochs import DataPosition, FixedEpochs, choose_shapes, examples_at, plan_epochs, stream
from transformer.data.batching.packed import choose_row, make_packed_plans
from transformer.data.batching.packing import fill_rows, pack, pack_examples, segment_lengths
from transformer.data.batching.pairs import assemble, assemble_packed
from transformer.data.batching.plan import Share, shares_of
from transformer.data.batching.shuffle import key_of, permute_each
from transformer.data.examples import Links
from transformer.errors import TransformerError

lengths_of_pairs = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=60)


ALL = (Share(0, 1.0),)


def plans_of(pairs, pack_=24, tokens=96, seed=1, shares=ALL):
    bucket = choose_row(sides(pairs), Batching(tokens=tokens, pack=pack_), 2)
    return make_packed_plans(sides(pairs), [bucket], seed, shares)


def rows_of(plan):
    """The rows of all batches, each as the list of its examples."""
    batches = [plan.batch(position)[1] for position in range(len(plan))]
    return [[int(each) for each in row if each >= 0] for ids in batches for row in ids]


@settings(deadline=None)
@given(lengths_of_pairs, st.integers(12, 40), st.integers(12, 40))
def test_rows_hold_every_example_once_and_never_overflow(pairs, S, T):
    packing, rows = pack_examples(sides(pairs), [0, len(pairs)], (S, T))
    assert rows == [len(packing)]
    everything = np.arange(len(packing))
    for key in (0, 2**64 - 1):
        ids = packing.examples(everything, np.full(len(packing), key, np.uint64))
        assert sorted(ids[ids >= 0]) == list(range(len(pairs)))
        for row, group in zip(ids, packing.groups(everything), strict=True):
            held = [pairs[each] for each in row[row >= 0]]
            assert np.all(row[len(held) :] == -1)
            used = np.sum(held, axis=0)
            assert used[0] <= S
            assert used[1] <= T
            np.testing.assert_array_equal(packing.tokens[group], used)
    # No two rows fit into one: of any two, one of the columns holds more than a row together.
    assert len(packing) <= 2 * (np.sum(pairs, axis=0) / (S, T)).sum() + 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_one_column_is_packed_by_first_fit_decreasing(lengths):
    """The loop over examples and rows: the same rows, counted by the lengths in them."""
    expected: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        row = next((row for row in expected if sum(row) + length <= 20), None)
        if row is None:
            expected.append([length])
        else:
            row.append(length)
    sizes, counts = np.unique(lengths, return_counts=True)
    ends = np.cumsum(counts)
    found = Counter()
    for group in fill_rows(sizes[:, None], counts, [20]):
        found[tuple(int(sizes[np.searchsorted(ends, slot, side="right")]) for slot in group.slots)] += group.rows
    assert found == Counter(map(tuple, expected))


def test_sentences_fill_their_rows():
    """Like those of a corpus: at least 0.98 of the tokens are real, where buckets of six shapes have less."""
    lengths, batching = sides(many(20_000)), Batching(tokens=2_048)
    shares = {}
    for pack_ in (0, 64):
        packed = dataclasses.replace(batching, pack=pack_)
        plan = plan_epochs(lengths, packed, choose_shapes(lengths, packed, 8), 1, ALL).epoch(0)
        report = plan.report(lengths)
        assert report["examples"] == 20_000
        shares[pack_] = report["efficiency"]
    assert shares[64] > 0.98 > shares[0]


def test_the_report_counts_the_content_of_the_batches():
    pairs = many(500)
    plans = plans_of(pairs, pack_=60, tokens=240)
    plan = plans.epoch(3)
    found, (bucket,) = rows_of(plan), plan.buckets
    report, padded = plan.report(sides(pairs)), len(plan) * bucket.rows * np.array(bucket.lengths)
    assert sum(plan.examples) == report["examples"] == sum(map(len, found)) == 500
    assert report["empty_rows"] == len(plan) * bucket.rows - len(found)
    np.testing.assert_allclose([report["source_efficiency"], report["target_efficiency"]], pairs.sum(0) / padded)
    assert "500 examples" in plan.describe(sides(pairs)).splitlines()[-1]


def test_epochs_redistribute_the_examples_and_depend_only_on_seed_and_epoch():
    """Pairs of rare lengths keep their neighbours: no other pair can take their places."""
    pairs = many(5_000)
    first, second, again = (rows_of(plans_of(pairs, 60, 2_400).epoch(epoch)) for epoch in (0, 1, 0))
    assert first == again
    assert sorted(itertools.chain(*first)) == sorted(itertools.chain(*second)) == list(range(5_000))
    mates = [{pair for row in rows for pair in itertools.combinations(sorted(row), 2)} for rows in (first, second)]
    assert len(mates[0] & mates[1]) < 0.2 * len(mates[0])
    assert rows_of(plans_of(pairs, 60, 2_400, seed=2).epoch(0)) != first


@pytest.mark.parametrize("sizes", [[1, 2, 3, 4, 5, 7, 8, 250, 257, 1000]])
def test_separate_permutations(sizes):
    """Each is one, and not the identity for most keys."""
    places = np.concatenate([np.arange(size) for size in sizes])
    each = np.repeat(sizes, sizes)
    moved = 0
    for number in range(20):
        keys = np.repeat([key_of(number, size) for size in sizes], sizes).astype(np.uint64)
        found = permute_each(places, each, keys)
        for size in sizes:
            assert sorted(found[each == size]) == list(range(size))
            moved += not np.array_equal(found[each == size], np.arange(size))
    assert moved > 0.7 * 20 * len(sizes)


@pytest.mark.parametrize("weights", [(), (1.0, 1.0, 0.0), (0.7, 0.1, 0.2)])
def test_examples_of_a_corpus_occur_equally_often(weights):
    parts, epochs = (60, 90, 50), 7
    pairs = many(sum(parts))
    shares = shares_of(parts, weights, 1.0)
    plans = plans_of(pairs, 60, 240, shares=shares)
    edges = np.cumsum([0, *parts])
    counts = np.zeros(sum(parts), int)
    for epoch in range(epochs):
        for row in rows_of(plans.epoch(epoch)):
            counts[row] += 1
            assert len(set(np.searchsorted(edges, row, side="right"))) == 1, "a row has examples of one corpus"
    for corpus, share in enumerate(shares):
        mine = counts[edges[corpus] : edges[corpus + 1]]
        assert {*mine.tolist()} <= {int(np.floor(epochs * share.passes)), int(np.ceil(epochs * share.passes))}
    assert plans.epoch(0).shares == shares


def test_a_stream_resumes_from_any_position():
    examples, plans = invented(many(300)), plans_of(many(300), 60, 240)

    def batches(start):
        opened = stream(FixedEpochs(examples, plans), lambda *given: assemble_packed(*given[:3]), start, 2)
        yield from opened

    through = list(itertools.islice(batches(DataPosition()), 30))
    assert through[-1].position.epoch > 0
    for number in (3, 17):
        resumed = next(batches(through[number - 1].position.next))
        assert resumed.position == through[number].position
        np.testing.assert_array_equal(resumed.batch.source, through[number].batch.source)
        ids = examples_at(FixedEpochs(examples, plans), resumed.position)
        assert len(ids) == resumed.batch.segments.target.max(1).sum()


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_read_their_rows_of_the_same_batch(processes):
    examples, plans = invented(many(200)), plans_of(many(200), 60, 480)
    (bucket,), plan = plans.buckets, plans.epoch(0)
    for position in (0, len(plan) - 1):
        ids = plan.batch(position)[1]
        padded = -(-bucket.rows // processes) * processes
        whole = assemble_packed(examples, bucket, ids, np.arange(padded))
        shares = [assemble_packed(examples, bucket, ids, own) for own in np.split(np.arange(padded), processes)]
        for name in ("source", "target_in", "target_out"):
            np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in shares]), getattr(whole, name))
        for side in ("source", "target"):
            together = np.concatenate([getattr(one.segments, side) for one in shares])
            np.testing.assert_array_equal(together, getattr(whole.segments, side))


def test_a_packed_batch_has_the_rows_of_its_pairs():
    """Against a loop over the rows' pairs, with their links at their own places."""
    pairs = [(3, 2), (2, 4), (1, 1), (4, 3)]
    examples = dataclasses.replace(
        invented(pairs), links=Links(np.array([[0, 1], [1, 0], [0, 0], [2, 2]]), np.array([0, 1, 2, 3, 4]), 0)
    )
    bucket = Bucket(3, (8, 8))
    rows = [[3, 1, 2], [0]]
    batch = assemble_packed(examples, bucket, np.array([[3, 1, 2], [0, -1, -1]]))
    for name in ("source", "target_in", "target_out"):
        expected, segments = np.zeros((2, 3, 8), int)
        for row, numbers in enumerate(rows):
            place = 0
            for segment, number in enumerate(numbers, 1):
                tokens = examples[name.partition("_")[0]][number].astype(int)
                if name == "target_in":
                    tokens = np.array([2, *tokens[:-1]])
                expected[row, place : place + len(tokens)] = tokens
                segments[row, place : place + len(tokens)] = segment
                place += len(tokens)
        np.testing.assert_array_equal(getattr(batch, name), expected)
        np.testing.assert_array_equal(getattr(batch.segments, name.partition("_")[0]), segments)
    assert np.argwhere(batch.alignment).tolist() == [[0, 2, 2], [0, 3, 5], [0, 7, 6], [1, 1, 0]]
    np.testing.assert_array_equal(segment_lengths(batch.segments.source), [4, 2, 1, 3, 0, 0, 0, 0, 0])
    empty = assemble_packed(examples, bucket, np.zeros(0, np.int64))
    assert all(not np.any(array) for array in (*empty[:4], *empty.segments))


def test_a_row_of_one_pair_is_a_row_of_a_bucket():
    examples, bucket, ids = invented(many(20)), Bucket(24, (60, 60)), np.arange(20)
    packed, plain = assemble_packed(examples, bucket, ids), assemble(examples, bucket, ids)
    for name in ("source", "target_in", "target_out"):
        np.testing.assert_array_equal(getattr(packed, name), getattr(plain, name))
    np.testing.assert_array_equal(packed.segments.source, plain.source != 0)


def test_a_damaged_token_is_refused():
    column = dataclasses.replace(invented([(3, 2)])["source"], size=4)
    column.values[0] = 999
    with pytest.raises(TransformerError, match="token 999 of a vocabulary of 4 entries"):
        pack(column, 1, 8, np.array([[0]]))


def test_an_example_that_fits_in_no_row():
    with pytest.raises(ValueError, match="fits in no row"):
        pack_examples(sides([(9, 2)]), [0, 1], (8, 8))
