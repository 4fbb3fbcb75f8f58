"""Measures of labels, from counts that add up over lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from transformer.evaluation.measures import Measure, ratio


def macro_f1(counts: Float[np.ndarray, "*R K"]) -> Float[np.ndarray, "*R"]:
    """100 times the mean of the labels' F1, from (right, predicted, actual) of each label, end to end.

    A label that is neither predicted nor actual is left out of the mean, as scikit-learn does.
    """
    right, predicted, actual = np.moveaxis(counts.reshape(*counts.shape[:-1], -1, 3), -1, 0)
    size = predicted + actual
    f1 = 2 * right / np.maximum(size, 1)
    mean: np.ndarray = 100 * f1.sum(-1) / np.maximum((size > 0).sum(-1), 1)
    return mean


MEASURES = {
    "accuracy": Measure(ratio, digits=1),
    "macro F1": Measure(macro_f1, digits=1),
}


def statistics(
    labels: Sequence[str], predictions: Sequence[str], references: Sequence[str]
) -> dict[str, Int[np.ndarray, "N _"]]:
    """Counts of `MEASURES`; see `tasks.task.Predictor.statistics`. Labels that training did not have are counted after
    those that it had, in alphabetical order."""
    known = [*labels, *sorted({*predictions, *references} - {*labels})]
    places = {label: place for place, label in enumerate(known)}
    rows = np.arange(len(predictions))
    predicted, actual = (np.array([places[label] for label in side], np.int64) for side in (predictions, references))
    right = predicted == actual
    counts = np.zeros((len(rows), len(known), 3), np.int64)
    counts[rows, predicted, 0] = right
    counts[rows, predicted, 1] = 1
    counts[rows, actual, 2] = 1
    accuracy = np.stack([right.astype(np.int64), np.ones(len(rows), np.int64)], 1)
    return {"accuracy": accuracy, "macro F1": counts.reshape(len(rows), -1)}


def confusion(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """How often each label was given for each actual label, and the accuracy of always giving the most frequent one.

    Returns:
        `labels` that occur; `counts[a][p]`, the number of lines whose label is a and that got p; and
        `most_frequent`, its label and its share in percent.
    """
    known = sorted({*predictions, *references})
    places = {label: place for place, label in enumerate(known)}
    counts = np.zeros((len(known), len(known)), np.int64)
    for predicted, actual in zip(predictions, references, strict=True):
        counts[places[actual], places[predicted]] += 1
    of_each = counts.sum(1)
    most = int(of_each.argmax())
    share = 100 * float(of_each[most]) / max(1, len(references))
    return {"labels": known, "counts": counts.tolist(), "most_frequent": {"label": known[most], "accuracy": share}}
