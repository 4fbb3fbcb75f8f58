"""Subword tokenizers by sentencepiece: byte-pair encoding, unigram, characters."""

import io
import os
import random
import re
from collections.abc import Iterable, Sequence
from typing import Any

import sentencepiece

from transformer.data import config
from transformer.data.normal_form import Form, replace_reserved
from transformer.data.tokenizers.tokenizer import Tokenizer, until_eos
from transformer.errors import TransformerError
from transformer.special_tokens import BOS, EOS, PAD, SPECIAL_TOKENS, UNK

SAMPLED_SENTENCES = 2_000_000
"""sentencepiece is trained on at most this many sentences, sampled with a fixed seed.
(sentencepiece's own sampling uses another seed in each process.)"""
TRAINING_THREADS = 4
"""Fixed, so that training does not depend on the machine."""


class SentencePieceTokenizer(Tokenizer):
    """A sentencepiece model.

    `decode(encode(text))` equals `normal(text)` byte for byte if all its characters are known and single spaces
    separate its words. An unknown character is decoded as " ⁇ ", sentencepiece's convention.
    """

    suffix = ".model"

    def __init__(self, content: bytes, form: Form = "none") -> None:
        """Raises TransformerError if `content` is not a sentencepiece model."""
        self.content, self.form = content, form
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise TransformerError(f"not a sentencepiece model ({error})") from None
        self.size = int(self._model.get_piece_size())

    def _encode(self, texts: Sequence[str], threads: int) -> list[list[int]]:
        return list(self._model.encode(list(texts), out_type=int, num_threads=threads or os.cpu_count() or 1))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of pieces, up to the first end token; padding and begin tokens are left out.

        Byte pieces that are not valid UTF-8 give U+FFFD.
        """
        return str(self._model.decode([id_ for id_ in until_eos(ids) if id_ not in (PAD, BOS)]))

    @property
    def vocabulary(self) -> dict[str, float]:
        """The pieces that spell text, with their scores; of bpe the order in which they were learned, negated."""
        model = self._model
        return {
            str(model.id_to_piece(id_)): float(model.get_score(id_))
            for id_ in range(len(SPECIAL_TOKENS), self.size)
            if not model.is_byte(id_)
        }

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Pieces as sentencepiece spells them: "▁" starts a word, "<0xE4>" is a byte."""
        return [str(self._model.id_to_piece(int(id_))) for id_ in ids]

    @classmethod
    def train(cls, settings: config.Tokenizer, sentences: Iterable[str]) -> "SentencePieceTokenizer":
        """Train on `sentences` (at most SAMPLED_SENTENCES of them); the same input gives the same bytes.

        A corpus that is too small for `settings.vocabulary` gives a smaller vocabulary.

        Raises:
            TransformerError: the vocabulary is too small for the corpus's characters, or there is no text.
        """
        sample = _sample(map(replace_reserved, sentences), SAMPLED_SENTENCES)
        if not any(map(str.strip, sample)):
            raise TransformerError("there is no text to train a tokenizer on")
        # sentencepiece removes its special tokens from the text, even if a character occurs only there.
        cut = "".join(token for token in SPECIAL_TOKENS if any(token in sentence for sentence in sample))
        required: dict[str, Any] = {"required_chars": "".join(dict.fromkeys(cut))} if cut else {}
        smallest = len(SPECIAL_TOKENS) + (256 if settings.byte_fallback else 0) + 1
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(sample),
                model_writer=model,
                model_type=settings.kind,
                vocab_size=max(settings.vocabulary, smallest),
                hard_vocab_limit=False,
                character_coverage=1.0,
                byte_fallback=settings.byte_fallback,
                normalization_rule_name="identity",
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                pad_piece=SPECIAL_TOKENS[PAD],
                unk_piece=SPECIAL_TOKENS[UNK],
                bos_piece=SPECIAL_TOKENS[BOS],
                eos_piece=SPECIAL_TOKENS[EOS],
                max_sentence_length=1 << 24,
                shuffle_input_sentence=False,
                num_threads=TRAINING_THREADS,
                minloglevel=2,
                **required,
            )
        except RuntimeError as error:
            needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
            if not needed:
                raise TransformerError(f"sentencepiece could not be trained: {error}") from error
            smallest = int(needed[1])
        if settings.vocabulary < smallest:
            parts = f"the special tokens, {'256 bytes, ' if settings.byte_fallback else ''}the characters of the corpus"
            raise TransformerError(
                f"--tokenizer.vocabulary={settings.vocabulary} is too small for {settings.kind}: "
                f"the smallest that works is {smallest} ({parts})"
            )
        return cls(model.getvalue())


def _sample(sentences: Iterable[str], size: int) -> list[str]:
    """Reservoir sampling of at most `size` sentences, each with the same probability."""
    generator, sample = random.Random(1), []
    for number, sentence in enumerate(sentences):
        if number < size:
            sample.append(sentence)
        elif (position := generator.randrange(number + 1)) < size:
            sample[position] = sentence
    return sample
