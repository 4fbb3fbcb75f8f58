"""The steps as text for a terminal: one token's way through one or more heads, and the whole matrix in shades."""

from collections.abc import Sequence

import numpy as np

from transformer.explain.steps import Head, Steps

SHADES = " ░▒▓█"
SHOWN = 4
"""Numbers of a vector that are printed."""


def text(steps: Steps, focus: int, heads: Sequence[int]) -> str:
    """The explanation.

    Args:
        steps: of one layer.
        focus: the token whose row is followed, from 0.
        heads: which of the heads, one after the other.
    """
    D, K = steps.read.shape[-1], steps.heads[0].query.shape[-1]
    token = steps.pieces[focus]
    lines = [
        f"Self-attention of the {steps.kind}, layer {steps.layer}: {len(steps.pieces)} tokens, width D = {D}, "
        f"{len(steps.heads)} heads of width K = {K}",
        "",
        f"1. Tokens    {'  '.join(steps.pieces)}",
        "",
        f'2. Embedding of "{token}" times sqrt(D), plus its place (number {focus}); the sum goes into the first layer',
        f"   embedding {_vector(steps.embedding[focus])}",
        f"   place     {_vector(steps.positions[focus])}",
        "",
        f"3. Read by layer {steps.layer}" + (", through its LayerNorm" if steps.normed else ""),
        f"   x         {_vector(steps.read[focus])}",
    ]
    for number in heads:
        lines += ["", *_head(steps, steps.heads[number], focus)]
    lines += [
        "",
        f"8. Output: the contexts of all {len(steps.heads)} heads side by side, times W_O",
        f"   output    {_vector(steps.output[focus])}",
    ]
    return "\n".join(lines)


def _head(steps: Steps, head: Head, focus: int) -> list[str]:
    root = f"/ sqrt({head.query.shape[-1]})" if steps.is_scaled else "not scaled"
    width = max(len(piece) for piece in steps.pieces)
    lines = [
        f"== Head {head.number} " + "=" * 60,
        f"4. Its query q = x W_Q   {_vector(head.query[focus])}",
        "5. Each token's key k = x W_K, the score q·k, scaled, where it may look, and the softmax of the row",
        f"   {'':{width}}  {'key':{8 * SHOWN + 2}} {'q·k':>8} {root:>10} {'mask':>8} {'softmax':>8}",
    ]
    for place, piece in enumerate(steps.pieces):
        seen = steps.mask[focus, place]
        lines.append(
            f"   {piece:{width}}  {_vector(head.key[place]):{8 * SHOWN + 2}} {head.scores[focus, place]:8.2f} "
            f"{head.scaled[focus, place]:10.2f} {'' if seen else '-inf':>8} {head.weights[focus, place]:8.3f} "
            + "█"
            * round(20 * float(head.weights[focus, place]))
        )
    return [
        *lines,
        f"6. Context: the values v = x W_V, weighed and summed   {_vector(head.context[focus])}",
        "7. The whole matrix: each row is a token that looks, darker is more",
        *(f"   {piece:>{width}} {_shades(row)}" for piece, row in zip(steps.pieces, head.weights, strict=True)),
    ]


def _vector(values: np.ndarray) -> str:
    more = " ..." if len(values) > SHOWN else ""
    return "[" + " ".join(f"{value:7.2f}" for value in values[:SHOWN]) + more + "]"


def _shades(row: np.ndarray) -> str:
    return "".join(SHADES[min(len(SHADES) - 1, int(np.ceil(weight * (len(SHADES) - 1) - 0.1)))] * 2 for weight in row)
