"""`transformer explain`: the steps of one layer, in the terminal and on a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from transformer.attention.config import SCORES, WINDOWS
from transformer.commands.options import Checkpoint, Command, RunFolder, read_translation, refuse_existing
from transformer.errors import UsageError
from transformer.models.composed.config import Composed
from transformer.models.transformer.config import Transformer

if TYPE_CHECKING:
    from transformer.api import TrainedModel
    from transformer.explain.transformer.steps import Steps


@dataclass(frozen=True)
class Explain(Command):
    """Explain a layer of a trained Transformer step by step, on one sentence.

    Embedding and position; queries, keys, values, scores, mask, softmax and context of each head; heads merged; add and
    norm; in the decoder attention to the source; the feed-forward network; after the decoder's last layer the next
    word. All numbers are computed in NumPy and compared with the model's own.
    """

    memory = "give a shorter sentence"
    run: RunFolder
    sentence: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SENTENCE")]
    """Sentence in the source language."""
    layer: int = 0
    """Layer of the encoder or decoder, from 0."""
    heads: tuple[int, ...] = ()
    """Heads, from 0, that are shown one after the other; the default is the first four."""
    token: int | None = None
    """The token that is followed through the steps, from 0; the default is a whole word near the middle."""
    decoder: bool = False
    """A layer of the decoder, over the model's own translation, instead of the encoder's."""
    page: str = ""
    """A new HTML file with all of it to click through: every head, token and matrix."""
    checkpoint: Checkpoint = "auto"

    @property
    def place(self) -> str:
        return "decoder" if self.decoder else "encoder"

    def check(self) -> None:
        refuse_existing("--page", self.page)
        model = _half(read_translation(self.run).model, self.place)
        if not isinstance(model, Transformer):
            raise UsageError(
                f"the {self.place} of {self.run} is no Transformer, whose layers this command explains: try "
                "`transformer align`"
            )
        for attention in map(model.attention_of, ("decoder", "cross") if self.decoder else ("encoder",)):
            if attention.score not in SCORES or attention.window not in WINDOWS:
                raise UsageError(
                    f"the {self.place} of {self.run} has score={attention.score}, window={attention.window}, and only "
                    f"the built-in ones are explained: {', '.join((*SCORES, *WINDOWS))}"
                )
            if attention.normalizer != "softmax":
                raise UsageError(
                    f"the {self.place} of {self.run} has normalizer={attention.normalizer}, and only a softmax is "
                    "explained: try `transformer align`"
                )
        layers = model.decoder_layers if self.decoder else model.encoder_layers
        if not 0 <= self.layer < layers:
            raise UsageError(f"--layer={self.layer}: the {self.place} has layers 0 to {layers - 1}")
        if not all(0 <= head < model.attention.heads for head in self.heads):
            raise UsageError(f"--heads: give some of 0 to {model.attention.heads - 1}")
        if any("\ud800" <= letter <= "\udfff" for letter in self.sentence):
            raise UsageError("the sentence is not UTF-8")

    def execute(self) -> None:
        """Print the steps, and write them as a page where one is asked for."""
        from transformer import api
        from transformer.explain.page import write_page
        from transformer.explain.transformer.terminal import text

        model = api.load(self.run, self.checkpoint)
        steps, focus = _steps(self, model)
        focus = focus if self.token is None else self.token
        if not 0 <= focus < len(steps.pieces):
            raise UsageError(f"--token={focus}: the sentence has tokens 0 to {len(steps.pieces) - 1}: {steps.pieces}")
        heads = self.heads or tuple(range(min(4, len(steps.attention.heads))))
        print(text(steps, focus, heads))
        if self.page:
            about = {"run": Path(self.run).name, "checkpoint": model.checkpoint}
            write_page(Path(self.page), steps, self.sentence, about, focus)
            print(f"\nas a page: {self.page}")


def _half(model: Any, place: str) -> Any:
    """The settings of the encoder or the decoder."""
    while isinstance(model, Composed):
        model = getattr(model, place)
    return model


def _steps(options: Explain, model: "TrainedModel") -> "tuple[Steps, int]":
    """The steps of the layer, and a whole word near the middle."""
    import jax.numpy as jnp

    from transformer.explain.transformer.steps import decoder_steps, encoder_steps
    from transformer.explain.words import middle_word
    from transformer.models.composed.model import Encoder as ComposedModel
    from transformer.special_tokens import BOS, EOS, PAD

    network: Any = model.build(model.parameters)
    tokenizers, limit, half = model.tokenizers, model.model.max_length, network
    while isinstance(half, ComposedModel):
        half = getattr(half, options.place)
    sentence = tokenizers.source.segment(options.sentence)
    source = [*sentence.tokens, EOS]
    most = limit if options.decoder else limit - 1  # the encoder's steps show one position of padding
    if len(source) == 1:
        raise UsageError("there is no sentence to explain")
    if len(source) > most:
        raise UsageError(f"the sentence has {len(source)} tokens, and {most} can be shown: give a shorter one")
    padded = [*source, PAD][:limit]
    pieces = tokenizers.source.pieces(padded)
    if not options.decoder:
        steps = encoder_steps(half, padded, pieces, options.layer)
        return steps, middle_word(steps.pieces, [*sentence.word_ids, -1, -1])
    (hypothesis,) = model.search([options.sentence])
    print(f"translation: {hypothesis.text}\n")
    target = [BOS, *hypothesis.tokens]
    written = tokenizers.target.pieces(target)
    memory = network.encode(jnp.asarray(padded, jnp.int32)[None])
    steps = decoder_steps(half, memory, pieces, target, written, options.layer, tokenizers.target.pieces)
    return steps, middle_word(steps.pieces, [-1, *hypothesis.sentence(tokenizers.target).word_ids])
