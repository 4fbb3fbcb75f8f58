"""A trained model to a folder of another toolkit, with what is different there."""

import dataclasses
import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from transformer.api import TrainedModel
from transformer.config import Transformer, flatten
from transformer.data.corpora import corpus
from transformer.interop import huggingface
from transformer.models.build import builder, structure
from transformer.models.transformer import marian
from transformer.plurals import counted
from transformer.special_tokens import BOS, EOS
from transformer.storage.run import Run

log = logging.getLogger(__name__)

SENTENCES = 16
"""Sentences of the validation set on which a difference is measured."""


def to_huggingface(model: TrainedModel, folder: Path) -> None:
    """Write a folder for MarianMTModel and MarianTokenizer. The log says what is different there.

    Raises UsageError for a setting without a counterpart there.
    """
    settings = model.settings
    parameters = {name: np.asarray(leaf) for name, leaf in flatten(model.parameters).items()}
    huggingface.write(folder, settings, model.tokenizers, parameters)
    network = huggingface.marian_model(settings)
    if network.norm_epsilon != marian.EPSILON:
        moved = _moved(model, network, marian.EPSILON)
        log.warning(
            "LayerNorm adds %g to the variance there, and %g here (--model.norm-epsilon): %s",
            *(marian.EPSILON, network.norm_epsilon, moved),
        )
    form = settings.data.filter.normalize
    if form != "none":
        log.warning("text must be in the normal form %s there: the tokenizer does not convert it", form)
    search = settings.decoding
    if search.beam > 1 and search.normalize != "average":
        log.warning(
            "generate divides log-probabilities by length ** length_penalty, with the penalty 1; this run's search has "
            "--decoding.normalize=%s, so that translations by beam search may differ", search.normalize
        )  # fmt: skip


def _moved(model: TrainedModel, network: Transformer, epsilon: float) -> str:
    """How far another epsilon moves the logits of the first validation pairs."""
    folder, languages = Run(Path(model.run)).data, model.settings.data.languages
    if not corpus.exists(folder, "validation", languages):
        return "how far logits move is not known, as the run has no validation set"
    pairs = corpus.read(folder, "validation", languages)
    sizes = model.tokenizers.source.size, model.tokenizers.target.size
    limit, sides = model.model.max_length - 1, []
    for tokenizer, lines in zip(model.tokenizers, (pairs.sources, pairs.targets), strict=True):
        rows = [tokens[:limit] for tokens in tokenizer.encode_all(lines[:SENTENCES])]
        sides.append(np.zeros((len(rows), 1 + max(map(len, rows))), np.int32))
        for row, tokens in zip(sides[-1], rows, strict=True):
            row[: len(tokens) + 1] = [BOS, *tokens] if len(sides) == 2 else [*tokens, EOS]
    source, target = map(jnp.asarray, sides)

    @jax.jit
    def difference(parameters: object) -> jax.Array:
        def logits(settings: Transformer) -> jax.Array:
            built = builder(structure(settings, *sizes))(parameters)
            hidden, _ = built.decode(built.encode(source), target)
            found: jax.Array = built.output(hidden)
            return found

        other = dataclasses.replace(network, norm_epsilon=epsilon)
        return jnp.abs(jnp.where((target != 0)[..., None], logits(network) - logits(other), 0)).max()

    largest = float(difference(model.parameters))
    return f"logits move by up to {largest:.1g} on {counted(len(source), 'validation pair')}"
