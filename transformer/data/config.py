"""Settings of the data: where sentence pairs come from, how they are filtered, tokenised and batched.

Lengths are in tokens (of the tokenizer, EOS included) unless a name says words.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from transformer.errors import UsageError


@dataclass(frozen=True)
class Grammar:
    """The embedded English-German grammar, which generates pairs with gold word alignments."""

    seed: int = 1
    """Random seed. A different seed gives different sentences; the splits are disjoint for all seeds."""
    train: Annotated[int, Ge(1)] = 100_000
    """Number of training pairs."""
    validation: Annotated[int, Ge(1)] = 500
    """Number of validation pairs."""
    test: Annotated[int, Ge(0)] = 1_000
    """Number of test pairs, and of pairs in the split `unseen`: constructions that never occur in training."""
    max_words: Annotated[int, Ge(5)] = 30
    """Maximum length of either side, in words."""
    max_depth: Annotated[int, Ge(0)] = 2
    """Maximum nesting depth of clauses."""
    label: str = ""
    """A construction, such as relative or passive, for --task classification: the target of each sentence is `yes` or
    `no`, whether it has the construction, instead of its translation. Give --data.languages en label (or de label)."""


@dataclass(frozen=True)
class Filter:
    """Which training pairs are left out; they are counted by reason. Pairs with an empty side always are.

    Words are separated by whitespace: for languages written without spaces leave `max_words` and `max_ratio` at 0.
    """

    normalize: Literal["none", "nfc", "nfkc"] = "none"
    """Unicode normal form, applied to both sides before the other rules and to all text that is translated later: nfc
    composes accents; nfkc also replaces ligatures, full-width letters, no-break spaces and the like by plain ones."""
    drop_unprintable: bool = False
    """Leave out pairs with invalid Unicode (surrogates, U+FFFD, noncharacters), control or private-use characters."""
    max_words: int = 0
    """Leave out pairs with more words than this on either side; 0: any length."""
    max_ratio: float = 0.0
    """Leave out pairs whose sides differ in length by more than this factor, in words, unless the longer side has at
    most 5 words; 0: any ratio."""
    drop_copies: bool = False
    """Leave out pairs whose sides are equal except for case (which may be correct for names and numbers)."""
    drop_duplicates: bool = False
    """Leave out pairs that equal an earlier pair on both sides."""
    drop_held_out: bool = False
    """Leave out pairs that are also in the validation set or in the test set. Otherwise they are counted in the log."""

    def check(self) -> None:
        """Raises UsageError for impossible settings."""
        if self.max_words < 0:
            raise UsageError(f"--data.filter.max-words={self.max_words} is negative; 0 means any length")
        if self.max_ratio != 0 and not self.max_ratio >= 1:
            raise UsageError(f"--data.filter.max-ratio={self.max_ratio} must be at least 1, or 0 for any ratio")


@dataclass(frozen=True)
class Data:
    """Sources of the sentence pairs."""

    source: str = "grammar"
    """Source of the pairs: `grammar` (embedded), `files` (parallel text, plain or .gz, one sentence per line), or
    `tfds:NAME`, a translation dataset of TFDS such as tfds:wmt14_translate/de-en."""
    languages: tuple[str, str] = ("en", "de")
    """Source and target language: the extensions of the files."""
    train: str = ""
    """Training text. Files: `corpus/train` reads corpus/train.en and corpus/train.de (or .gz); `{lang}` stands for the
    language if it occurs elsewhere in the path. TFDS: a split (empty: train), or a part of one, such as
    train[:10%]."""
    also: tuple[str, ...] = ()
    """Corpora to mix with `train`: files, in the format of `train`, or tfds:NAME."""
    weights: tuple[float, ...] = ()
    """Shares of `train` and of each corpus in `also`, in any unit; empty: by `temperature`. An epoch has as many pairs
    as all corpora together. Each corpus is read cyclically in a random order, so its pairs occur equally often."""
    temperature: Annotated[float, Ge(0.1)] = 1.0
    """The share of a corpus of n pairs is proportional to n ** (1 / temperature): at 1 to its size, above 1 the shares
    are more equal."""
    validation: str = ""
    """Validation set, in the format of `train`. Empty: `held_out` pairs are held out of the training pairs."""
    test: str = ""
    """Test set, in the format of `train`. Empty: commands that need a test set use the validation set, and say so."""
    alignments: str = ""
    """Word alignments of the training pairs, for --task.guided: a file in the Pharaoh format ("0-0 1-2", 0-indexed,
    source first), one line per pair. The grammar has its own."""
    first_word: Literal[0, 1] | None = None
    """Number of a sentence's first word in --data.alignments; 0 unless it is given. A file in which no link
    names word 0 is refused until it is given."""
    filter: Filter = field(default_factory=Filter)
    held_out: Annotated[int, Ge(1)] = 1_000
    """Number of pairs held out as validation set if none is named (at most a tenth of the corpus)."""
    limit: Annotated[int, Ge(0)] = 0
    """Train only on this many pairs at the beginning of each corpus; 0: on all."""
    max_length: Annotated[int, Ge(1)] = 128
    """Maximum length of either side of a training pair, in tokens; longer pairs are left out, counted and reported."""
    cache: str = "~/.cache/transformer"
    """Cache of cleaned text, tokenizers and tokenised examples, by content hash. Can be deleted while no command
    runs."""
    folder: str = ""
    """Folder of the TFDS datasets; empty: TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    grammar: Grammar = field(default_factory=Grammar)


@dataclass(frozen=True)
class Tokenizer:
    """Text to tokens; trained on the training split and stored with the run."""

    kind: Literal["bpe", "unigram", "char", "word", "characters", "byte_bpe"] = "bpe"
    """Kind of the tokens: pieces of sentencepiece (bpe, unigram, char); the most frequent words (split at spaces), as
    in the early papers; or characters, with spaces and line breaks, and byte_bpe, GPT-2's pieces of bytes (Radford
    2019), of which a text is decoded as it was."""
    vocabulary: Annotated[int, Ge(5)] = 8_000
    """Maximum number of entries, including the four special tokens; smaller if the corpus has fewer."""
    joint: bool = True
    """One vocabulary for both languages; required to tie the source embedding to the target's."""
    byte_fallback: bool = False
    """Encode unknown characters as bytes, so that nothing is unknown; for bpe, unigram and char."""
    min_count: Annotated[int, Ge(1)] = 1
    """Words that occur less often become the unknown token; for word."""
    sampling: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Resample the segmentation of the training text in each epoch. bpe: probability of dropping a merge
    (BPE-dropout, Provilkov 2020; 0.1 there). unigram: alpha of subword regularization (Kudo 2018). 0: no sampling."""

    def check(self) -> None:
        """Raises UsageError for settings that cannot work together."""
        if self.byte_fallback and self.kind in ("word", "characters", "byte_bpe"):
            raise UsageError(
                "--tokenizer.byte-fallback=True needs sentencepiece: it cannot be combined with --tokenizer.kind="
                f"{self.kind}"
            )
        if self.sampling and self.kind not in ("bpe", "unigram"):
            raise UsageError(
                f"--tokenizer.sampling={self.sampling}: --tokenizer.kind={self.kind} has one segmentation of a text, "
                "nothing to sample; use bpe or unigram, or --tokenizer.sampling=0"
            )


@dataclass(frozen=True)
class Batching:
    """Length buckets with a token budget: a few static shapes, so that XLA compiles few programs. Or packed rows: one
    shape."""

    tokens: Annotated[int, Ge(1)] = 4_096
    """Token budget of an update: rows x longest side of the bucket, including padding, of all devices together."""
    shapes: Annotated[int, Ge(1)] = 6
    """Number of buckets, and therefore of compiled shapes. Their bounds are chosen to minimise padding on the
    corpus."""
    length_multiple: Annotated[int, Ge(1)] = 1
    """Bucket lengths are rounded up to a multiple of this (8 or more suits accelerators)."""
    rows: Annotated[int, Ge(0)] = 0
    """Batch size in sentences, as in the recurrent papers, instead of `tokens`; 0: by tokens."""
    batch_multiple: Annotated[int, Ge(1)] = 8
    """Rows are a multiple of this. If the devices do not divide them, each batch gets a few additional empty rows."""
    pack: Annotated[int, Ge(0)] = 0
    """Length of packed rows, in tokens: each holds several examples one after the other, which do not attend to one
    another. There is then one shape and hardly any padding. At least --data.max-length; for Transformers without
    windows. The validation set stays unpacked. 0: buckets."""
