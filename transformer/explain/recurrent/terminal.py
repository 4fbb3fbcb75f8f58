"""The steps of a recurrent decoder as text for a terminal: one token, and the weights of all as shades."""

from collections.abc import Sequence

from transformer.explain.recurrent.cells import Part
from transformer.explain.recurrent.steps import Steps
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
from transformer.plurals import counted

TITLES = {
    "luong": "Readout: the attentional vector h~, from which the next token is predicted",
    "bahdanau": "Readout: a deep output with maxout, from which the next token is predicted",
}
RESET = "The reset gate acts before the product with U (Cho 2014); cuDNN's GRU, and PyTorch's, resets after it."


def text(steps: Steps, focus: int) -> str:
    """The explanation of the step that reads token `focus`."""
    token, H = steps.pieces[focus], steps.layers[0][0].values.shape[-1]
    page = Numbered(
        f"Recurrent decoder ({steps.kind}) with {counted(len(steps.layers), f'{steps.cell.upper()} layer')} of width "
        f"H = {H}: step {focus} of 0 to {len(steps.pieces) - 1}",
        f"The first {SHOWN} numbers of each vector are shown; they are computed with all digits and then rounded.",
    )
    page.add(
        f"Source    {'  '.join(steps.source)}",
        f"   Target    {'  '.join(steps.pieces)}",
        f'   This step reads "{token}" and predicts the next token.',
        *special((*steps.source, *steps.pieces)),
    )
    if steps.kind == "bahdanau":
        _attention(page, steps, focus, "the state before, s")
    _cells(page, steps, focus)
    if steps.kind == "luong":
        _attention(page, steps, focus, "the new state, h'")
    title = TITLES[steps.kind] if steps.attention or steps.kind == "bahdanau" else "Readout: the state itself"
    page.add(title, *_parts(steps.readout, focus))
    page.add(
        f'The next token after "{token}": a logit is the inner product with a word\'s vector, plus its bias; then the '
        "softmax",
        *predicted(steps.prediction, focus),
        "   States, weights and logits equal those of the model's own search.",
    )
    return "\n".join(page.lines)


def _cells(page: Numbered, steps: Steps, focus: int) -> None:
    """The cell of each layer."""
    x = "[" + "; ".join(part.name for part in steps.inputs) + "]"
    for number, parts in enumerate(steps.layers):
        title = f"The {steps.cell.upper()} cell of layer {number}, whose input x is "
        if number == 0:
            page.add(title + x, *_parts([*steps.inputs, *parts], focus))
        else:
            page.add(title + "the new state of the layer below", *_parts(parts, focus))
    if steps.cell == "gru":
        page.lines.append(f"   {RESET}")


def _attention(page: Numbered, steps: Steps, focus: int, query: str) -> None:
    """Scores, softmax and context."""
    attention = steps.attention
    if attention is None:
        page.lines += ["", "This decoder has no attention."]
        return
    comparison, cut = attention.comparison, attention.window
    page.add(f"The query q is {query}", named("q", attention.query[focus]))
    page.lines += compared(attention.score, attention.formula, comparison, focus)
    if cut is not None:
        page.lines.append(f"   The window is centred on source token {cut.centre[focus]:.2f}, counted from 0.")
    factor = "not scaled" if comparison.factor is None else f"* {comparison.factor[focus]:.2f}"
    gain = None if cut is None else cut.gain
    page.add(
        "The score of each source token, the mask, and the softmax" + ("" if gain is None else ", times the Gaussian"),
        *energies(
            steps.source,
            terms(attention.formula, comparison, focus),
            ("product", comparison.products[focus]),
            (factor, comparison.energies[focus]),
            attention.masked[focus],
            None if gain is None else gain[focus],
            attention.weights[focus],
        ),
    )
    page.add(
        "Context: the sum of the encoder's states, each times its weight",
        *weighted(steps.source, attention.weights[focus], attention.memory, attention.context[focus]),
    )
    width = max(map(len, steps.pieces))
    page.add(
        "The weights of all steps: a row for each token read, a column for each source token; darker is larger",
        *(f"   {piece:>{width}} {shades(row)}" for piece, row in zip(steps.pieces, attention.weights, strict=True)),
    )


def _parts(parts: Sequence[Part], focus: int) -> list[str]:
    width = max(len(part.name) for part in parts) + 1
    return [f"   {part.name:{width}} {vector(part.values[focus])}  {part.formula}" for part in parts]
