"""The steps as text for a terminal: the computation of one token in some heads, and the whole matrix as shades."""

from collections.abc import Sequence

import numpy as np

from transformer.explain.steps import Head, Steps
from transformer.special_tokens import BOS, EOS, PAD, SPECIAL_TOKENS

SHADES = " ░▒▓█"
SHOWN = 4
"""Printed numbers of a vector."""
SPECIAL = {
    SPECIAL_TOKENS[BOS]: "begins the translation",
    SPECIAL_TOKENS[EOS]: "ends the sentence",
    SPECIAL_TOKENS[PAD]: "fills up the shorter sentences of a batch; it is here to show the effect of the mask",
}


def text(steps: Steps, focus: int, heads: Sequence[int]) -> str:
    """The explanation.

    Args:
        steps: of one layer.
        focus: the token whose computation is shown, from 0.
        heads: the heads to show.
    """
    D, K = steps.read.shape[-1], steps.heads[0].query.shape[-1]
    token = steps.pieces[focus]
    lines = [
        f"Self-attention of the {steps.kind}, layer {steps.layer}: {len(steps.pieces)} tokens, width D = {D}, "
        f"{len(steps.heads)} heads of width K = {K}",
        "",
        f"1. Tokens    {'  '.join(steps.pieces)}",
        *(f"   {token:9} {what}" for token, what in SPECIAL.items() if token in steps.pieces),
        "",
        f'2. Embedding of "{token}" times sqrt(D), plus the encoding of position {focus}; the sum is the input of '
        "layer 0",
        f"   embedding {_vector(steps.embedding[focus])}",
        f"   position  {_vector(steps.positions[focus])}",
        "",
        f"3. Input of layer {steps.layer}" + (", after its LayerNorm" if steps.normed else ""),
        f"   x         {_vector(steps.read[focus])}",
    ]
    if len(heads) < len(steps.heads):
        shown = ", ".join(map(str, heads))
        lines += ["", f"Shown of the {len(steps.heads)} heads: {shown}; --heads chooses others, --page shows all"]
    for number in heads:
        lines += ["", *_head(steps, steps.heads[number], focus)]
    lines += [
        "",
        f"8. Output: the concatenated contexts of all {len(steps.heads)} heads, times W_O",
        f"   output    {_vector(steps.output[focus])}",
    ]
    return "\n".join(lines)


def _head(steps: Steps, head: Head, focus: int) -> list[str]:
    root = f"/ sqrt({head.query.shape[-1]})" if steps.is_scaled else "not scaled"
    width = max(len(piece) for piece in steps.pieces)
    lines = [
        f"== Head {head.number} " + "=" * 60,
        f"4. Its query q = x W_Q   {_vector(head.query[focus])}",
        "5. Each token's key k = x W_K, the score q·k, scaled, the mask, and the softmax of the row",
        f"   {'':{width}}  {'key':{8 * SHOWN + 2}} {'q·k':>8} {root:>10} {'mask':>8} {'softmax':>8}",
    ]
    for n, piece in enumerate(steps.pieces):
        allowed = steps.mask[focus, n]
        lines.append(
            f"   {piece:{width}}  {_vector(head.key[n]):{8 * SHOWN + 2}} {head.scores[focus, n]:8.2f} "
            f"{head.scaled[focus, n]:10.2f} {'' if allowed else '-inf':>8} {head.weights[focus, n]:8.3f} "
            + "█"
            * round(20 * float(head.weights[focus, n]))
        )
    return [
        *lines,
        f"6. Context: the weighted sum of the values v = x W_V   {_vector(head.context[focus])}",
        "7. The whole matrix: each row holds the weights of one token; darker is larger",
        *(f"   {piece:>{width}} {_shades(row)}" for piece, row in zip(steps.pieces, head.weights, strict=True)),
    ]


def _vector(values: np.ndarray) -> str:
    more = " ..." if len(values) > SHOWN else ""
    return "[" + " ".join(f"{value:7.2f}" for value in values[:SHOWN]) + more + "]"


def _shades(row: np.ndarray) -> str:
    return "".join(SHADES[min(len(SHADES) - 1, int(np.ceil(weight * (len(SHADES) - 1) - 0.1)))] * 2 for weight in row)
