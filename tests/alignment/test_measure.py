"""Error rates by hand and by loops; symmetrisation against its pseudo-code."""

import numpy as np
import pytest

from transformer.alignment.formats import pharaoh
from transformer.alignment.measure import Gold, all_sure, error_rate, link_counts, measure
from transformer.alignment.symmetrize import SYMMETRIZATIONS, grow_diag, grow_diag_final_and


def gold(sure, possible=()):
    return Gold(frozenset(sure), frozenset({*sure, *possible}))


def test_measure_by_hand():
    """Och and Ney's definition on two pairs: A has 5 links, S 4, |A and S| 2, |A and P| 4."""
    found = [frozenset({(0, 0), (1, 1), (2, 1)}), frozenset({(0, 0), (1, 0)})]
    right = [gold({(0, 0), (1, 1), (2, 2)}, {(2, 1)}), gold({(1, 1)}, {(1, 0)})]
    measured = measure(found, right)
    assert measured.aer == pytest.approx(1 - (2 + 4) / (5 + 4))
    assert measured.precision == pytest.approx(4 / 5)
    assert measured.recall == pytest.approx(2 / 4)
    assert measured.sentences == 2


def test_perfect_and_empty():
    links = [frozenset({(0, 0), (1, 1)})] * 3
    perfect = measure(links, [gold(each) for each in links])
    assert perfect[:4] == (0.0, 1.0, 1.0, 3)
    assert perfect.interval == (0.0, 0.0)
    nothing = measure([frozenset()] * 3, [gold(each) for each in links])
    assert nothing[:3] == (1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="shorter"):
        measure(links, [gold(links[0])])


def test_the_interval_is_that_of_resampled_sentences():
    random = np.random.default_rng(3)
    found = [frozenset((i, i) for i in range(4) if random.random() < 0.7) for _ in range(200)]
    right = [gold({(i, i) for i in range(4)})] * 200
    measured = measure(found, right)
    low, high = measured.interval
    assert low < measured.aer < high
    rates = []
    for _ in range(500):
        drawn = random.integers(200, size=200)
        hits = sum(len(found[i]) for i in drawn)
        rates.append(1 - 2 * hits / (hits + 800))
    np.testing.assert_allclose([low, high], np.quantile(rates, [0.025, 0.975]), atol=0.006)


def koehns(forward, backward, S, T):
    """The pseudo-code of Koehn 2005, a grid of booleans and its loops: e is the target, f the source."""
    grids = np.zeros((2, T, S), bool)
    for grid, links in zip(grids, (forward, backward), strict=True):
        for s, t in links:
            grid[t, s] = True
    union, alignment = grids.any(0), grids.all(0)
    grew = True
    while grew:
        grew = False
        for e in range(T):
            for f in range(S):
                if not alignment[e, f]:
                    continue
                # Neighbours: left, up, right and down of the source's axis first, then the diagonals.
                for df, de in ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)):
                    i, j = e + de, f + df
                    if not (0 <= i < T and 0 <= j < S) or alignment[i, j]:
                        continue
                    if union[i, j] and not (alignment[i].any() and alignment[:, j].any()):
                        alignment[i, j] = grew = True
    for grid in grids:
        for e in range(T):
            for f in range(S):
                if grid[e, f] and not alignment[e].any() and not alignment[:, f].any():
                    alignment[e, f] = True
    return {(int(f), int(e)) for e, f in zip(*np.nonzero(alignment), strict=True)}


@pytest.mark.parametrize("seed", range(100))
def test_grow_diag_final_and_equals_its_pseudo_code(seed):
    random = np.random.default_rng(seed)
    S, T = (int(n) for n in random.integers(1, 9, 2))

    def draw(share):
        return frozenset((s, t) for s in range(S) for t in range(T) if random.random() < share)

    forward, backward = draw(random.uniform(0.05, 0.4)), draw(random.uniform(0.05, 0.4))
    assert grow_diag_final_and(forward, backward) == koehns(forward, backward, S, T)


def test_grow_diag_final_and_by_hand():
    """From 1-1 its neighbour 1-2 is taken (target word 2 had no link), then 2-2 (source word 2 had none); 4-4 is far
    away and comes last; 4-3 never, for its source word has a link by then."""
    forward = frozenset({(1, 1), (2, 2), (4, 4)})
    backward = frozenset({(1, 1), (1, 2), (4, 3)})
    assert grow_diag_final_and(forward, backward) == {(1, 1), (1, 2), (2, 2), (4, 4)}


def test_links_grow_in_the_order_of_the_original():
    """Moses grows target word by target word. 0-0 is left out: when it is reached, both its words have links."""
    forward = frozenset({(0, 0), (0, 2), (1, 1), (2, 0), (3, 1), (4, 2)})
    backward = frozenset({(0, 2), (1, 2), (2, 0), (3, 1)})
    assert grow_diag_final_and(forward, backward) == {(0, 2), (1, 1), (2, 0), (3, 1), (4, 2)}


def test_grow_diag_leaves_out_links_without_neighbours():
    forward, backward = frozenset({(0, 0), (5, 5)}), frozenset({(0, 0), (0, 1)})
    assert grow_diag(forward, backward) == {(0, 0), (0, 1)}
    assert grow_diag_final_and(forward, backward) == {(0, 0), (0, 1), (5, 5)}


def test_every_symmetrization_lies_between_intersection_and_union():
    forward, backward = frozenset({(0, 0), (1, 1), (3, 3)}), frozenset({(0, 0), (2, 1), (1, 2)})
    for symmetrize in SYMMETRIZATIONS.values():
        assert forward & backward <= symmetrize(forward, backward) <= forward | backward
    assert pharaoh(SYMMETRIZATIONS["union"](forward, backward)) == "0-0 1-1 2-1 1-2 3-3"


def test_counts_of_sentences_by_hand():
    found = [frozenset({(0, 0), (1, 1)}), frozenset({(2, 0)}), frozenset()]
    right = [*all_sure([[(0, 0)], [(1, 0), (2, 0)]]), gold((), {(0, 0)})]
    counts = link_counts(found, right)
    assert counts.tolist() == [[2, 1, 1, 1], [1, 2, 1, 1], [0, 0, 0, 0]]
    assert error_rate(counts.sum(0)) == pytest.approx(1 - (2 + 2) / (3 + 3))
    assert error_rate(counts) == pytest.approx([1 - 2 / 3, 1 - 2 / 3, 1.0])
    with pytest.raises(ValueError, match="zip"):
        link_counts(found, right[:2])
