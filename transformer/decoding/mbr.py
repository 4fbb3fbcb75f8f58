"""Minimum Bayes risk: the candidate with the highest expected utility under the model."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np


def expected_utility(texts: Sequence[str], utility: Literal["chrf", "bleu"]) -> np.ndarray:
    """Mean utility of each text, with every text as a reference (Kumar and Byrne 2004; Eikema and Aziz 2020).

    Over samples this estimates the expectation under the model; a text sampled twice counts twice. Over the n best
    hypotheses, all have equal weight.

    Args:
        texts: translations of one sentence.
        utility: sentence chrF, or sentence BLEU smoothed by sacreBLEU (exp), in 0..100.
    """
    from sacrebleu.metrics.bleu import BLEU  # few searches need it, but all would wait for the import
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF() if utility == "chrf" else BLEU(effective_order=True)
    counts = Counter(texts)
    means = {
        text: sum(count * metric.sentence_score(text, [other]).score for other, count in counts.items()) / len(texts)
        for text in counts
    }
    return np.array([means[text] for text in texts])
