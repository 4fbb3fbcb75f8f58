"""Mixtures; what holds for every plan is in test_batches."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.config import Batching
from transformer.data.batching.buckets import choose_buckets
from transformer.data.batching.plan import Plans, Share, make_plans, shares_of
from transformer.data.batching.shuffle import key_of, permute

PARTS = (700, 90, 1, 209)


def plans_of(lengths, parts, weights=(), temperature=1.0, seed=1, shapes=4):
    buckets = choose_buckets(lengths, Batching(tokens=400, shapes=shapes), 8)
    return make_plans(lengths, buckets, seed, shares_of(parts, weights, temperature))


def mixture(parts=PARTS, weights=(), temperature=1.0, seed=1):
    random = np.random.default_rng(0)
    lengths = {side: random.integers(1, 40, sum(parts)) for side in ("source", "target")}
    return lengths, plans_of(lengths, parts, weights, temperature, seed)


def epoch_of(plans, epoch):
    plan = plans.epoch(epoch)
    return np.concatenate([plan.batch(position)[1] for position in range(len(plan))])


def by_corpus(ids, parts=PARTS):
    return np.bincount(np.searchsorted(np.cumsum(parts), ids, side="right"), minlength=len(parts))


@pytest.mark.parametrize(("weights", "temperature"), [((), 1.0), ((7, 0.9, 0.01, 2.09), 1.0)])
def test_with_natural_shares_every_example_occurs_once(weights, temperature):
    _, plans = mixture(weights=weights, temperature=temperature)
    for epoch in range(3):
        assert sorted(epoch_of(plans, epoch)) == list(range(sum(PARTS)))


@pytest.mark.parametrize("parts", [(300,), (200, 100)])
def test_whole_corpora_are_in_the_order_of_version_0_1(parts):
    """Runs of that version resume: the order of a bucket's examples, by its definition."""
    _, plans = mixture(parts)
    for epoch in (0, 5):
        plan, found = plans.epoch(epoch), {}
        for position in range(len(plan)):
            number, ids = plan.batch(position)
            place = int(permute(np.array([position]), len(plan), key_of(1, epoch, 0))[0])
            found.setdefault(number, {})[place] = ids
        for number, batches in found.items():
            members = np.flatnonzero(np.isin(np.arange(sum(parts)), plans.members[number]))
            places = np.arange(len(members))
            if len(parts) > 1:
                places = permute(places, len(members), key_of(1, epoch, 1, number))
            edge = np.searchsorted(members, parts[0])
            corpora = [(0, edge, 0), (edge, len(members), 1)]
            wanted = np.empty_like(members)
            for start, stop, corpus in corpora:
                mine = (places >= start) & (places < stop)
                order = permute(places[mine] - start, stop - start, key_of(1, epoch, 2, number, corpus))
                wanted[mine] = members[start:stop][order]
            np.testing.assert_array_equal(np.concatenate([ids for _, ids in sorted(batches.items())]), wanted)


@pytest.mark.parametrize(
    ("weights", "temperature", "shares"),
    [
        ((1, 1, 0, 2), 1.0, [0.25, 0.25, 0, 0.5]),
        ((), 5.0, np.array(PARTS) ** 0.2 / (np.array(PARTS) ** 0.2).sum()),
        ((), 1e9, [0.25] * 4),
    ],
)
def test_shares(weights, temperature, shares):
    lengths, plans = mixture(weights=weights, temperature=temperature)
    taken, plan = by_corpus(epoch_of(plans, 3)), plans.epoch(3)
    assert np.all(np.abs(taken - np.array(shares) * sum(PARTS)) < 1)
    assert sum(plan.taken) == taken.sum() == plan.report(lengths)["examples"]


def test_an_example_alone_in_its_bucket_occurs_as_often_as_the_others():
    """The other corpus has weight 0.05 and one long pair: 20 pairs of 40 are to come 100 * 0.1 times in 100 epochs."""
    lengths = {side: np.array([5] * 39 + [60]) for side in ("source", "target")}
    plans = plans_of(lengths, (20, 20), (0.95, 0.05))
    assert len(plans.buckets) == 2
    assert plans.members[1].tolist() == [39]
    counts = sum(np.bincount(epoch_of(plans, epoch), minlength=40) for epoch in range(100))
    assert counts[:20].tolist() == [190] * 20
    assert counts[20:].tolist() == [10] * 20


corpora = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@st.composite
def mixtures(draw):
    """(plans, examples of each corpus, weights) of random lengths."""
    parts = draw(corpora)
    weights = draw(st.lists(st.sampled_from([0.05, 0.3, 1.0, 1.7, 4.0]), min_size=len(parts), max_size=len(parts)))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    lengths = {side: random.geometric(0.1, sum(parts)).clip(1, 50) for side in ("source", "target")}
    return (
        plans_of(lengths, parts, weights, seed=draw(st.integers(0, 9)), shapes=draw(st.integers(1, 6))),
        parts,
        weights,
    )


def ids_of(plans: Plans, epoch: int):
    plan = plans.epoch(epoch)
    return np.concatenate([ids for bucket in range(len(plan.buckets)) for ids in plan.items(bucket)])


@settings(deadline=None, max_examples=30)
@given(mixtures(), st.integers(1, 45))
def test_examples_of_a_corpus_occur_equally_often_in_any_bucket(given, epochs):
    """After E epochs of `passes` passes, each has come floor(E passes) or ceil(E passes) times."""
    plans, parts, weights = given
    total = sum(parts)
    counts = sum(np.bincount(ids_of(plans, epoch), minlength=total) for epoch in range(epochs))
    for (start, stop), weight in zip(pairwise(np.cumsum([0, *parts])), weights, strict=True):
        size = int(stop - start)
        passes = total * Fraction(str(weight)) / sum(Fraction(str(each)) for each in weights) / size
        wanted = epochs * passes
        mine = counts[start:stop]
        assert math.floor(wanted) <= mine.min() <= mine.max() <= math.ceil(wanted)
        assert abs(int(mine.sum()) - size * wanted) < 1, "so does the corpus as a whole"


@settings(deadline=None, max_examples=30)
@given(mixtures(), st.integers(0, 10**6))
def test_batches_contain_the_examples_of_the_epoch(given, epoch):
    plans, _, _ = given
    plan = plans.epoch(epoch)
    assert len(plan) > 0
    batches = [plan.batch(position) for position in range(len(plan))]
    assert all(0 < len(ids) <= plan.buckets[number].rows for number, ids in batches)
    found = np.concatenate([ids for _, ids in batches])
    assert sorted(found.tolist()) == sorted(ids_of(plans, epoch).tolist())


def test_examples_with_changing_lengths_occur_equally_often_too():
    """As with resampled pieces: the plan of an epoch follows from its own lengths."""
    random, counts = np.random.default_rng(3), np.zeros(60, np.int64)
    for epoch in range(40):
        lengths = {side: random.integers(1, 40, 60) for side in ("source", "target")}
        counts += np.bincount(epoch_of(plans_of(lengths, (20, 40), (0.1, 0.9)), epoch), minlength=60)
    assert counts[:20].tolist() == [12] * 20  # 40 epochs of 60 * 0.1 / 20 passes
    assert counts[20:].tolist() == [54] * 40


def test_corpora_are_mixed_within_batches():
    _, plans = mixture(parts=(500, 500))
    plan = plans.epoch(0)
    mixed = [by_corpus(plan.batch(position)[1], (500, 500)).min() > 0 for position in range(len(plan))]
    assert np.mean(mixed) > 0.8


def test_an_example_stays_in_its_bucket():
    lengths, plans = mixture(weights=(1, 5, 2, 2))
    for plan in (plans.epoch(0), plans.epoch(1)):
        for number, ids in map(plan.batch, range(len(plan))):
            for side, longest in zip(lengths.values(), plan.buckets[number].lengths, strict=True):
                assert np.all(side[ids] <= longest)


def test_shares_by_hand():
    assert shares_of([300, 100], (), 1.0) == (Share(0, 1.0), Share(300, 1.0))
    assert shares_of([300, 100], (1, 1), 1.0) == (Share(0, 2 / 3), Share(300, 2.0))
    assert shares_of([400, 0, 100], (1, 8, 1), 1.0) == (Share(0, 0.625), Share(400, 1.0), Share(400, 2.5))
    assert shares_of([900, 100], (), 2.0) == (Share(0, 1000 * 0.75 / 900), Share(900, 2.5))


def test_tokens_of_an_epoch():
    lengths, plans = mixture(weights=(1, 1, 1, 1))
    for epoch in (0, 7):
        plan, ids = plans.epoch(epoch), epoch_of(plans, epoch)
        assert {name: sum(tokens) for name, tokens in plan.tokens(lengths).items()} == {
            name: int(side[ids].sum()) for name, side in lengths.items()
        }
        assert 0.5 < plan.report(lengths)["efficiency"] <= 1


def test_memory_is_one_number_an_example():
    lengths, plans = mixture(weights=(1, 5, 2, 2))
    assert sum(ids.nbytes for ids in plans.members) == 4 * len(lengths["source"])
