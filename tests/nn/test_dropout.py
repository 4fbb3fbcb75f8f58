import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer.nn.dropout import dropout, key_of_piece, random_bits


def test_no_key_or_no_rate_is_identity():
    x = jnp.arange(6.0).reshape(2, 3)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.key(0)) is x


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_rate_and_scale(rate):
    x = jnp.ones((512, 256))
    y = np.asarray(dropout(x, rate, jax.random.key(7)))
    kept = y > 0
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((~kept).mean() - rate) < 5 * deviation


def test_bits_are_uniform_bit_by_bit_and_uncorrelated_between_neighbours():
    bits = np.asarray(random_bits(jax.random.key(3), (1024, 256)))
    planes = np.unpackbits(bits.view(np.uint8)).reshape(-1, 32).astype(np.float64)
    n = len(planes)
    assert np.abs(planes.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(n)
    uniform = bits.astype(np.float64) / 2**32
    counts = np.histogram(uniform, 256, (0, 1))[0]
    chi2 = ((counts - n / 256) ** 2 / (n / 256)).sum()
    assert chi2 < 255 + 6 * np.sqrt(2 * 255)
    for a, b in ((uniform[1:], uniform[:-1]), (uniform[:, 1:], uniform[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(n)


def test_masks_of_layers_and_steps_are_independent():
    """Correlation between every pair of masks drawn as a model draws them: per step, split, split again."""
    masks = []
    for step in range(6):
        key = jax.random.fold_in(jax.random.key(1), step)
        for layer in jax.random.split(key, 4):
            bits = (random_bits(use, (64, 128)) for use in jax.random.split(layer, 4))
            masks += [np.asarray(b >= np.uint32(0.3 * 2**32)).ravel() for b in bits]
    correlation = np.corrcoef(np.stack(masks).astype(np.float64))
    off_diagonal = np.abs(correlation[~np.eye(len(masks), dtype=bool)])
    assert off_diagonal.max() < 6 / np.sqrt(masks[0].size)


def test_no_repeats_within_a_mask():
    """The hash is a bijection of positions: no two elements of an array share their bits."""
    bits = np.asarray(random_bits(jax.random.key(5), (333, 77)))
    assert len(np.unique(bits)) == bits.size


def test_gradient_is_dropped_where_the_value_is():
    x = jnp.ones((20, 20))
    y, pull = jax.vjp(lambda x: dropout(x, 0.4, jax.random.key(2)), x)
    np.testing.assert_array_equal(pull(jnp.ones_like(y))[0], y)


def test_bits_by_hand():
    """MurmurHash3's finaliser in Python integers, of an element's row-major position."""

    def mix(bits):
        bits = ((bits ^ (bits >> 16)) * 0x85EBCA6B) % 2**32
        bits = ((bits ^ (bits >> 13)) * 0xC2B2AE35) % 2**32
        return bits ^ (bits >> 16)

    key = jax.random.key(9)
    first, second = (int(word) for word in jax.random.bits(key, (2,), jnp.uint32))
    found = np.asarray(jax.jit(lambda k: random_bits(k, (3, 4, 5)))(key)).ravel()
    expected = [mix((mix(position ^ first) + second) % 2**32) for position in range(60)]
    assert found.tolist() == expected


@pytest.mark.parametrize("pieces", [1, 2, 3, 6])
def test_pieces_have_the_masks_of_the_whole(pieces):
    """Even for keys that are split, folded and passed to a scan, and for pieces that are computed by a scan."""
    x, key = jnp.ones((6, 4, 5)), jax.random.key(11)

    def drawn(x, key):
        first, second = jax.random.split(key)
        layers = jax.random.split(jax.random.fold_in(second, 3), 2)
        _, scanned = jax.lax.scan(lambda carry, key: (carry, dropout(x, 0.3, key)), 0, layers)
        return dropout(x, 0.5, first), scanned.swapaxes(0, 1)

    def piece(number, rows):
        return number + 1, drawn(rows, key_of_piece(key, number, pieces))

    whole = jax.jit(drawn)(x, key)
    _, cut = jax.jit(lambda x: jax.lax.scan(piece, jnp.int32(0), x))(x.reshape(pieces, -1, 4, 5))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.reshape(a.shape)), whole, cut)


def test_other_functions_draw_for_each_piece_independently():
    key = jax.random.key(4)
    drawn = [np.asarray(jax.random.bits(key_of_piece(key, jnp.int32(n), 3), (1000,))) for n in range(3)]
    assert len(np.unique(np.stack(drawn))) == 3000


def test_the_gradient_of_a_piece_is_dropped_where_its_value_is():
    key = key_of_piece(jax.random.key(2), jnp.int32(1), 2)
    y, pull = jax.vjp(lambda x: dropout(x, 0.4, key), jnp.ones((20, 20)))
    np.testing.assert_array_equal(pull(jnp.ones_like(y))[0], y)
    assert 0 < (np.asarray(y) == 0).mean() < 1
