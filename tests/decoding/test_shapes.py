"""Shapes of the search, worked out by hand."""

from transformer.decoding.shapes import Shape, batch_sizes, longer, make_shape, padded_length, source_lengths


def test_lengths_are_powers_of_two_within_the_limit():
    assert [padded_length(length, 100) for length in (1, 16, 17, 32, 33, 64, 65, 100)] == [
        16, 16, 32, 32, 64, 64, 100, 100
    ]  # fmt: skip
    assert padded_length(5, 9) == 9


def test_a_shape_grows_in_both_lengths_up_to_the_limit():
    shape = make_shape(64, 16, 0, 100)
    assert shape == Shape(64, 16, 32, 0)
    shape = longer(shape, 100)
    assert shape == Shape(64, 32, 56, 0)
    shape = longer(longer(shape, 100), 100)
    assert shape == Shape(64, 100, 100, 0)


def test_few_sentences_are_padded_further_than_they_need():
    # Two of at most 16, three of at most 32, one of at most 64.
    lengths = [3, 16, 17, 20, 32, 40]
    assert source_lengths(lengths, 128, 1) == [16, 16, 32, 32, 32, 64]
    assert source_lengths(lengths, 128, 3) == [32, 32, 32, 32, 32, 64]
    # The five together are enough for a separate length; six are not.
    assert source_lengths(lengths, 128, 5) == [32, 32, 32, 32, 32, 64]
    assert source_lengths(lengths, 128, 6) == [64] * 6
    # The longest always has its own.
    assert source_lengths([40], 128, 6) == [64]


def test_batch_sizes_divide_over_the_devices():
    assert batch_sizes(64, 1) == (16, 64)
    assert batch_sizes(50, 8) == (16, 56)
    assert batch_sizes(3, 1) == (3, 3)
    assert batch_sizes(1, 4) == (4, 4)
