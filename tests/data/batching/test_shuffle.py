import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.data.batching.shuffle import SMALL, key_of, mix, permute

sizes = st.one_of(st.integers(1, 2 * SMALL), st.sampled_from([1023, 1024, 1025, 4097, 70_001]))


@settings(deadline=None)
@given(sizes, st.integers(0, 2**64 - 1))
def test_every_place_occurs_once(size, key):
    assert sorted(permute(np.arange(size), size, key).tolist()) == list(range(size))


@settings(deadline=None)
@given(st.integers(2, 10**12), st.integers(0, 2**64 - 1), st.data())
def test_a_place_alone_or_among_others(size, key, data):
    """No list of the range is made, so sizes may be any; and different places go to different ones."""
    places = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20, unique=True))
    together = permute(np.array(places), size, key).tolist()
    assert together == [int(permute(np.array([place]), size, key)[0]) for place in places]
    assert len(set(together)) == len(places)
    assert all(0 <= place < size for place in together)


@pytest.mark.parametrize("size", [5, 300, 2048])
def test_the_picture_is_not_blank(size):
    """Where a place goes, and how far apart neighbours land, is uniform over the keys (chi-square)."""
    keys, bins = 400, min(size, 20)
    landed, apart = np.zeros((size, bins)), np.zeros(size)
    for key in range(keys):
        order = permute(np.arange(size), size, key_of(1, key))
        landed[np.arange(size), order * bins // size] += 1
        apart += np.bincount((order[1:] - order[:-1]) % size, minlength=size)
    share = np.bincount(np.arange(size) * bins // size, minlength=bins) / size
    assert standard((landed - keys * share) ** 2 / (keys * share), size * (bins - 1)) < 5
    wanted = apart.sum() / (size - 1)
    assert standard((apart[1:] - wanted) ** 2 / wanted, size - 2) < 5


def standard(terms, freedom):
    """How many standard deviations a chi-square statistic is above its mean."""
    return (terms.sum() - freedom) / np.sqrt(2 * freedom)


def test_keys_differ_by_every_number_and_their_order():
    keys = [key_of(*numbers) for numbers in [(), (0,), (0, 0), (1,), (1, 2), (2, 1), (-1,), (2**64 - 2,), (1, 0, 2)]]
    assert len(set(keys)) == len(keys)
    assert key_of(2**64 + 5) == key_of(5)


def test_splitmix64_by_its_published_numbers():
    """The first outputs of the reference generator from the seed 1234567 (each adds the golden gamma to the state)."""
    states = (1234567 + 0x9E3779B97F4A7C15 * np.arange(1, 6, dtype=object)) % 2**64
    found = mix(states.astype(np.uint64), 0).tolist()
    assert found == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_a_place_outside():
    with pytest.raises(ValueError, match=r"place 9 is outside of range\(9\)"):
        permute(np.array([3, 9]), 9, 1)
