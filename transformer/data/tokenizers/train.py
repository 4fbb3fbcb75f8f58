"""Training of the tokenizers of both sides."""

import logging
from collections.abc import Iterable
from itertools import chain
from typing import Any

from transformer.data import config
from transformer.data.normal_form import Form
from transformer.data.tokenizers.byte_bpe import ByteBpeTokenizer
from transformer.data.tokenizers.characters import CharacterTokenizer
from transformer.data.tokenizers.subwords import SentencePieceTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizer, Tokenizers
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.plurals import counted

log = logging.getLogger(__name__)

OTHERS: dict[str, type[Any]] = {"word": WordTokenizer, "characters": CharacterTokenizer, "byte_bpe": ByteBpeTokenizer}
"""Kinds that are not sentencepiece's."""


def train_tokenizers(
    settings: config.Tokenizer, sources: Iterable[str], targets: Iterable[str], form: Form = "none"
) -> Tokenizers:
    """Train on both sides (together if `settings.joint`), whose text is in the Unicode normal form `form`.

    Logs a warning if a vocabulary is smaller than requested.

    Raises:
        TransformerError: the requested vocabulary is too small, or there is no text.
    """
    if settings.joint:
        joint = _train_one(settings, chain(sources, targets), "joint", form)
        return Tokenizers(joint, joint)
    return Tokenizers(_train_one(settings, sources, "source", form), _train_one(settings, targets, "target", form))


def _train_one(settings: config.Tokenizer, sentences: Iterable[str], name: str, form: Form) -> Tokenizer:
    tokenizer: Tokenizer = OTHERS.get(settings.kind, SentencePieceTokenizer).train(settings, sentences)
    tokenizer.form = form
    if tokenizer.size < settings.vocabulary:
        log.warning(
            "the %s %s vocabulary has %s, not --tokenizer.vocabulary=%d: the corpus has no more",
            name, settings.kind, counted(tokenizer.size, "entry"), settings.vocabulary,
        )  # fmt: skip
    return tokenizer
