"""The names that settings accept without JAX are those of the tables, with the same properties."""

from transformer.attention import config
from transformer.attention.normalizers import NORMALIZERS
from transformer.attention.scores import SCORES
from transformer.attention.windows import WINDOWS


def test_scores_agree_with_their_table():
    assert {name: score.equal_widths for name, score in SCORES.items()} == config.SCORES
    assert [name for name, score in SCORES.items() if not score.pointwise] == list(config.POSITIONAL)


def test_windows_agree_with_their_table():
    assert {name: window.needs_lengths for name, window in WINDOWS.items()} == config.WINDOWS


def test_normalizers_agree_with_their_table():
    assert {name: normalizer.can_be_guided for name, normalizer in NORMALIZERS.items()} == config.NORMALIZERS
