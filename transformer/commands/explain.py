"""`transformer explain`: the steps of a Transformer's layer or a recurrent decoder, in the terminal and on a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from transformer.attention.config import SCORES, WINDOWS, Attention
from transformer.commands.options import Checkpoint, Command, RunFolder, read_translation, refuse_existing
from transformer.errors import UsageError
from transformer.models.composed.config import Composed
from transformer.models.rnn.config import Rnn
from transformer.models.transformer.config import Transformer

if TYPE_CHECKING:
    from transformer.api import TrainedModel


@dataclass(frozen=True)
class Explain(Command):
    """Explain a trained model step by step, on one sentence.

    For a Transformer, one layer: embedding and position; queries, keys, values, scores, mask, softmax and context of
    each head; heads merged; add and norm; in the decoder, attention to the source; the feed-forward network; after the
    decoder's last layer, the next word. For a recurrent decoder, one token: its cell with the gates, the score of each
    source word, window, softmax and context, the readout, the next word. All numbers are computed in NumPy and compared
    with the model's own.
    """

    memory = "give a shorter sentence"
    run: RunFolder
    sentence: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SENTENCE")]
    """Sentence in the source language."""
    layer: int = 0
    """Layer of a Transformer's encoder or decoder, from 0."""
    heads: tuple[int, ...] = ()
    """Heads of a Transformer, from 0, that are shown one after the other; the default is the first four."""
    token: int | None = None
    """The token that is followed through the steps, from 0; the default is a whole word near the middle. A recurrent
    decoder reads it in the step that is shown."""
    decoder: bool = False
    """The decoder, over the model's own translation, instead of the encoder; always so if the encoder is recurrent."""
    page: str = ""
    """A new HTML file with every head, token and matrix, to click through."""
    checkpoint: Checkpoint = "auto"

    def check(self) -> None:
        refuse_existing("--page", self.page)
        model = read_translation(self.run).model
        place = side(model, decoder=self.decoder)
        half = _half(model, place)
        if isinstance(half, Transformer):
            self._check_transformer(half, place)
        elif isinstance(half, Rnn):
            _check_built_in(self.run, place, half.attention, "none")
            if self.layer:
                raise UsageError(f"--layer={self.layer}: a recurrent decoder is shown with all layers; leave it out")
            if self.heads:
                raise UsageError("--heads: the attention of a recurrent decoder has no heads; leave it out")
        else:
            raise UsageError(
                f"the {place} of {self.run} is neither a Transformer nor recurrent, and only these are explained: try "
                "`transformer align`"
            )
        if any("\ud800" <= letter <= "\udfff" for letter in self.sentence):
            raise UsageError("the sentence is not UTF-8")

    def _check_transformer(self, model: Transformer, place: str) -> None:
        for attention in map(model.attention_of, ("decoder", "cross") if place == "decoder" else ("encoder",)):
            _check_built_in(self.run, place, attention)
        if model.positions not in ("sinusoidal", "learned", "none"):
            raise UsageError(
                f"the {place} of {self.run} has positions={model.positions}, and only those that are added to the "
                "embeddings are explained: try `transformer align`"
            )
        if model.attention.key_value_heads or model.attention.query_key_norm:
            raise UsageError(
                f"the {place} of {self.run} shares keys or normalises them (--model.attention.key-value-heads, "
                "--model.attention.query-key-norm), which is not explained: try `transformer align`"
            )
        if model.norm_kind != "layer":
            raise UsageError(
                f"the {place} of {self.run} has norm-kind={model.norm_kind}, and only LayerNorm is explained: try "
                "`transformer align`"
            )
        layers = model.decoder_layers if place == "decoder" else model.encoder_layers
        if not 0 <= self.layer < layers:
            raise UsageError(f"--layer={self.layer}: the {place} has layers 0 to {layers - 1}")
        if not all(0 <= head < model.attention.heads for head in self.heads):
            raise UsageError(f"--heads: give some of 0 to {model.attention.heads - 1}")

    def execute(self) -> None:
        """Print the steps, and write them as a page if one is requested."""
        from transformer import api
        from transformer.explain.page import write_page
        from transformer.explain.recurrent import terminal as recurrent
        from transformer.explain.recurrent.steps import Steps
        from transformer.explain.transformer import terminal as layer

        model = api.load(self.run, self.checkpoint)
        steps, focus = _steps(self, model)
        focus = focus if self.token is None else self.token
        if not 0 <= focus < len(steps.pieces):
            raise UsageError(f"--token={focus}: the sentence has tokens 0 to {len(steps.pieces) - 1}: {steps.pieces}")
        if isinstance(steps, Steps):
            print(recurrent.text(steps, focus))
        else:
            heads = self.heads or tuple(range(min(4, len(steps.attention.heads))))
            print(layer.text(steps, focus, heads))
        if self.page:
            about = {"run": Path(self.run).name, "checkpoint": model.checkpoint}
            write_page(Path(self.page), steps, self.sentence, about, focus)
            print(f"\nas a page: {self.page}")


def side(model: Any, *, decoder: bool) -> Literal["encoder", "decoder"]:
    """What is explained for a model with these settings: the decoder if it is requested, or if the encoder is recurrent
    and has no attention."""
    return "decoder" if decoder or isinstance(_half(model, "encoder"), Rnn) else "encoder"


def _half(model: Any, place: str) -> Any:
    """The settings of the encoder or the decoder."""
    while isinstance(model, Composed):
        model = getattr(model, place)
    return model


def _check_built_in(run: str, place: str, attention: Attention, *none: str) -> None:
    if attention.score not in (*SCORES, *none) or attention.window not in WINDOWS:
        raise UsageError(
            f"the {place} of {run} has score={attention.score}, window={attention.window}, and only the built-in ones "
            f"are explained: {', '.join((*SCORES, *WINDOWS))}"
        )
    if attention.mechanism != "standard":
        raise UsageError(
            f"the {place} of {run} has mechanism={attention.mechanism}, and only standard is explained: try "
            "`transformer align`"
        )
    if attention.normalizer != "softmax":
        raise UsageError(
            f"the {place} of {run} has normalizer={attention.normalizer}, and only a softmax is explained: try "
            "`transformer align`"
        )


def _steps(options: Explain, model: "TrainedModel") -> tuple[Any, int]:
    """The steps of the layer or of the recurrent decoder, and a whole word near the middle."""
    import jax.numpy as jnp

    from transformer.explain.recurrent import steps as recurrent
    from transformer.explain.transformer import steps as layer
    from transformer.explain.words import middle_word
    from transformer.models.composed.model import Encoder as ComposedModel
    from transformer.special_tokens import BOS, EOS, PAD

    place = side(model.model, decoder=options.decoder)
    network: Any = model.build(model.parameters)
    tokenizers, limit, half = model.tokenizers, model.model.max_length, network
    while isinstance(half, ComposedModel):
        half = getattr(half, place)
    sentence = tokenizers.source.segment(options.sentence)
    source = [*sentence.tokens, EOS]
    most = limit if place == "decoder" else limit - 1  # the encoder's steps show one position of padding
    if len(source) == 1:
        raise UsageError("there is no sentence to explain")
    if len(source) > most:
        raise UsageError(f"the sentence has {len(source)} tokens, and {most} can be shown: give a shorter one")
    padded = [*source, PAD][:limit]
    pieces = tokenizers.source.pieces(padded)
    if place == "encoder":
        steps = layer.encoder_steps(half, padded, pieces, options.layer)
        return steps, middle_word(steps.pieces, [*sentence.word_ids, -1, -1])
    (hypothesis,) = model.search([options.sentence])
    print(f"translation: {hypothesis.text}\n")
    target = [BOS, *hypothesis.tokens][:limit]
    written, names = tokenizers.target.pieces(target), tokenizers.target.pieces
    memory = network.encode(jnp.asarray(padded, jnp.int32)[None])
    middle = middle_word(written, [-1, *hypothesis.sentence(tokenizers.target).word_ids][: len(written)])
    if isinstance(_half(model.model, place), Rnn):
        return recurrent.decoder_steps(half, memory, pieces, target, written, names), middle
    return layer.decoder_steps(half, memory, pieces, target, written, options.layer, names), middle
