"""The steps of a layer as text for a terminal: the computation of one token, and whole matrices as shades."""

from collections.abc import Sequence

import numpy as np

from transformer.explain.text import (
    SHOWN,
    Numbered,
    compared,
    energies,
    named,
    predicted,
    shades,
    special,
    terms,
    vector,
    weighted,
)
from transformer.explain.transformer.attention import Attention, Head, joined
from transformer.explain.transformer.layer import FeedForward, Norm, Residual
from transformer.explain.transformer.steps import Steps
from transformer.plurals import counted


def text(steps: Steps, focus: int, heads: Sequence[int]) -> str:
    """The explanation.

    Args:
        steps: of one layer.
        focus: the token whose computation is shown, from 0.
        heads: the heads to show.
    """
    own, residual = steps.attention, steps.attention_residual
    D, K = own.read.shape[-1], own.heads[0].query.shape[-1]
    token = steps.pieces[focus]
    page = Numbered(
        f"Layer {steps.layer} of the {steps.kind}'s {counted(steps.layers, 'layer')}: "
        f"{counted(len(steps.pieces), 'token')}, width D = {D}, {counted(len(own.heads), 'head')} of width K = {K}",
        f"The first {SHOWN} numbers of each vector are shown; they are computed with all digits and then rounded.",
    )
    page.add(f"Tokens    {'  '.join(steps.pieces)}", *special(steps.pieces))
    scaled = " times sqrt(D)" if steps.is_scaled else ""
    page.add(
        f'Embedding of "{token}"{scaled}, plus the encoding of position {focus}; the sum is the input of layer 0',
        named("embedding", steps.embedding[focus]),
        named("position", steps.positions[focus]),
        named("sum", steps.embedding[focus] + steps.positions[focus]),
    )
    title = f"Input of layer {steps.layer}" + (", after its LayerNorm" if steps.normed else "")
    page.add(title, *_entered(residual, focus))
    _attention(page, steps, own, focus, heads)
    _add(page, residual, own.output, focus)
    if steps.cross is not None and steps.cross_residual is not None:
        page.add(
            "Attention to the source: queries are computed from x, keys and values from the encoder's output",
            f"   source    {'  '.join(steps.cross.pieces)}",
            *_entered(steps.cross_residual, focus),
        )
        _attention(page, steps, steps.cross, focus, heads)
        _add(page, steps.cross_residual, steps.cross.output, focus)
    last = steps.feedforward_residual
    if last.entry is not None:
        page.add("Norm before the feed-forward network", *_norm(last.entry, last.before, focus))
    _feed_forward(page, steps.feedforward, focus)
    _add(page, last, steps.feedforward.output, focus)
    page.lines += [f"   This is the output of layer {steps.layer}. It equals the model's own."]
    if steps.final is not None:
        page.add(f"Norm after the last layer of the {steps.kind}", *_norm(steps.final, last.after, focus))
    if steps.prediction is not None:
        title = f'The next token after "{token}": a logit is the inner product with a word\'s vector; then the softmax'
        page.add(title, *predicted(steps.prediction, focus))
    elif steps.kind == "decoder":
        page.lines += ["", f"The last layer predicts the next token: --layer {steps.layers - 1}"]
    return "\n".join(page.lines)


def _entered(residual: Residual, focus: int) -> list[str]:
    """The input of a sub-layer."""
    if residual.entry is None:
        return [named("x", residual.before[focus])]
    return _norm(residual.entry, residual.before, focus)


def _attention(page: Numbered, steps: Steps, attention: Attention, focus: int, heads: Sequence[int]) -> None:
    """The heads, and the output of all of them."""
    H, K = len(attention.heads), attention.heads[0].query.shape[-1]
    if len(heads) < H:
        shown = ", ".join(map(str, heads))
        page.lines += ["", f"Shown of the {H} heads: {shown}; --heads chooses others, --page shows all"]
    begin = page.step
    for number in heads:
        page.step = begin
        page.lines += ["", f"== Head {number} " + "=" * 60]
        _head(page, steps.pieces, attention, attention.heads[number], focus)
    merged = joined(attention.heads)[focus]
    page.add(
        f"Output: the contexts of all {H} heads, concatenated to {H} x {K} = {len(merged)} numbers, times W_O"
        + " + b_O" * attention.has_bias,
        *(named(f"head {head.number}", head.context[focus]) for head in attention.heads),
        named("output", attention.output[focus]),
    )


def _head(page: Numbered, pieces: Sequence[str], attention: Attention, head: Head, focus: int) -> None:
    K = head.query.shape[-1]
    first, last = head.number * K, (head.number + 1) * K - 1
    bias = " + b_Q" * attention.has_bias
    page.add(f"Its query q = x W_Q{bias}, numbers {first} to {last} of all heads'   {vector(head.query[focus])}")
    comparison, gain = head.comparison, head.gain
    vectors, product = ("key", head.key), "q·k"
    factor = f"/ sqrt({K})" if attention.is_scaled else "not scaled"
    if comparison is not None:
        page.lines += compared(attention.score, attention.formula, comparison, focus)
        vectors, product = terms(attention.formula, comparison, focus), "product"
        factor = factor if comparison.factor is None else f"* {comparison.factor[focus]:.2f}"
    score = "q·k" if comparison is None else attention.score
    page.add(
        f"Each token's key k = x W_K, the score {score}, scaled, the mask, and the softmax of the row"
        + ("" if gain is None else ", times the window's Gaussian"),
        *energies(
            attention.pieces,
            vectors,
            (product, head.scores[focus]),
            (factor, head.scaled[focus]),
            head.masked[focus],
            None if gain is None else gain[focus],
            head.weights[focus],
        ),
    )
    page.add(
        "Context: the sum of the values v = x W_V, each times its weight",
        *weighted(attention.pieces, head.weights[focus], head.value, head.context[focus]),
    )
    width = max(map(len, pieces))
    page.add(
        "The whole matrix: each row holds the weights of one token; darker is larger",
        *(f"   {piece:>{width}} {shades(row)}" for piece, row in zip(pieces, head.weights, strict=True)),
    )


def _add(page: Numbered, residual: Residual, output: np.ndarray, focus: int) -> None:
    """The residual connection after a sub-layer."""
    lines = [
        named("x", residual.before[focus]),
        named("+ output", output[focus]),
        named("= sum", residual.total[focus]),
    ]
    if residual.norm is None:
        page.add("Add: x plus the output", *lines)
    else:
        page.add(
            "Add and norm: x plus the output, normalised", *lines, *_norm(residual.norm, residual.total, focus)[1:]
        )


def _norm(norm: Norm, x: np.ndarray, focus: int) -> list[str]:
    """The numbers of a normalisation."""
    mean, deviation = norm.mean[focus], norm.deviation[focus]
    return [
        named("x", x[focus]),
        f"   mean of all {x.shape[-1]} numbers {mean:.3f}, standard deviation {deviation:.3f}",
        named(f"(- {mean:.3f}) / {deviation:.3f}", (x[focus] - mean) / deviation, 22),
        named("* scale", norm.scale, 22),
        named("+ shift", norm.shift, 22),
        named("= normalised", norm.output[focus], 22),
    ]


def _feed_forward(page: Numbered, feedforward: FeedForward, focus: int) -> None:
    """The feed-forward network."""
    F, name = feedforward.inner.shape[-1], feedforward.activation
    gate = feedforward.gate is not None
    page.add(
        f"Feed-forward: each token independently to F = {F} numbers, {name}, and back",
        named("x W_1 + b_1", feedforward.inner[focus], 22),
        *([] if feedforward.gate is None else [named("gate x V", feedforward.gate[focus], 22)]),
        named("silu(gate) * inner" if gate else f"{name} of each", feedforward.hidden[focus], 22),
        f"   {np.sum(feedforward.hidden[focus] == 0)} of these {F} numbers are zero",
        named("times W_2 + b_2", feedforward.output[focus], 22),
    )
