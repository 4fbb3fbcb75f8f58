"""A sentencepiece model whose pieces are numbered by a vocabulary of its own, as Marian's models have it."""

import base64
import binascii
import json
import os
from collections.abc import Iterable, Sequence

import sentencepiece

from transformer.data.normal_form import Form
from transformer.data.tokenizers.tokenizer import Tokenizer, until_eos
from transformer.errors import TransformerError
from transformer.special_tokens import BOS, PAD, UNK

SPACE = "▁"
"""How sentencepiece spells the space before a word."""


class RenumberedTokenizer(Tokenizer):
    """Pieces of sentencepiece; a piece that the vocabulary lacks is the unknown token.

    A text may begin with a language code such as ">>deu<<", which is a token of its own (models with several target
    languages).
    """

    suffix = ".json"

    def __init__(self, content: bytes, form: Form = "none") -> None:
        """`content` is what `pack` returns. Raises TransformerError for anything else."""
        self.content, self.form = content, form
        try:
            values = json.loads(content)
            self._pieces = [str(piece) for piece in values["vocabulary"]]
            model = base64.b64decode(values["model"], validate=True)
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise TransformerError(f"not a vocabulary with a sentencepiece model ({error})") from None
        self.model = model
        """The sentencepiece model."""
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise TransformerError(f"not a sentencepiece model ({error})") from None
        self._ids = {piece: id_ for id_, piece in enumerate(self._pieces)}
        self.size = len(self._pieces)
        if len(self._ids) != self.size:
            raise TransformerError("a vocabulary names a piece twice")

    @staticmethod
    def pack(vocabulary: Sequence[str], model: bytes) -> bytes:
        """The content of a tokenizer: its pieces by id, the special tokens first, and a sentencepiece model."""
        values = {"vocabulary": list(vocabulary), "model": base64.b64encode(model).decode("ascii")}
        return json.dumps(values, ensure_ascii=False).encode("utf-8")

    def _encode(self, texts: Sequence[str], threads: int) -> list[list[int]]:
        split = [_language_code(text) for text in texts]
        rest, threads = [text for _, text in split], threads or os.cpu_count() or 1
        found = self._model.encode(rest, out_type=str, num_threads=threads)
        return [
            [self._ids.get(piece, UNK) for piece in (*code, *pieces)]
            for (code, _), pieces in zip(split, found, strict=True)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of pieces, up to the first end token; padding and begin tokens are left out."""
        pieces = self.pieces(id_ for id_ in until_eos(ids) if id_ not in (PAD, BOS))
        return str(self._model.decode_pieces(pieces)).replace(SPACE, " ").strip(" ")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Pieces as sentencepiece spells them: "▁" starts a word."""
        return [self._pieces[int(id_)] for id_ in ids]


def _language_code(text: str) -> tuple[tuple[str, ...], str]:
    """A language code at the beginning of a text, if there is one, and the rest."""
    end = text.find("<<")
    if not text.startswith(">>") or end < 0:
        return (), text
    return (text[: end + 2],), text[end + 2 :]
