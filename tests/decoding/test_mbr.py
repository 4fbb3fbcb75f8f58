"""Minimum Bayes risk by hand."""

import numpy as np
import pytest
from sacrebleu import sentence_bleu, sentence_chrf

from transformer.decoding.mbr import expected_utility

TEXTS = ["the cat sat down", "a cat sat down", "the cat sat down", "dogs bark"]


@pytest.mark.parametrize("utility", ["chrf", "bleu"])
def test_the_mean_over_all_pairs(utility):
    def plain(text, other):
        if utility == "chrf":
            return sentence_chrf(text, [other]).score
        return sentence_bleu(text, [other], use_effective_order=True).score

    expected = [np.mean([plain(text, other) for other in TEXTS]) for text in TEXTS]
    np.testing.assert_allclose(expected_utility(TEXTS, utility), expected)
    assert int(np.argmax(expected)) == 0


def test_the_consensus_is_chosen_not_the_most_likely(trained_model):
    line = ["ba be bi bo"]
    (samples,) = trained_model.hypotheses(line, samples=12, temperature=2.0)
    (chosen,) = trained_model.hypotheses(line, samples=12, temperature=2.0, mbr="chrf")
    utilities = expected_utility([one.text for one in samples], "chrf")
    assert chosen[0].score == pytest.approx(utilities.max())
    assert chosen[0].text == samples[int(np.argmax(utilities))].text
    assert sorted(one.text for one in chosen) == sorted(one.text for one in samples)
