"""Minimum Bayes risk: the translation that is most like all others that the model would give."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF


def expected_utility(texts: Sequence[str], utility: Literal["chrf", "bleu"]) -> np.ndarray:
    """Mean utility of each text, all of them being references in turn (Kumar and Byrne 2004; Eikema and Aziz 2020).

    Of samples this estimates the expectation under the model; a text that was drawn twice counts twice. Of the n best
    all count alike.

    Args:
        texts: translations of one sentence.
        utility: sentence chrF, or sentence BLEU smoothed by sacreBLEU (exp), in 0..100.
    """
    metric = CHRF() if utility == "chrf" else BLEU(effective_order=True)
    counts = Counter(texts)
    means = {
        text: sum(count * metric.sentence_score(text, [other]).score for other, count in counts.items()) / len(texts)
        for text in counts
    }
    return np.array([means[text] for text in texts])
