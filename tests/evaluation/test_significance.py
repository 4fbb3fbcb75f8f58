"""Resampling against slow loops, sacreBLEU and closed forms, and the share of false alarms if nothing differs."""

import itertools
import math
import statistics

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest

from tests.study.conftest import counts, sentences
from transformer.evaluation import significance as ours
from transformer.evaluation.metrics import bleu_counts, bleu_of_counts, chrf_of_counts, ter_of_counts

BY_HAND = BLEU(tokenize="none", force=True)


def mean(table):
    """A metric as simple as can be: the mean of the first count, a number a sentence."""
    return table[..., 0] / table[..., 1]


def numbers(values):
    """[seeds, N, 2] of values [seeds, N]."""
    return np.stack([values, np.ones_like(values)], -1)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.6, 0.9])
def test_bleu_of_summed_counts_is_sacrebleus(noise):
    hypotheses, references = sentences(1, noise)
    found = bleu_counts(hypotheses, references, "none")
    assert bleu_of_counts(found.sum(0)) == pytest.approx(BY_HAND.corpus_score(hypotheses, [references]).score, abs=1e-9)
    for one in np.split(found, 12):
        assert bleu_of_counts(one.sum(0)) == pytest.approx(BY_HAND._aggregate_and_compute(one.tolist()).score, abs=1e-9)


@pytest.mark.parametrize(
    "row",
    [
        [0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
        [3, 5, 0, 0, 0, 0, 3, 2, 1, 0],
        [3, 5, 3, 2, 1, 0, 3, 2, 1, 0],
        [6, 5, 3, 0, 0, 0, 6, 5, 4, 3],
        [6, 6, 6, 5, 4, 3, 6, 5, 4, 3],
    ],
)
def test_bleu_without_matches_or_words_is_sacrebleus(row):
    assert bleu_of_counts(np.array(row)) == pytest.approx(BY_HAND._compute_score_from_stats(list(row)).score, abs=1e-9)


def test_one_seed_has_the_resamples_of_sacrebleus_paired_bootstrap():
    (one, references), (other, _) = sentences(1, 0.20), sentences(2, 0.27)
    metrics = {"BLEU": BLEU(references=[references], tokenize="none", force=True)}
    _, found = PairedTest([("a", other), ("b", one)], metrics, references=None, test_type="bs", n_samples=1000)()
    known = [bleu_counts(text, references, "none")[None] for text in (one, other)]
    difference = ours.compare(*known, bleu_of_counts, resamples=1000)
    assert difference.over == "sentences"
    assert difference.value == pytest.approx(found["BLEU"][1].score - found["BLEU"][0].score, abs=1e-9)
    sizes = np.abs(ours.resampled(*known, bleu_of_counts, 1000, 12345))
    theirs = (np.count_nonzero(sizes - sizes.mean() > abs(difference.value)) + 1) / 1001
    assert theirs == pytest.approx(found["BLEU"][1].p_value, abs=1e-12)


METRICS = {
    "BLEU": (BY_HAND, bleu_of_counts),
    "chrF2": (CHRF(), chrf_of_counts),
    "TER": (TER(), ter_of_counts),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("noise", [(0.2, 0.5), (0.3, 0.35)])
def test_p_is_that_of_all_resamples(name, noise):
    """Five sentences have 5^5 = 3,125 resamples, all scored by sacreBLEU."""
    metric, of_counts = METRICS[name]
    (one, references), (other, _) = sentences(3, noise[0], 5), sentences(4, noise[1], 5)
    sides = [metric._extract_corpus_statistics(text, [references]) for text in (one, other)]

    def difference(drawn):
        system, baseline = (metric._aggregate_and_compute([side[i] for i in drawn]).score for side in sides)
        return system - baseline

    value = difference(range(5))
    assert value != 0
    every = np.array([difference(drawn) for drawn in itertools.product(range(5), repeat=5)])
    assert len(every) == 3125
    exact = np.mean(np.abs(every - value) >= abs(value) - 1e-9)
    resamples = 20_000
    known = [np.array(side)[None] for side in sides]
    found = ours.compare(*known, of_counts, resamples=resamples)
    assert found.value == pytest.approx(value, abs=1e-9)
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / resamples) + 1 / resamples)
    assert ours.compare(*known[::-1], of_counts, resamples=resamples).p == found.p
    assert ours.compare(known[0], known[0], of_counts).p == 1
    assert ours.compare(known[0], known[0], of_counts)[:2] == (0, (0, 0))


def test_ties_count():
    """One of five answers is better. A resample has it k times, and is as far from 1/5 as zero is unless k is 1; it is
    once with a probability of 5 * 1/5 * (4/5)^4."""
    right = np.array([[1.0, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    found = ours.compare(*(numbers(row[None]) for row in right), mean, resamples=20_000)
    assert found.value == pytest.approx(0.2)
    assert found.p == pytest.approx(1 - 0.8**4, abs=4 * math.sqrt(0.24 / 20_000))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e9])
def test_rounding_is_not_a_difference(scale):
    values = scale * np.random.default_rng(1).normal(1, 1, (1, 50))
    again = values / 3 * 3
    assert (values != again).any()
    assert ours.compare(numbers(values), numbers(again), mean).p == 1


def test_large_sets_are_resampled_in_parts(monkeypatch):
    sides = [np.stack([counts(seed, noise) for seed in (1, 2)]) for noise in (0.3, 0.4)]
    whole = ours.resampled(*sides, bleu_of_counts, 100, 5)
    monkeypatch.setattr(ours, "CHUNK", 7 * 60)
    np.testing.assert_allclose(ours.resampled(*sides, bleu_of_counts, 100, 5), whole, atol=1e-9)


def test_a_single_sentence_is_not_resampled():
    one = counts(1, 0.3, 1)
    assert ours.interval(one, bleu_of_counts) is None
    with pytest.raises(ValueError, match="fewer than 2 sentences"):
        ours.compare(one[None], one[None], bleu_of_counts)


def test_p_is_never_shown_as_zero():
    assert ours.p_text(1 / 2001, at_most=True) == ours.p_text(0.0009) == "< 0.001"
    assert ours.p_text(0.0031, at_most=True) == "≤ 0.004"
    assert ours.p_text(0.0314) == "= 0.031"


def test_two_levels_equal_a_slow_loop():
    noise = ((0.1, 0.3, 0.5), (0.5, 0.2, 0.25))
    system, baseline = ([counts(10 * k + seed, noise[k][seed]) for seed in range(3)] for k in (0, 1))
    fast = ours.compare(np.stack(system), np.stack(baseline), bleu_of_counts, resamples=300, seed=7)
    # The same draws, one resample and one run at a time, scored by sacreBLEU itself.
    random = np.random.default_rng(7)
    drawn = random.choice(60, size=(300, 60), replace=True)
    seeds = [random.integers(3, size=(300, 3)) for _ in range(2)]
    found = [0.0] * 300
    for side, runs, chosen in zip((0, 1), (system, baseline), seeds, strict=True):
        whole = [BY_HAND._aggregate_and_compute(run.tolist()).score for run in runs]
        again = [[BY_HAND._aggregate_and_compute(run[sentence].tolist()).score for run in runs] for sentence in drawn]
        own = [[score - sum(scores) / 3 for score in scores] for scores in again]
        noise = 3 / 2 * sum(statistics.pvariance([row[k] for row in own]) for k in range(3)) / 3
        share = max(0.0, 1 - noise / statistics.variance(whole))
        assert 0 < share < 1  # else nothing of it would be tested
        for resample, scores in enumerate(again):
            away = sum(whole[k] for k in chosen[resample]) / 3 - sum(whole) / 3
            means = sum(scores) / 3 + away * math.sqrt(3 / 2 * share)
            found[resample] += means if side == 0 else -means
    whole = [
        np.mean([BY_HAND._aggregate_and_compute(run.tolist()).score for run in runs]) for runs in (system, baseline)
    ]
    value = whole[0] - whole[1]
    assert fast.value == pytest.approx(value, abs=1e-9)
    assert fast.interval == pytest.approx(np.quantile(found, (0.025, 0.975)), abs=1e-9)
    far = sum(abs(one - value) >= abs(value) for one in found)
    assert fast.p == pytest.approx((far + 1) / 301, abs=1e-12)
    assert fast.over == "sentences, seeds"


def test_the_spread_is_that_of_the_closed_form():
    """The metric is a mean, so the standard error of the difference is known, with seeds and sentences."""
    random = np.random.default_rng(3)
    seeds, number = 5, 400
    effects = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # of seeds: variance 2.5 with n - 1
    sets = [random.normal(0, 3, (seeds, number)) for _ in range(2)]
    sets = [values - values.mean(1, keepdims=True) + effects[:, None] for values in sets]
    sets[0] += 1.5
    found = ours.compare(*map(numbers, sets), mean, resamples=20_000)
    over_sentences = np.var(sets[0].mean(0) - sets[1].mean(0)) / number
    of_a_run = 9 / number  # what sentences do to the score of one run
    error = math.sqrt(2 * (2.5 - of_a_run) / seeds + over_sentences)
    assert found.value == pytest.approx(1.5)
    assert found.interval == pytest.approx((1.5 - 1.96 * error, 1.5 + 1.96 * error), abs=0.06)
    assert found.p == pytest.approx(math.erfc(1.5 / error / math.sqrt(2)), abs=0.01)


def test_a_true_difference_is_found_and_changes_sign_with_the_sides():
    better, worse = (np.stack([counts(seed, noise, 200) for seed in (first, first + 1, first + 2)])
                     for first, noise in ((1, 0.1), (11, 0.4)))  # fmt: skip
    found, turned = ours.compare(better, worse, bleu_of_counts), ours.compare(worse, better, bleu_of_counts)
    assert found.p < 0.001
    assert found.interval[0] > 10
    assert turned.value == pytest.approx(-found.value)
    with pytest.raises(ValueError, match="200 and 60 sentences"):
        ours.compare(better, np.stack([counts(1, 0.1)]), bleu_of_counts)


@pytest.mark.parametrize("seeds", [1, 8])
def test_p_is_about_uniform_where_nothing_differs(seeds):
    """Sentences differ in difficulty, the same for both; seeds differ too; the two systems are equal."""
    random = np.random.default_rng(1)
    found = []
    for trial in range(400):
        difficulty = random.normal(0, 2, 50)
        level = 0.3 if seeds > 1 else 0.0
        sets = [difficulty + random.normal(0, level, (seeds, 1)) + random.normal(0, 1, (seeds, 50)) for _ in range(2)]
        found.append(ours.compare(*map(numbers, sets), mean, resamples=300, seed=trial).p)
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):  # three standard errors of a share of 400
        assert np.mean(np.array(found) < level) == pytest.approx(level, abs=0.075)


def test_sacrebleus_own_p_is_below_a_level_twice_as_often_as_the_level():
    """Why it is not taken: under the null hypothesis, from the same resamples, it is like one side's."""
    random = np.random.default_rng(1)
    theirs = []
    for trial in range(400):
        sets = [numbers(random.normal(0, 1, (1, 50))) for _ in range(2)]
        sizes = np.abs(ours.resampled(*sets, mean, 300, trial))
        far = abs(mean(sets[0].sum(1)) - mean(sets[1].sum(1)))[0]
        theirs.append(np.mean(sizes - sizes.mean() > far))
    assert np.mean(np.array(theirs) < 0.05) == pytest.approx(0.10, abs=0.045)


def test_three_seeds_give_few_false_alarms():
    """Three are too few to know their spread well; where sentences matter too, they are not counted twice."""
    random = np.random.default_rng(2)

    def alarms(seeds, of_runs, sentences):
        """Share of p below 0.05, for two equal systems."""
        found = []
        for trial in range(300):
            shared = random.normal(0, 2, sentences)
            sets = [
                shared + random.normal(0, seeds, (3, 1)) + random.normal(0, of_runs, (3, sentences)) for _ in range(2)
            ]
            found.append(ours.compare(*map(numbers, sets), mean, 300, seed=trial).p)
        return np.mean(np.array(found) < 0.05)

    assert 0.02 < alarms(0.1, 1.5, 200) < 0.12  # 1.5 / sqrt(200) is 0.1: alike
    assert 0.05 < alarms(1.0, 0.0, 20) < 0.2


def test_over_seeds_is_welchs():
    found = ours.over_seeds([10.0, 12.0, 14.0], [9.0, 9.5])
    # By hand: variances 4 and 1/8, so a squared error of 4/3 + 1/16.
    error = math.sqrt(4 / 3 + 1 / 16)
    freedom = error**4 / ((4 / 3) ** 2 / 2 + (1 / 16) ** 2)
    from scipy.stats import t

    assert found.value == pytest.approx(2.75)
    assert found.p == pytest.approx(2 * t.sf(2.75 / error, freedom))
    assert found.interval == pytest.approx((2.75 - t.ppf(0.975, freedom) * error, 2.75 + t.ppf(0.975, freedom) * error))
    assert ours.over_seeds([1.0], [2.0, 3.0]) is None
    assert ours.over_seeds([1.0, 1.0], [2.0, 2.0]) is None


def test_holm_by_hand():
    assert ours.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert ours.holm([0.6, 0.9]) == [1.0, 1.0]
    assert ours.holm([]) == []
