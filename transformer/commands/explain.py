"""`transformer explain`: the steps of self-attention in one layer, in the terminal and on a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from transformer.commands.options import Checkpoint, Command, RunFolder, read_translation, refuse_existing
from transformer.errors import UsageError
from transformer.models.transformer.config import Transformer

if TYPE_CHECKING:
    from transformer.api import TrainedModel
    from transformer.explain.steps import Steps


@dataclass(frozen=True)
class Explain(Command):
    """Explain self-attention step by step, on one sentence of a trained Transformer.

    Embedding, position, query, key, value, scores, scaling, mask, softmax, context.
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
    """The decoder's masked self-attention over the model's own translation, instead of the encoder's."""
    page: str = ""
    """A new HTML file with all of it to click through: every head, token and matrix."""
    checkpoint: Checkpoint = "auto"

    @property
    def place(self) -> str:
        return "decoder" if self.decoder else "encoder"

    def check(self) -> None:
        refuse_existing("--page", self.page)
        model = read_translation(self.run).model
        if not isinstance(model, Transformer):
            raise UsageError(
                f"{self.run} is no Transformer, whose self-attention this command explains: try `transformer align`"
            )
        other = self.place in model.attention.places and model.attention
        if other and (other.score not in ("dot", "scaled_dot") or other.window != "global"):
            raise UsageError(
                f"the steps are those of dot-product attention over everything; the {self.place} of {self.run} has "
                f"score={other.score}, window={other.window}"
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
        from transformer.explain.terminal import text

        model = api.load(self.run, self.checkpoint)
        steps, focus = _steps(self, model)
        focus = focus if self.token is None else self.token
        if not 0 <= focus < len(steps.pieces):
            raise UsageError(f"--token={focus}: the sentence has tokens 0 to {len(steps.pieces) - 1}: {steps.pieces}")
        settings: Any = model.settings.model
        heads = self.heads or tuple(range(min(4, settings.attention.heads)))
        print(text(steps, focus, heads))
        if self.page:
            about = {"run": Path(self.run).name, "checkpoint": model.checkpoint}
            write_page(Path(self.page), steps, self.sentence, about, focus)
            print(f"\nas a page: {self.page}")


def _steps(options: Explain, model: "TrainedModel") -> "tuple[Steps, int]":
    """The steps of the layer, and a whole word near the middle."""
    from transformer.explain.steps import decoder_steps, encoder_steps, middle_word
    from transformer.special_tokens import BOS, EOS, PAD

    network: Any = model.build(model.parameters)
    settings: Any = model.settings.model
    tokenizers, limit = model.tokenizers, settings.max_length
    sentence = tokenizers.source.segment(options.sentence)
    source = [*sentence.tokens, EOS]
    most = limit if options.decoder else limit - 1  # the encoder's steps show one position of padding
    if len(source) == 1:
        raise UsageError("there is no sentence to explain")
    if len(source) > most:
        raise UsageError(f"the sentence has {len(source)} tokens, and {most} can be shown: give a shorter one")
    if not options.decoder:
        padded = [*source, PAD]
        steps = encoder_steps(network, padded, tokenizers.source.pieces(padded), options.layer)
        return steps, middle_word(steps.pieces, [*sentence.word_ids, -1, -1])
    (hypothesis,) = model.search([options.sentence])
    print(f"translation: {hypothesis.text}\n")
    target = [BOS, *hypothesis.tokens]
    steps = decoder_steps(network, source, target, tokenizers.target.pieces(target), options.layer)
    return steps, middle_word(steps.pieces, [-1, *hypothesis.sentence(tokenizers.target).word_ids])
