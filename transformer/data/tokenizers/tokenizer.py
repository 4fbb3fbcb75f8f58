"""Text to tokens and back: sentencepiece (bpe, unigram, char) or whole words.

Ids 0 to 3 are the four marks in every vocabulary. Text is brought into the normal form of Unicode that the training
text was brought into (--data.filter.normalize; most often none), and is taken as it is otherwise: no lower-casing. Runs
of spaces become one space. A model is plain bytes (sentencepiece's protocol buffer, or a list of words); nothing is
ever unpickled.
"""

import hashlib
import io
import json
import logging
import os
import random
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece

from transformer.data import config
from transformer.data.corpora.filters import Form, normalize
from transformer.errors import TransformerError
from transformer.special_tokens import BOS, EOS, PAD, SPECIAL_TOKENS, UNK

SAMPLED_SENTENCES = 2_000_000
"""sentencepiece is trained on at most so many sentences, drawn at random under a fixed seed.
(sentencepiece's own sampling takes another seed in each process.)"""
TRAINING_THREADS = 4
"""Fixed, so that training does not depend on the machine."""
VERSION = 1

log = logging.getLogger(__name__)


class Tokenizer(ABC):
    """A fixed vocabulary of `size` entries, the marks included."""

    size: int
    suffix: str
    """Ending of the model's file."""
    content: bytes
    """The whole model; two tokenizers with equal content and form are equal."""
    form: Form = "none"
    """Unicode's normal form that every text is brought into first."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of a sentence, without begin and end marks. An empty text gives an empty list."""

    def encode_all(self, texts: Sequence[str], threads: int = 0) -> list[list[int]]:
        """`encode` for many sentences; faster where the library can use threads (0: one for each core)."""
        return [self.encode(text) for text in texts]

    def __reduce__(self) -> tuple[Any, tuple[bytes, Form]]:
        """To another process it goes as its content."""
        return type(self), (self.content, self.form)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, which may be numpy integers: marks are left out, and nothing is read past the end
        mark."""

    @abstractmethod
    def pieces(self, ids: Iterable[int]) -> list[str]:
        """One string for each id, the marks included, as attention plots show them."""

    @abstractmethod
    def words(self, ids: Iterable[int]) -> list[int]:
        """For each id the number of the word it belongs to, words being parted by spaces; -1 for a mark, which belongs
        to none."""

    def split(self, text: str) -> list[str]:
        """The words that `words` numbers: parted by plain spaces alone, as French has others within its words."""
        return [word for word in normalize(text, self.form).split(" ") if word]


class SentencePiece(Tokenizer):
    """A sentencepiece model. For text whose characters are all known, `decode(encode(text))` is the text,
    byte for byte, when its words are parted by single spaces (and it holds neither NUL nor "▁", which
    sentencepiece takes for a space). An unknown character shows as " ⁇ ", sentencepiece's convention."""

    suffix = ".model"

    def __init__(self, content: bytes, form: Form = "none") -> None:
        """Raises TransformerError if `content` is no sentencepiece model."""
        self.content, self.form = content, form
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise TransformerError(f"not a sentencepiece model ({error})") from None
        self.size = int(self._model.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces of a sentence."""
        return list(self._model.encode(normalize(text, self.form), out_type=int))

    def encode_all(self, texts: Sequence[str], threads: int = 0) -> list[list[int]]:
        """The same for many."""
        normal = list(texts) if self.form == "none" else [normalize(text, self.form) for text in texts]
        return list(self._model.encode(normal, out_type=int, num_threads=threads or os.cpu_count() or 1))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of pieces; a run of byte pieces that is no UTF-8 gives U+FFFD."""
        return str(self._model.decode([id_ for id_ in _until_end(ids) if id_ not in (PAD, BOS)]))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Pieces as sentencepiece spells them: "▁" begins a word, "<0xE4>" is a byte."""
        return [str(self._model.id_to_piece(int(id_))) for id_ in ids]

    def split(self, text: str) -> list[str]:
        """The same; sentencepiece reads a "▁" in a text as a space."""
        return super().split(text.replace("▁", " "))

    def words(self, ids: Iterable[int]) -> list[int]:
        """A piece that begins with "▁" begins a word."""
        numbers, word = [], -1
        for id_ in ids:
            word += self._model.id_to_piece(int(id_)).startswith("▁")
            numbers.append(-1 if id_ in (PAD, BOS, EOS) else max(0, word))
        return numbers

    @classmethod
    def train(cls, settings: config.Tokenizer, sentences: Iterable[str]) -> "SentencePiece":
        """Train on `sentences` (at most SAMPLED_SENTENCES of them); the same input gives the same bytes.

        A corpus too small for `settings.vocabulary` gives a smaller vocabulary and a warning. Raises
        TransformerError when the vocabulary is too small for the corpus's characters, or there is no text.
        """
        sample = _sample(sentences, SAMPLED_SENTENCES)
        if not any(map(str.strip, sample)):
            raise TransformerError("there is no text to train a tokenizer on")
        least = len(SPECIAL_TOKENS) + (256 if settings.byte_fallback else 0) + 1
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(sample),
                model_writer=model,
                model_type=settings.kind,
                vocab_size=max(settings.vocabulary, least),
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
            )
        except RuntimeError as error:
            needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
            if not needed:
                raise TransformerError(f"sentencepiece could not be trained: {error}") from error
            least = int(needed[1])
        if settings.vocabulary < least:
            what = f"the marks, {'256 bytes, ' if settings.byte_fallback else ''}the characters of the corpus"
            raise TransformerError(
                f"--tokenizer.vocabulary={settings.vocabulary} is too small for {settings.kind}: "
                f"the smallest that works is {least} ({what})"
            )
        return cls(model.getvalue())


def _sample(sentences: Iterable[str], most: int) -> list[str]:
    """Reservoir sampling: each sentence is kept with the same chance."""
    draw, kept = random.Random(1), []
    for number, sentence in enumerate(sentences):
        if number < most:
            kept.append(sentence)
        elif (place := draw.randrange(number + 1)) < most:
            kept[place] = sentence
    return kept


class Word(Tokenizer):
    """Whole words, split at spaces; a word outside the vocabulary is the unknown mark."""

    suffix = ".vocabulary"

    def __init__(self, content: bytes, form: Form = "none") -> None:
        """`content`: one word a line in UTF-8, the marks first. Raises TransformerError when it is anything
        else."""
        self.content, self.form = content, form
        try:
            self._words = content.decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError:
            raise TransformerError("not a vocabulary: it is not UTF-8") from None
        if tuple(self._words[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise TransformerError(f"not a vocabulary: it does not begin with {' '.join(SPECIAL_TOKENS)}")
        self._ids = {word: id_ for id_, word in enumerate(self._words) if id_ >= len(SPECIAL_TOKENS)}
        self.size = len(self._words)

    def encode(self, text: str) -> list[int]:
        """Ids of the words of a sentence."""
        return [self._ids.get(word, UNK) for word in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Words parted by spaces; an unknown one shows as "<unk>"."""
        return " ".join(self._words[id_] for id_ in _until_end(ids) if id_ not in (PAD, BOS))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The words."""
        return [self._words[id_] for id_ in ids]

    def words(self, ids: Iterable[int]) -> list[int]:
        """Every id is a word."""
        numbers, word = [], -1
        for id_ in ids:
            mark = id_ in (PAD, BOS, EOS)
            word += not mark
            numbers.append(-1 if mark else word)
        return numbers

    @classmethod
    def train(cls, settings: config.Tokenizer, sentences: Iterable[str]) -> "Word":
        """The most frequent words, ties in alphabetical order. Raises TransformerError when there is none."""
        counts = Counter(word for sentence in sentences for word in sentence.split(" ") if word)
        if not counts:
            raise TransformerError("there is no text to train a tokenizer on")
        if settings.vocabulary <= len(SPECIAL_TOKENS):
            raise TransformerError(
                f"--tokenizer.vocabulary={settings.vocabulary} is too small: the smallest that works is "
                f"{len(SPECIAL_TOKENS) + 1} (the marks and a word)"
            )
        often = (word for word, count in counts.items() if count >= settings.min_count)
        usable = (word for word in often if word not in SPECIAL_TOKENS and "\n" not in word)
        words = sorted(usable, key=lambda word: (-counts[word], word))[: settings.vocabulary - len(SPECIAL_TOKENS)]
        return cls("\n".join([*SPECIAL_TOKENS, *words, ""]).encode("utf-8"))


class Tokenizers(NamedTuple):
    """One for each side; the same object twice when the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer


def train(
    settings: config.Tokenizer, sources: Iterable[str], targets: Iterable[str], form: Form = "none"
) -> Tokenizers:
    """Train on both sides (together when `settings.joint`), which are in the normal form `form`. Warns through logging
    when a vocabulary is smaller than wanted. Raises TransformerError when the wanted one is too small, or there is no
    text."""
    if settings.joint:
        joint = _train_one(settings, chain(sources, targets), "joint", form)
        return Tokenizers(joint, joint)
    return Tokenizers(_train_one(settings, sources, "source", form), _train_one(settings, targets, "target", form))


def _train_one(settings: config.Tokenizer, sentences: Iterable[str], name: str, form: Form) -> Tokenizer:
    kind = Word if settings.kind == "word" else SentencePiece
    tokenizer = kind.train(settings, sentences)
    tokenizer.form = form
    if tokenizer.size < settings.vocabulary:
        log.warning(
            "the %s %s vocabulary has %d entries, not --tokenizer.vocabulary=%d: the corpus gives no more",
            name, settings.kind, tokenizer.size, settings.vocabulary,
        )  # fmt: skip
    return tokenizer


def fingerprint(tokenizers: Tokenizers) -> str:
    """SHA-256 (hex) of both models: equal exactly when they tokenise and number everything alike."""
    hashes = [_hash(tokenizer) for tokenizer in tokenizers]
    form = tokenizers.source.form
    return hashlib.sha256("\n".join(hashes if form == "none" else [*hashes, form]).encode()).hexdigest()


def save(tokenizers: Tokenizers, folder: Path) -> None:
    """Write tokenizer.json beside joint.model, or source.model and target.model (`.vocabulary` for words)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, tokenizer in _named(tokenizers).items():
        path = folder / f"{name}{tokenizer.suffix}"
        path.write_bytes(tokenizer.content)
        files[name] = {"file": path.name, "size": tokenizer.size, "sha256": _hash(tokenizer)}
    about = {
        "version": VERSION,
        "kind": "word" if isinstance(tokenizers.source, Word) else "sentencepiece",
        "joint": tokenizers.source is tokenizers.target,
        "form": tokenizers.source.form,
        "models": files,
        "fingerprint": fingerprint(tokenizers),
    }
    (folder / "tokenizer.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> Tokenizers:
    """The tokenizers that `save` wrote. Raises TransformerError when a file is missing or was changed."""
    about = folder / "tokenizer.json"
    try:
        values = json.loads(about.read_text(encoding="utf-8"))
        if values["version"] != VERSION:
            raise TransformerError(f"{about} is of version {values['version']}; this program reads {VERSION}")
        kind = {"word": Word, "sentencepiece": SentencePiece}[values["kind"]]
        entries = [values["models"][name] for name in (("joint",) if values["joint"] else ("source", "target"))]
        loaded: list[Tokenizer] = []
        for entry in entries:
            content = (folder / entry["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise TransformerError(f"{folder / entry['file']} was changed since it was saved")
            loaded.append(kind(content, values.get("form", "none")))
    except OSError as error:
        raise TransformerError(f"{error.filename}: the tokenizer cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise TransformerError(f"{about} was damaged ({type(error).__name__}: {error})") from None
    return Tokenizers(loaded[0], loaded[-1])


def _named(tokenizers: Tokenizers) -> dict[str, Tokenizer]:
    if tokenizers.source is tokenizers.target:
        return {"joint": tokenizers.source}
    return {"source": tokenizers.source, "target": tokenizers.target}


def _hash(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.content).hexdigest()


def _until_end(ids: Iterable[int]) -> Iterator[int]:
    for id_ in map(int, ids):
        if id_ == EOS:
            return
        yield id_
