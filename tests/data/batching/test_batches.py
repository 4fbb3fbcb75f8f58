import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transformer.config import Batching
from transformer.data.batching import batches
from transformer.data.batching.buckets import Bucket, assign, choose_buckets, partition
from transformer.data.batching.epochs import START, DataPosition, FixedEpochs, examples_at, stream
from transformer.data.batching.pairs import assemble
from transformer.data.batching.plan import make_plans
from transformer.data.examples import Examples, Ragged
from transformer.special_tokens import BOS, EOS

pairs = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=40)


def sides(lengths):
    table = np.array(lengths, np.int64).reshape(-1, 2)
    return {"source": table[:, 0], "target": table[:, 1]}


def invented(lengths, seed=0, dtype=np.uint16):
    """Examples of these lengths with random tokens, each with an EOS token at its end."""
    random = np.random.default_rng(seed)
    made = []
    for side in sides(lengths).values():
        offsets = np.concatenate([[0], np.cumsum(side)])
        tokens = random.integers(4, 1000, offsets[-1]).astype(dtype)
        tokens[offsets[1:] - 1] = EOS
        made.append(Ragged(tokens, offsets, side))
    return Examples({"source": made[0], "target": made[1]})


def batches_of(source, start=START, prefetch=8):
    return stream(source, lambda examples, bucket, ids, _: assemble(examples, bucket, ids), start, prefetch)


def many(count=3000, seed=3):
    random = np.random.default_rng(seed)
    source = random.geometric(0.08, count).clip(1, 60)
    target = (source + random.integers(-3, 4, count)).clip(1, 60)
    return np.stack([source, target], axis=1)


def up(value, multiple):
    return -(-value // multiple) * multiple


def brute_force(lengths, shapes, multiple):
    """Least padded tokens over every way to cut the distinct longer sides into at most `shapes` runs."""
    distinct = sorted({max(pair) for pair in lengths})
    best = None
    for runs in range(1, min(shapes, len(distinct)) + 1):
        for cuts in itertools.combinations(range(1, len(distinct)), runs - 1):
            total = 0
            for start, end in itertools.pairwise([0, *cuts, len(distinct)]):
                run = [pair for pair in lengths if max(pair) in distinct[start:end]]
                shape = [up(max(pair[side] for pair in run), multiple) for side in (0, 1)]
                total += len(run) * sum(shape)
            if best is None or total < best[0]:
                best = total, runs
    return best


def padded_by_runs(lengths, shapes):
    """Padded tokens when an example takes the first shape whose longer side is long enough."""
    edges = [max(shape) for shape in shapes]
    return sum(sum(next(s for s, edge in zip(shapes, edges, strict=True) if max(p) <= edge)) for p in lengths)


@settings(deadline=None)
@given(pairs, st.integers(1, 5), st.sampled_from([1, 4]))
@example([(1, 9), (1, 10), (1, 11), (9, 1), (11, 1)], 3, 4)  # two shapes are as good as one, three are better
def test_partition_is_the_best_of_all(lengths, shapes, multiple):
    chosen = partition(sides(lengths), shapes, multiple)
    total, runs = brute_force(lengths, shapes, multiple)
    assert len(chosen) == runs
    assert all(length % multiple == 0 for shape in chosen for length in shape)
    if multiple == 1:
        assert padded_by_runs(lengths, chosen) == total
    numbers = assign(list(sides(lengths).values()), chosen)
    assert sum(sum(chosen[n]) for n in numbers) <= total


def test_partition_by_hand():
    lengths = [(2, 2)] * 10 + [(3, 2)] * 10 + [(9, 10)]
    assert partition(sides(lengths), 1) == [(9, 10)]
    assert partition(sides(lengths), 2) == [(3, 2), (9, 10)]
    assert partition(sides(lengths), 9) == [(2, 2), (3, 2), (9, 10)]
    assert partition(sides(lengths), 9, 8) == [(8, 8), (16, 16)]


@given(pairs, st.integers(1, 5))
def test_assign_takes_the_smallest_that_fits(lengths, shapes):
    chosen = [(3, 2), (2, 5), (7, 7), (9, 6)]
    for (source, target), number in zip(lengths, assign(list(sides(lengths).values()), chosen), strict=True):
        fitting = [sum(shape) for shape in chosen if source <= shape[0] and target <= shape[1]]
        assert (sum(chosen[number]) == min(fitting)) if fitting else number == len(chosen)


@settings(deadline=None)
@given(pairs, st.integers(1, 5), st.sampled_from([1, 2, 8]), st.sampled_from([1, 8]), st.sampled_from([64, 200]))
def test_buckets(lengths, shapes, multiple, length_multiple, tokens):
    batching = Batching(tokens=tokens, shapes=shapes, length_multiple=length_multiple, batch_multiple=3)
    buckets = choose_buckets(sides(lengths), batching, multiple)
    assert 1 <= len(buckets) <= shapes
    plans = make_plans(sides(lengths), buckets, seed=0)
    for bucket, ids in zip(buckets, plans.members, strict=True):
        longest = max(bucket.lengths)
        assert bucket.rows % multiple == 0
        assert bucket.rows * longest <= tokens or bucket.rows == multiple
        count = len(ids)
        assert count > 0
        most = max(tokens // longest // multiple, 1) * multiple
        assert bucket.rows <= up(count, multiple)
        assert -(-count // bucket.rows) == -(-count // most)  # spread evenly, in no more batches than before


def test_rows_fill_the_budget():
    buckets = choose_buckets(sides([(10, 8)] * 5000), Batching(tokens=4096, shapes=3), 8)
    assert buckets == [Bucket(408, (10, 8))] or buckets == [Bucket(392, (10, 8))]
    assert -(-5000 // buckets[0].rows) == -(-5000 // 408)


@settings(deadline=None, max_examples=50)
@given(pairs, st.integers(1, 4), st.integers(-3, 2**40), st.integers(0, 5))
def test_every_example_once_an_epoch(lengths, shapes, seed, epoch):
    buckets = choose_buckets(sides(lengths), Batching(tokens=30, shapes=shapes), 2)
    plan = make_plans(sides(lengths), buckets, seed).epoch(epoch)
    seen = Counter()
    for position in range(len(plan)):
        number, ids = plan.batch(position)
        bucket = buckets[number]
        assert 0 < len(ids) <= bucket.rows
        assert all(lengths[i][0] <= bucket.lengths[0] and lengths[i][1] <= bucket.lengths[1] for i in ids.tolist())
        seen.update(ids.tolist())
    assert seen == Counter(range(len(lengths)))


@pytest.fixture(scope="module")
def plans():
    lengths = many()
    buckets = choose_buckets(sides(lengths), Batching(tokens=512, shapes=4), 8)
    return make_plans(sides(lengths), buckets, seed=5)


@pytest.fixture(scope="module")
def plan(plans):
    return plans.epoch(0)


def order(plans, epoch):
    plan = plans.epoch(epoch)
    return [(number, *ids) for number, ids in map(plan.batch, range(len(plan)))]


def test_order_depends_on_seed_and_epoch_only(plans):
    same = make_plans(sides(many()), plans.buckets, seed=5)
    other = make_plans(sides(many()), plans.buckets, seed=6)
    assert order(plans, 2) == order(same, 2) != order(other, 2)
    assert order(plans, 0) != order(plans, 1)
    assert order(plans, 2) == order(same, 2)  # after another epoch was asked for


def test_buckets_are_mixed(plans, plan):
    numbers = [number for number, *_ in order(plans, 0)]
    changes = sum(a != b for a, b in itertools.pairwise(numbers))
    assert changes > len(numbers) / 3
    assert set(numbers) == set(range(len(plan.buckets)))


def test_threads_see_one_order(plans, plan):
    fresh, size = make_plans(sides(many()), plan.buckets, seed=5), len(plan)
    indices = np.random.default_rng(0).permutation(5 * size).tolist()
    barrier = threading.Barrier(8)

    def read(chunk):
        barrier.wait()
        return {index: fresh.epoch(index // size).batch(index % size) for index in chunk}

    with ThreadPoolExecutor(8) as pool:
        found = {}
        for part in pool.map(read, [indices[n::8] for n in range(8)]):
            found |= part
    for index in indices:
        number, ids = plans.epoch(index // size).batch(index % size)
        assert found[index][0] == number
        np.testing.assert_array_equal(found[index][1], ids)


def test_an_example_that_fits_nowhere():
    with pytest.raises(ValueError, match="fits in no bucket"):
        make_plans(sides([(5, 5)]), [Bucket(8, (5, 4))], 0)
    with pytest.raises(ValueError, match="no examples"):
        make_plans(sides([]), [Bucket(8, (5, 4))], 0)


def naive(examples, bucket, ids):
    source = [[0] * bucket.lengths[0] for _ in range(bucket.rows)]
    target_in = [[0] * bucket.lengths[1] for _ in range(bucket.rows)]
    target_out = [[0] * bucket.lengths[1] for _ in range(bucket.rows)]
    for row, id_ in enumerate(ids):
        one, other = (side.tolist() for side in examples.example(int(id_)))
        for place, token in enumerate(one):
            source[row][place] = token
        for place, token in enumerate(other):
            target_out[row][place] = token
        for place, token in enumerate([BOS, *other[:-1]]):
            target_in[row][place] = token
    return source, target_in, target_out


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_assemble_equals_a_loop(plan, dtype):
    examples = invented(many(), dtype=dtype)
    for index in range(len(plan)):
        number, ids = plan.batch(index)
        batch = assemble(examples, plan.buckets[number], ids)
        assert batch.alignment is None
        for array, wanted in zip(batch[:3], naive(examples, plan.buckets[number], ids), strict=True):
            assert array.dtype == np.int32
            np.testing.assert_array_equal(array, wanted)


def test_assemble_by_hand():
    source = Ragged(np.array([5, 6, EOS, EOS]), np.array([0, 3, 4]), np.array([3, 1]))
    target = Ragged(np.array([7, EOS, 8, 9, EOS]), np.array([0, 2, 5]), np.array([2, 3]))
    examples = Examples({"source": source, "target": target})
    batch = assemble(examples, Bucket(3, (4, 3)), np.array([1, 0]))
    assert batch.source.tolist() == [[3, 0, 0, 0], [5, 6, 3, 0], [0, 0, 0, 0]]
    assert batch.target_in.tolist() == [[2, 8, 9], [2, 7, 0], [0, 0, 0]]
    assert batch.target_out.tolist() == [[8, 9, 3], [7, 3, 0], [0, 0, 0]]


def same(one, other):
    return one[:2] == other[:2] and all(np.array_equal(a, b) for a, b in zip(one[2], other[2], strict=True))


@pytest.mark.parametrize("prefetch", [0, 1, 8])
def test_stream_resumes_anywhere(plans, prefetch):
    examples, epoch = invented(many()), len(plans.epoch(0))
    through = list(itertools.islice(batches_of(FixedEpochs(examples, plans), DataPosition(), prefetch), 2 * epoch + 9))
    assert [position for position, *_ in through] == [
        DataPosition(*divmod(index, epoch)) for index in range(len(through))
    ]
    for start in (1, epoch - 2, epoch + 5):
        begin = through[start - 1][0].next
        resumed = list(itertools.islice(batches_of(FixedEpochs(examples, plans), begin, prefetch), 7))
        assert all(map(same, resumed, through[start : start + 7]))
    (place, bucket, batch), index = through[-1], len(through) - 1
    number, ids = plans.epoch(index // epoch).batch(index % epoch)
    assert same((place, bucket, batch), (place, plans.buckets[number], assemble(examples, plans.buckets[number], ids)))
    np.testing.assert_array_equal(examples_at(FixedEpochs(examples, plans), place), ids)


def test_a_stream_continues_after_the_last_batch_of_an_epoch(plans, plan):
    supply = FixedEpochs(invented(many()), plans)
    begin = DataPosition(3, len(plan) - 1).next
    assert same(next(batches_of(supply, begin)), next(batches_of(supply, DataPosition(4))))


def test_stream_ends_its_threads(plans):
    before = threading.active_count()
    for _ in range(3):
        opened = batches_of(FixedEpochs(invented(many()), plans), DataPosition(10**9))
        assert next(opened)[0] == DataPosition(10**9)
        opened.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before  # fewer if those of an earlier test have ended meanwhile


def test_an_error_in_a_thread_reaches_the_reader(plans):
    with pytest.raises(IndexError):
        for _ in batches_of(FixedEpochs(invented(many(10)), plans)):
            pass


def test_report_counts(plan):
    lengths = many()
    real, padded, rows = np.zeros(2), np.zeros(2), 0
    for index in range(len(plan)):
        number, ids = plan.batch(index)
        bucket = plan.buckets[number]
        real += lengths[ids].sum(axis=0)
        padded += [bucket.rows * bucket.lengths[0], bucket.rows * bucket.lengths[1]]
        rows += bucket.rows
    report = plan.report(sides(lengths))
    assert report["examples"] == len(lengths)
    assert report["batches"] == len(plan)
    assert report["shapes"] == len(plan.buckets) == 4
    assert report["empty_rows"] == rows - len(lengths)
    np.testing.assert_allclose([report["source_efficiency"], report["target_efficiency"]], real / padded)
    np.testing.assert_allclose(report["efficiency"], real.sum() / padded.sum())
    text = plan.describe(sides(lengths))
    assert len(text.splitlines()) == 2 + 4
    assert f"{report['efficiency']:.1%} of the tokens are real" in text


@settings(deadline=None)
@given(pairs, pairs, st.sampled_from([1, 4]))
def test_fixed_covers_each_example_once(training, validation, length_multiple):
    batching = Batching(tokens=40, shapes=3, length_multiple=length_multiple)
    buckets = choose_buckets(sides(training), batching, 2)
    seen, shapes = [], []
    for bucket, ids in batches.each_once(sides(validation), batching, buckets, 2):
        longest = [max(validation[i]) for i in ids]
        assert 0 < len(ids) <= bucket.rows
        assert bucket.rows % 2 == 0
        assert longest == sorted(longest)
        assert all(validation[i][0] <= bucket.lengths[0] and validation[i][1] <= bucket.lengths[1] for i in ids)
        seen += ids.tolist()
        shapes.append(bucket)
    assert sorted(seen) == list(range(len(validation)))
    new = set(shapes) - set(buckets)
    misfits = [p for p in validation if all(p[0] > b.lengths[0] or p[1] > b.lengths[1] for b in buckets)]
    assert len(new) == bool(misfits)
    for bucket in new:
        assert bucket.lengths == tuple(up(max(side), length_multiple) for side in zip(*misfits, strict=True))


def test_fixed_of_nothing():
    assert batches.each_once(sides([]), Batching(), [Bucket(8, (5, 4))], 8) == []
