import pytest

from transformer.plurals import counted


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "line", "0 lines"),
        (1, "line", "1 line"),
        (2, "training pair", "2 training pairs"),
        (1, "batch", "1 batch"),
        (3, "batch", "3 batches"),
        (2, "entry", "2 entries"),
        (2, "epoch", "2 epochs"),
        (12_000, "update", "12,000 updates"),
    ],
)
def test_a_noun_agrees_with_its_count(count, noun, text):
    assert counted(count, noun) == text
