"""The estimate of scaling, against values worked out by hand."""

import runpy

import pytest

from tests.documentation import ROOT

scaling = runpy.run_path(str(ROOT / "experiments" / "accelerators" / "scaling.py"))
BASE = 37_000 * 512 + 6 * (4 * 512**2 + 2 * 512 * 2_048 + 2_048 + 512 + 4 * 512)
BASE += 6 * (8 * 512**2 + 2 * 512 * 2_048 + 2_048 + 512 + 6 * 512)
BIG = 37_000 * 1_024 + 6 * (4 * 1_024**2 + 2 * 1_024 * 4_096 + 4_096 + 1_024 + 4 * 1_024)
BIG += 6 * (8 * 1_024**2 + 2 * 1_024 * 4_096 + 4_096 + 1_024 + 6 * 1_024)
"""Parameters: the table; in each layer attention, feed-forward with biases, norms."""
NETWORK = scaling["Network"]("by hand", peak=1e12, fast=80.0, group=4, slow=10.0)


def test_a_ring_sends_almost_twice_the_sum():
    assert scaling["sent"](100, 1) == 0
    assert scaling["sent"](100, 2) == 100
    assert scaling["sent"](100, 4) == 150


def test_sums_cross_both_networks():
    # 4 chips: 120 bytes at 80 a second. 8 chips: also a quarter, of which 2 groups send 20 bytes at 10 a second.
    assert scaling["sum_seconds"](80, 4, NETWORK, 4) == pytest.approx(1.5 / 0.8)
    assert scaling["sum_seconds"](80, 8, NETWORK, 4) == pytest.approx((1.5 + 2) / 0.8)
    # Replicas that have one chip in each group: 2 * 7/8 * 80 bytes at 10 a second.
    assert scaling["sum_seconds"](80, 8, NETWORK, 1) == pytest.approx(14 / 0.8)


def test_bytes_of_gradients_and_activations():
    base = scaling["models"]()["base"]
    assert scaling["gradient_bytes"](BASE) == 252_182_528
    assert scaling["gradient_bytes"](BASE, 8) == 31_522_816
    # 6 encoder layers with 6 sums, 6 decoder layers with 10, and 3 more, of 100 tokens x 512 x 2 bytes
    assert scaling["activation_bytes"](base, 100) == (36 + 60 + 3) * 102_400


def test_efficiency_is_the_share_of_computation():
    model = scaling["models"]()["base"]
    sums = scaling["sum_seconds"](scaling["gradient_bytes"](BASE), 8, NETWORK, 4)
    tokens = 28 * 100
    D, F, V = 512, 2_048, 37_000
    layers = 6 * (4 * D * D + 2 * D * F) + 6 * (8 * D * D + 2 * D * F)
    attention = 2 * D * 6 * 28 + 2 * D * 6 * 2 * 28
    operations = 6 * tokens * (layers + D * V + attention)
    network = scaling["Network"]("as slow as its sums", operations / (8 * 0.4 * sums), 80.0, 4, 10.0)
    assert scaling["efficiency"](model, BASE, tokens, 8, network) == pytest.approx(0.5)


def test_parameters_are_those_of_the_model():
    assert scaling["count"](scaling["models"]()["base"]) == BASE


def test_the_page_contains_the_tables_of_the_script():
    page = (ROOT / "docs" / "explanation" / "scaling.md").read_text(encoding="utf-8")
    for name, parameters, tokens in (("base", BASE, 400_000), ("big", BIG, 400_000), ("big", BIG, 25_000)):
        assert scaling["table"](scaling["models"]()[name], parameters, tokens) in page
