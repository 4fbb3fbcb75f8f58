"""Drawings of a translation model on one sentence: in training all positions at once, in translation one by one."""

from collections.abc import Sequence
from html import escape

from transformer.special_tokens import BOS, EOS, SPECIAL_TOKENS

SOURCE = ("the", "dog", "sleeps", ".", SPECIAL_TOKENS[EOS])
TARGET = ("der", "Hund", "schläft", ".", SPECIAL_TOKENS[EOS])
READ = (SPECIAL_TOKENS[BOS], *TARGET[:-1])
"""The decoder's input: the target, shifted right."""
CELL, BOX, HEIGHT = 84, 66, 408
"""Pixels: the distance of two positions, the width of a token, the height of a drawing."""


def training() -> str:
    """Teacher forcing: every position reads the target's own tokens before it, and all predict at once."""
    parts = _model("decoder: all positions at once", ("special", *["target"] * (len(READ) - 1)))
    parts.append(_note(8, 18, "The loss compares each prediction with the target's token."))
    parts.append(_note(8, 262, "The input is the target, shifted right behind <s>."))
    return _svg(parts, "Training: teacher forcing")


def inference() -> str:
    """The loop: each prediction is the next input."""
    parts = []
    for position in range(len(READ) - 1):  # from a prediction, behind the decoder, to the next input
        x, end = _x(position) + BOX / 2, _x(position + 1) - 20
        curve = f"M{x} 64 C{x + 14} 64 {x + 9} 120 {x + 9} 150 C{x + 9} 190 {end} 180 {end} 207"
        parts.append(f'<path class="feed" d="{curve}" marker-end="url(#tip)"/>')
    parts += _model("decoder: one step for each token", ("special", *["predicted"] * (len(READ) - 1)))
    parts += [_note(_x(position) - 17, 107, str(position + 1)) for position in range(len(READ))]
    parts.append(_note(8, 18, "Each prediction is the input of the next step, until </s>."))
    parts.append(_note(8, 262, "Keys and values of earlier steps are cached."))
    return _svg(parts, "Translation: the loop")


def _model(decoder: str, kinds: Sequence[str]) -> list[str]:
    """Source, encoder, decoder, its inputs and its predictions."""
    parts = [_part("encoder", 290), _part(decoder, 124)]
    for position, word in enumerate(SOURCE):
        parts += [_token(word, position, 370, "source"), _arrow(_x(position), 370, 335)]
    parts += [_arrow(_x(len(SOURCE) - 1) + 24, 290, 169), _note(_x(len(SOURCE) - 1) - 40, 262, "memory")]
    for position, (word, kind, answer) in enumerate(zip(READ, kinds, TARGET, strict=True)):
        parts += [_token(word, position, 210, kind), _arrow(_x(position), 210, 169)]
        parts += [_arrow(_x(position), 124, 79), _token(answer, position, 50, "predicted")]
    return parts


def _svg(parts: Sequence[str], title: str) -> str:
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    return (
        f'<svg class="drawing" viewBox="0 0 {CELL * len(TARGET)} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{tip}{"".join(parts)}</svg>\n'
    )


def _x(position: int) -> float:
    return CELL * position + CELL / 2


def _part(label: str, top: int) -> str:
    width = CELL * len(TARGET) - 8
    return (
        f'<rect class="part" x="4" y="{top}" width="{width}" height="42" rx="6"/>'
        f'<text class="label" x="{4 + width / 2}" y="{top + 26}" text-anchor="middle">{escape(label)}</text>'
    )


def _token(word: str, position: int, top: int, kind: str) -> str:
    return (
        f'<rect class="token {kind}" x="{_x(position) - BOX / 2}" y="{top}" width="{BOX}" height="28" rx="4"/>'
        f'<text x="{_x(position)}" y="{top + 18.5}" text-anchor="middle">{escape(word)}</text>'
    )


def _arrow(x: float, start: int, end: int) -> str:
    return f'<path class="arrow" d="M{x} {start}L{x} {end}" marker-end="url(#tip)"/>'


def _note(x: float, y: float, text: str) -> str:
    return f'<text class="note" x="{x}" y="{y}">{escape(text)}</text>'
