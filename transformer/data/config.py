"""Settings of the data: where sentence pairs come from, how they are filtered, tokenised and batched.

Lengths are in tokens (pieces of the tokenizer, EOS counted) unless a name says words.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from transformer.errors import UsageError


@dataclass(frozen=True)
class Grammar:
    """The embedded English-German grammar: pairs with gold word alignments, from a seed."""

    seed: int = 1
    """Another seed gives other sentences; the splits stay disjoint under every seed."""
    train: Annotated[int, Ge(1)] = 100_000
    """Training pairs."""
    validation: Annotated[int, Ge(1)] = 500
    """Validation pairs."""
    test: Annotated[int, Ge(0)] = 1_000
    """Test pairs, and as many of the split `unseen`: constructions that training never showed."""
    max_words: Annotated[int, Ge(5)] = 30
    """Longest sentence on either side, in words."""
    max_depth: Annotated[int, Ge(0)] = 2
    """Deepest nesting of clauses."""


@dataclass(frozen=True)
class Filter:
    """Which training pairs are left out, counted by reason; one with an empty side always is.

    Words are parts between whitespace: for text that is written without spaces leave `max_words` and `max_ratio` at 0.
    """

    normalize: Literal["none", "nfc", "nfkc"] = "none"
    """Unicode's normal form of both sides, before all rules: nfc composes accents; nfkc also makes ligatures, letters
    of full width, no-break spaces and the like plain. What is translated later is brought into it too."""
    drop_unprintable: bool = False
    """Leave out pairs with invalid Unicode (surrogates, U+FFFD, noncharacters), control or private characters."""
    max_words: int = 0
    """Leave out pairs with a side of more words; 0: any length."""
    max_ratio: float = 0.0
    """Leave out pairs whose longer side has more than this many times the words of the shorter, but none of up to 5
    words; 0: any ratio."""
    drop_copies: bool = False
    """Leave out pairs whose sides are equal but for case (names and numbers may be so rightly)."""
    drop_duplicates: bool = False
    """Leave out pairs that came before, equal on both sides."""

    def check(self) -> None:
        """Raises UsageError for settings that cannot work."""
        if self.max_words < 0:
            raise UsageError(f"--data.filter.max-words={self.max_words} is negative; 0 means any length")
        if self.max_ratio != 0 and not self.max_ratio >= 1:
            raise UsageError(f"--data.filter.max-ratio={self.max_ratio} must be at least 1, or 0 for any ratio")


@dataclass(frozen=True)
class Data:
    """Where the sentence pairs come from."""

    source: str = "grammar"
    """`grammar` (embedded), `files` (parallel text, plain or .gz, one sentence a line), or `tfds:NAME`, a translation
    dataset of TFDS such as tfds:wmt14_translate/de-en."""
    languages: tuple[str, str] = ("en", "de")
    """Source and target: the endings of the files."""
    train: str = ""
    """Files: `corpus/train` reads corpus/train.en and corpus/train.de (or .gz); `{lang}` in it stands for the
    language wherever else it occurs in the path. TFDS: the name of a split (empty: train), or a part of one, such as
    train[:10%]."""
    also: tuple[str, ...] = ()
    """Corpora that are mixed with `train`: files as `train` names them, or tfds:NAME."""
    weights: tuple[float, ...] = ()
    """Shares of `train` and of each that is `also` mixed, in any unit; empty: by `temperature`. An epoch has as many
    pairs as all corpora together; each corpus is gone through in orders of its own, from the beginning when it is
    through."""
    temperature: Annotated[float, Ge(0.1)] = 1.0
    """The share of a corpus of n pairs goes as n ** (1 / temperature): 1 takes corpora as they are, more evens them."""
    validation: str = ""
    """As `train`. Empty: `held_out` pairs are set aside from the training pairs."""
    test: str = ""
    """As `train`. Empty: the commands that need a test set use the validation set and say so."""
    alignments: str = ""
    """Word alignments of the training pairs, for --task.guided: a file in the Pharaoh format ("0-0 1-2", 0-indexed,
    source first), one line for each pair. The grammar brings its own."""
    filter: Filter = field(default_factory=Filter)
    held_out: Annotated[int, Ge(1)] = 1_000
    """Pairs set aside as validation set when none is named (at most a tenth of the corpus)."""
    limit: Annotated[int, Ge(0)] = 0
    """Train on the first so many pairs of each corpus only; 0: on all."""
    max_length: Annotated[int, Ge(1)] = 128
    """Training pairs with a longer side are left out, counted and reported."""
    cache: str = "~/.cache/transformer"
    """Cleaned text, tokenizers and tokenised examples are kept here, by content hash. Safe to delete while nothing
    runs."""
    folder: str = ""
    """Where the datasets of TFDS are; empty: TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    grammar: Grammar = field(default_factory=Grammar)


@dataclass(frozen=True)
class Tokenizer:
    """Text to tokens; trained on the training split, kept with the run."""

    kind: Literal["bpe", "unigram", "char", "word"] = "bpe"
    """sentencepiece's models, or whole words (split at spaces) by frequency, as the early papers did."""
    vocabulary: Annotated[int, Ge(5)] = 8_000
    """Most entries, the four marks (padding, unknown, begin, end) included. Smaller where the corpus has fewer."""
    joint: bool = True
    """One vocabulary for both languages; needed to tie the source embedding with the target's."""
    byte_fallback: bool = False
    """sentencepiece: spell unknown characters as bytes, so that nothing is unknown."""
    min_count: Annotated[int, Ge(1)] = 1
    """word: rarer words become the unknown mark."""
    sampling: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """bpe: share of merges dropped at random in the training text (BPE-dropout, Provilkov 2020; 0.1 there); unigram:
    alpha of subword regularization (Kudo 2018); 0: none. Each epoch is drawn anew."""

    def check(self) -> None:
        """Raises UsageError for settings that cannot work together."""
        if self.byte_fallback and self.kind == "word":
            raise UsageError(
                "--tokenizer.byte-fallback=True is sentencepiece's: it does not go with --tokenizer.kind=word"
            )
        if self.sampling and self.kind not in ("bpe", "unigram"):
            raise UsageError(
                f"--tokenizer.sampling={self.sampling}: --tokenizer.kind={self.kind} has one segmentation of a text, "
                "nothing to sample; use bpe or unigram, or --tokenizer.sampling=0"
            )


@dataclass(frozen=True)
class Batching:
    """Length buckets under a token budget: few static shapes, so that XLA compiles few programs."""

    tokens: Annotated[int, Ge(1)] = 4_096
    """Budget of one update: rows x longest side of the bucket, padding included, all devices together."""
    shapes: Annotated[int, Ge(1)] = 6
    """Number of buckets, so of compiled shapes. Their edges are chosen to minimise padding on the corpus."""
    length_multiple: Annotated[int, Ge(1)] = 1
    """Bucket lengths are rounded up to it (8 or more suits accelerators)."""
    rows: Annotated[int, Ge(0)] = 0
    """Sentences of one update, as the recurrent papers count them, in place of `tokens`; 0: by tokens."""
    batch_multiple: Annotated[int, Ge(1)] = 8
    """Rows are a multiple of it. Where devices do not divide them, each batch gets a few empty rows more."""
