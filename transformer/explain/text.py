"""Numbers as text for a terminal: the first few of a vector, and a matrix as shades."""

from collections.abc import Sequence

import numpy as np

from transformer.explain.scores import Comparison
from transformer.explain.words import Prediction
from transformer.special_tokens import BOS, EOS, PAD, SPECIAL_TOKENS

SHADES = " ░▒▓█"
SHOWN = 4
"""Printed numbers of a vector."""
SPECIAL = {
    SPECIAL_TOKENS[BOS]: "begins the translation",
    SPECIAL_TOKENS[EOS]: "ends the sentence",
    SPECIAL_TOKENS[PAD]: "fills up the shorter sentences of a batch; it is included to show the effect of the mask",
}


class Numbered:
    """The lines of a text whose steps are numbered from 1."""

    def __init__(self, *lines: str):
        self.lines, self.step = list(lines), 0

    def add(self, title: str, *lines: str) -> None:
        """One more step."""
        self.step += 1
        self.lines += ["", f"{self.step}. {title}", *lines]


def special(pieces: Sequence[str]) -> list[str]:
    """The purpose of the special tokens among these."""
    return [f"   {token:9} {what}" for token, what in SPECIAL.items() if token in pieces]


def named(name: str, values: np.ndarray, width: int = 10) -> str:
    """A line with the name of a vector and its first numbers."""
    return f"   {name:{width}}{vector(values)}"


def vector(values: np.ndarray) -> str:
    """The first numbers of a vector."""
    more = " ..." if len(values) > SHOWN else ""
    return "[" + " ".join(f"{value:7.3f}" for value in values[:SHOWN]) + more + "]"


WIDTH = 8 * SHOWN + 5
"""Characters of a vector."""


def bar(weight: float) -> str:
    """A bar of up to 20 characters."""
    return "█" * round(20 * weight)


def shades(row: np.ndarray) -> str:
    """A row of weights, two characters for each; darker is larger."""
    return "".join(SHADES[min(len(SHADES) - 1, int(np.ceil(weight * (len(SHADES) - 1) - 0.1)))] * 2 for weight in row)


def compared(score: str, formula: str, comparison: Comparison, n: int) -> list[str]:
    """How a score transforms query n."""
    left = [named("q'", comparison.left[n])] if "q'" in formula else []
    right = [] if comparison.vector is None else [named("v_a", comparison.vector)]
    return [f"   The score {score}: {formula}", *left, *right]


def terms(formula: str, comparison: Comparison, n: int) -> tuple[str, np.ndarray]:
    """The vectors whose product with the query's, or with v_a, is the score; and their name."""
    if comparison.vector is None:
        return "k'" if "k'" in formula else "k", comparison.right
    return "tanh(q' + k')", np.tanh(comparison.left[n] + comparison.right)


def energies(
    pieces: Sequence[str],
    vectors: tuple[str, np.ndarray],
    products: tuple[str, np.ndarray],
    scaled: tuple[str, np.ndarray],
    masked: np.ndarray,
    gain: np.ndarray | None,
    weights: np.ndarray,
) -> list[str]:
    """A table of one query with a line for each token that may be attended to: from vectors to weights.

    Args:
        pieces: the tokens.
        vectors: what the query is multiplied by, and its name.
        products: with each token, and their name.
        scaled: the products times a factor, and the factor's name.
        masked: -inf where the mask or the window forbids attention.
        gain: what multiplies the softmax; None: nothing.
        weights: the result.
    """
    width, last = max(map(len, pieces)), "softmax" if gain is None else f"{'gain':>8} {'weight':>8}"
    head = f"   {'':{width}}  {vectors[0]:{WIDTH}} {products[0]:>8} {scaled[0]:>10} {'mask':>8} {last:>8}"
    lines = []
    for n, piece in enumerate(pieces):
        mask = "" if np.isfinite(masked[n]) else "-inf"
        factor = "" if gain is None else f"{gain[n]:8.3f} "
        lines.append(
            f"   {piece:{width}}  {vector(vectors[1][n]):{WIDTH}} {products[1][n]:8.2f} {scaled[1][n]:10.2f} "
            f"{mask:>8} {factor}{weights[n]:8.3f} {bar(float(weights[n]))}"
        )
    return [head, *lines, f"   {largest(pieces, masked)}"]


def largest(pieces: Sequence[str], energies: np.ndarray) -> str:
    """The softmax of the largest energy of a row, with its numbers."""
    if not np.isfinite(energies).any():
        return "No token may be attended to: every weight is 0."
    n, total = int(energies.argmax()), np.exp(energies).sum()
    return f"softmax of {pieces[n]}: exp({energies[n]:.2f}) / {total:.3g} = {np.exp(energies[n]) / total:.3f}"


def weighted(pieces: Sequence[str], weights: np.ndarray, values: np.ndarray, context: np.ndarray) -> list[str]:
    """A sum of weighted values: a line for each token that has a weight."""
    width = max(len("= context"), *(len(piece) + 8 for piece in pieces))
    lines = [
        f"   {piece:{width - 8}} {weight:5.3f} * {vector(value)}"
        for piece, weight, value in zip(pieces, weights, values, strict=True)
        if weight > 0
    ]
    return [*lines, f"   {'= context':{width}} {vector(context)}"]


def predicted(prediction: Prediction, n: int) -> list[str]:
    """The table of predictions after token n."""
    words, total = prediction.words[n], prediction.total[n]
    width = max(map(len, words))
    return [
        f"   log of the sum of exp(logit) over all {prediction.vocabulary} tokens: {total:.3f}",
        f"   {'':{width}} {'logit':>9} {'probability = exp(logit - ' + format(total, '.3f') + ')':>38}",
        *(
            f"   {word:{width}} {logit:9.3f} {probability:38.3f} {bar(probability)}"
            for word, logit, probability in zip(
                words, prediction.logits[n].tolist(), prediction.probabilities[n].tolist(), strict=True
            )
        ),
    ]
