"""Mixtures; what holds for every plan is in test_batches."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.config import Batching
from transformer.data.batching.buckets import choose_buckets
from transformer.data.batching.plan import Share, make_plan, shares_of

PARTS = (700, 90, 1, 209)


def mixture(parts=PARTS, weights=(), temperature=1.0, seed=1):
    random = np.random.default_rng(0)
    lengths = {side: random.integers(1, 40, sum(parts)) for side in ("source", "target")}
    buckets = choose_buckets(lengths, Batching(tokens=400, shapes=4), 8)
    return lengths, make_plan(lengths, buckets, seed, shares_of(parts, weights, temperature))


def epoch_of(plan, epoch):
    size = plan.batches_per_epoch
    return np.concatenate([plan.batch(index)[1] for index in range(epoch * size, (epoch + 1) * size)])


def by_corpus(ids, parts=PARTS):
    return np.bincount(np.searchsorted(np.cumsum(parts), ids, side="right"), minlength=len(parts))


@pytest.mark.parametrize(("weights", "temperature"), [((), 1.0), ((7, 0.9, 0.01, 2.09), 1.0)])
def test_as_they_are_every_example_comes_once(weights, temperature):
    _, plan = mixture(weights=weights, temperature=temperature)
    for epoch in range(3):
        assert sorted(epoch_of(plan, epoch)) == list(range(sum(PARTS)))


@pytest.mark.parametrize(
    ("weights", "temperature", "shares"),
    [
        ((1, 1, 0, 2), 1.0, [0.25, 0.25, 0, 0.5]),
        ((), 5.0, np.array(PARTS) ** 0.2 / (np.array(PARTS) ** 0.2).sum()),
        ((), 1e9, [0.25] * 4),
    ],
)
def test_shares(weights, temperature, shares):
    _, plan = mixture(weights=weights, temperature=temperature)
    taken = by_corpus(epoch_of(plan, 3))
    # a bucket takes whole examples: at most one more than its part of the share
    assert np.all(taken >= np.floor(np.array(shares) * sum(PARTS)))
    assert np.all(taken <= np.array(shares) * sum(PARTS) + len(plan.buckets))
    assert sum(plan.taken) == len(epoch_of(plan, 0)) == plan.report()["examples"]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=4), st.data())
def test_all_of_a_corpus_come_equally_often(parts, data):
    """Over any number of epochs: a corpus is gone through in whole permutations, one after the other."""
    weights = data.draw(st.lists(st.floats(0.1, 5), min_size=len(parts), max_size=len(parts)))
    epochs = data.draw(st.integers(1, 6))
    _, plan = mixture(tuple(parts), tuple(weights))
    counts = Counter(np.concatenate([epoch_of(plan, epoch) for epoch in range(epochs)]).tolist())
    for start, stop in pairwise(np.cumsum([0, *parts])):
        for ids in plan.members:
            often = [counts[i] for i in ids.tolist() if start <= i < stop]
            assert not often or max(often) - min(often) <= 1


def test_corpora_are_mixed_within_batches():
    _, plan = mixture(parts=(500, 500))
    mixed = [by_corpus(plan.batch(index)[1], (500, 500)).min() > 0 for index in range(plan.batches_per_epoch)]
    assert np.mean(mixed) > 0.8


def test_an_example_stays_in_its_bucket():
    lengths, plan = mixture(weights=(1, 5, 2, 2))
    for index in range(2 * plan.batches_per_epoch):
        number, ids = plan.batch(index)
        for side, longest in zip(lengths.values(), plan.buckets[number].lengths, strict=True):
            assert np.all(side[ids] <= longest)


def test_shares_by_hand():
    assert shares_of([300, 100], (), 1.0) == (Share(0, 1.0), Share(300, 1.0))
    assert shares_of([300, 100], (1, 1), 1.0) == (Share(0, 2 / 3), Share(300, 2.0))
    assert shares_of([400, 0, 100], (1, 8, 1), 1.0) == (Share(0, 0.625), Share(400, 1.0), Share(400, 2.5))
    assert shares_of([900, 100], (), 2.0) == (Share(0, 1000 * 0.75 / 900), Share(900, 2.5))


def test_tokens_of_an_epoch():
    lengths, plan = mixture(weights=(1, 1, 1, 1))
    report = plan.report()
    real = [np.mean([side[epoch_of(plan, epoch)].sum() for epoch in range(40)]) for side in lengths.values()]
    np.testing.assert_allclose(list(plan.tokens.values()), real, rtol=0.02)
    assert 0.5 < report["efficiency"] <= 1


def test_memory_is_one_number_an_example():
    lengths, plan = mixture()
    assert sum(ids.nbytes for ids in plan.members) == 4 * len(lengths["source"])
