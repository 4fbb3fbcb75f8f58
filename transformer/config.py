"""Every setting of a run, in frozen dataclasses. A recipe in `configs/` builds one `Config`.

Lengths are in tokens (pieces of the tokenizer) unless a name says words; the end mark is counted. Times are
minutes. A field's docstring is its help text on the command line.
"""

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from transformer.errors import UsageError


@dataclass(frozen=True)
class Grammar:
    """The embedded English-German grammar: pairs with gold word alignments, from a seed."""

    seed: int = 1
    """Another seed gives other sentences; the splits stay disjoint under every seed."""
    train: int = 100_000
    """Training pairs."""
    validation: int = 500
    """Validation pairs."""
    test: int = 1_000
    """Test pairs, and as many of the split `unseen`: constructions that training never showed."""
    max_words: int = 30
    """Longest sentence on either side, in words."""
    max_depth: int = 2
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
    temperature: float = 1.0
    """The share of a corpus of n pairs goes as n ** (1 / temperature): 1 takes corpora as they are, more evens them."""
    validation: str = ""
    """As `train`. Empty: `held_out` pairs are set aside from the training pairs."""
    test: str = ""
    """As `train`. Empty: the commands that need a test set use the validation set and say so."""
    alignments: str = ""
    """Word alignments of the training pairs, for --training.guided: a file in the Pharaoh format ("0-0 1-2", 0-indexed,
    source first), one line for each pair. The grammar brings its own."""
    filter: Filter = field(default_factory=Filter)
    held_out: int = 1_000
    """Pairs set aside as validation set when none is named (at most a tenth of the corpus)."""
    limit: int = 0
    """Train on the first so many pairs of each corpus only; 0: on all."""
    max_length: int = 128
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
    vocabulary: int = 8_000
    """Most entries, the four marks (padding, unknown, begin, end) included. Smaller where the corpus has fewer."""
    joint: bool = True
    """One vocabulary for both languages; needed to tie the source embedding with the target's."""
    byte_fallback: bool = False
    """sentencepiece: spell unknown characters as bytes, so that nothing is unknown."""
    min_count: int = 1
    """word: rarer words become the unknown mark."""
    sampling: float = 0.0
    """bpe: share of merges dropped at random in the training text (BPE-dropout, Provilkov 2020; 0.1 there); unigram:
    alpha of subword regularization (Kudo 2018); 0: none. Each epoch is drawn anew."""


@dataclass(frozen=True)
class Batching:
    """Length buckets under a token budget: few static shapes, so that XLA compiles few programs."""

    tokens: int = 4_096
    """Budget of one update: rows x longest side of the bucket, padding included, all devices together."""
    shapes: int = 6
    """Number of buckets, so of compiled shapes. Their edges are chosen to minimise padding on the corpus."""
    length_multiple: int = 1
    """Bucket lengths are rounded up to it (8 or more suits accelerators)."""
    rows: int = 0
    """Sentences of one update, as the recurrent papers count them, in place of `tokens`; 0: by tokens."""
    batch_multiple: int = 8
    """Rows are a multiple of it. Where devices do not divide them, each batch gets a few empty rows more."""


@dataclass(frozen=True)
class Attention:
    """How each attention of a model works."""

    score: str = "scaled_dot"
    """Compatibility of query and key: scaled_dot, dot, general, additive, concat, location, cosine, or one of your own
    in `transformer.attention.scores.SCORES`."""
    window: str = "global"
    """Where a query looks: global, local_m (in step with the target) or local_p (about a predicted place)."""
    half_width: int = 10
    """local_m, local_p: tokens on either side of the window's centre (Luong 2015's D)."""
    hidden: int = 0
    """additive, concat, local_p: width of the hidden layer; 0: that of the query."""
    positions: int = 128
    """location: source tokens that it knows; those beyond get no weight."""
    heads: int = 4
    """Transformer: attentions side by side in every layer."""
    fused: Literal["auto", "never", "always"] = "auto"
    """Transformer: scaled_dot with the window global and no dropout on weights, where nobody wants to see them. auto:
    by cuDNN's kernel where it serves (bfloat16 on NVIDIA GPUs, lengths and head widths that suit it), otherwise as any
    score. always: by JAX's function for it everywhere. never: as any score."""
    places: tuple[Literal["encoder", "decoder", "cross"], ...] = ("encoder", "decoder", "cross")
    """Transformer: the attentions that have this score and window; the others have scaled_dot, global."""

    @property
    def reach(self) -> int | None:
        """Source tokens that can get attention at all; None: every one."""
        return self.positions if self.score == "location" else None


@dataclass(frozen=True)
class Transformer:
    """Vaswani et al. 2017."""

    encoder_layers: int = 4
    decoder_layers: int = 4
    width: int = 128
    """D, the width of the model (embeddings and residual stream)."""
    feedforward: int = 256
    """Inner width of the feed-forward sub-layer."""
    attention: Attention = field(default_factory=Attention)
    activation: Literal["relu", "gelu", "swiglu"] = "relu"
    norm: Literal["post", "pre"] = "post"
    """post: LayerNorm(x + f(x)), the paper; pre: x + f(LayerNorm(x)) and a last norm on each stack."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    max_length: int = 256
    """Longest sequence: the number of learned positions, and the limit of every translation."""
    tie: Literal["all", "target", "none"] = "all"
    """all: source embedding = target embedding = output layer (Press and Wolf 2017); target: the last two."""
    dropout: float = 0.1
    """On the embeddings and on each sub-layer's output (paper, section 5.4)."""
    attention_dropout: float = 0.0
    """On the attention weights."""
    feedforward_dropout: float = 0.0
    """After the activation of the feed-forward sub-layer."""
    unroll: bool = False
    """Unroll the scan over layers: slower to compile, sometimes faster to run; the same mathematics."""

    @property
    def cross(self) -> tuple[int, int]:
        """Layers and heads of the attention to the source."""
        return self.decoder_layers, self.attention.heads


@dataclass(frozen=True)
class Rnn:
    """Recurrent encoder-decoders: Sutskever 2014, Cho 2014, Bahdanau 2015, Luong 2015."""

    decoder: Literal["luong", "bahdanau"] = "luong"
    """luong: attention after the cell, on h_t, then an attentional vector. bahdanau: attention before the cell, on
    s_{t-1}; its context enters the cell, and a deep output with maxout follows."""
    cell: Literal["lstm", "gru"] = "lstm"
    encoder_layers: int = 1
    decoder_layers: int = 1
    bidirectional: bool = False
    """Encoder layers in both directions, each of the encoder's width."""
    reverse: bool = False
    """Read the source backwards (Sutskever 2014). Attention, windows and alignments still speak of its own order."""
    embedding: int = 256
    """Width of the embeddings."""
    width: int = 512
    """Width of the decoder's hidden states."""
    encoder_width: int = 0
    """Width of the encoder's hidden states, in each direction; 0: as the decoder's."""
    attention: Attention = field(default_factory=lambda: Attention(score="general"))
    """With the score `none` there is no attention: luong is then Sutskever 2014, bahdanau is Cho 2014."""
    input_feeding: bool = True
    """luong: the attentional vector enters the next step's cell (section 3.3). Without it all target positions attend
    at once."""
    readout: int = 0
    """Width of what the output layer reads: luong's attentional vector (0: width), bahdanau's maxout (0: width / 2)."""
    tie: Literal["all", "target", "none"] = "none"
    """As the Transformer's; needs embeddings as wide as the readout."""
    dropout: float = 0.2
    """On the embeddings, between layers, and before the output layer (Zaremba 2014)."""
    max_length: int = 256
    """Longest source, and the limit of every translation, in tokens."""

    @property
    def cross(self) -> tuple[int, int]:
        """Layers and heads of the attention to the source."""
        return 1, 1


Model: TypeAlias = Transformer | Rnn
MODELS: dict[str, type[Any]] = {"transformer": Transformer, "rnn": Rnn}
"""Families by the name under which config.json keeps them."""


@dataclass(frozen=True)
class Optimizer:
    """What turns gradients into updates."""

    name: Literal["adam", "adamw", "sgd", "adadelta"] = "adam"
    """sgd: the gradient times the rate (Luong 2015: rate 1, clip 5). adadelta: Zeiler 2012 (Bahdanau 2015: rate 1,
    clip 1). The rate is the schedule's."""
    b1: float = 0.9
    """adam, adamw: decay of the mean gradient."""
    b2: float = 0.98
    """adam, adamw: decay of the mean squared gradient."""
    epsilon: float = 1e-9
    """adam, adamw: added to the root of that mean."""
    rho: float = 0.95
    """adadelta: decay of the mean squared gradient and of the mean squared update."""
    epsilon_root: float = 1e-6
    """adadelta: added to both of those means, under their roots."""
    weight_decay: float = 0.0
    """adamw only; matrices only (no biases, no norms)."""
    clip: float = 1.0
    """Largest global norm of the gradient; 0 turns clipping off."""


@dataclass(frozen=True)
class Schedule:
    """Learning rate by update. Every schedule climbs linearly to `peak` over `warmup` updates first."""

    name: Literal["inverse_sqrt", "noam", "cosine", "constant", "halving"] = "inverse_sqrt"
    """inverse_sqrt: peak * sqrt(warmup / step). noam: the same with peak = width^-0.5 * warmup^-0.5 (paper,
    section 5.3), times `peak` as a factor. cosine: to `final` of the peak at the last update. halving: the peak for
    `hold` updates, then halved, and halved again after every `every` updates (Luong 2015, section 4.1)."""
    peak: float = 2e-3
    warmup: int = 1_000
    """Updates; 0: begin at the peak (constant, cosine, halving)."""
    final: float = 0.01
    """cosine: last learning rate as a share of the peak."""
    hold: int = 10_000
    """halving: updates before the rate is halved first, the warm-up included. Luong 2015: those of 5 epochs, or of 8
    with dropout."""
    every: int = 2_000
    """halving: updates of each lower rate. Luong 2015: those of an epoch."""


@dataclass(frozen=True)
class Guided:
    """Guided alignment (Chen 2016; Garg 2019): a second loss that pulls attention to given word alignments."""

    weight: float = 0.0
    """Of the guiding loss beside the translation's, both in nats per target token; 0: no guiding."""
    layer: int = -1
    """Decoder layer whose attention to the source is pulled, counted from 0; -1 is the last."""
    heads: tuple[int, ...] = (0,)
    """Its heads that are pulled, each by itself."""


@dataclass(frozen=True)
class Training:
    """How long, how careful, and what is kept."""

    steps: int = 10_000
    """Updates."""
    minutes: float = 0.0
    """Stop after this much training time (all sittings together), saved as at the last update; 0: no limit."""
    accumulate: int = 1
    """Go through each batch in this many pieces, to fit memory: the same mathematics (up to rounding)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What updates compute in. bfloat16: matrices are multiplied and activations kept in it; parameters, optimizer,
    sums and norms stay float32, and so do validation and search."""
    remat: Literal["none", "cheap", "all"] = "none"
    """What the backward pass computes again in place of keeping it, to fit memory. cheap: all but the products with
    weights. all: each layer of a Transformer, each step of a recurrence, from its input. The same mathematics."""
    mean_over: Literal["tokens", "sentences"] = "tokens"
    """What the gradient is a mean over: the target's tokens, or the sentence pairs (Bahdanau 2015, Luong 2015: their
    rates and clips are of it). What is logged is always a mean over tokens."""
    ema: float = 0.0
    """Decay of an exponential moving average of the parameters, at most (1 + step) / (10 + step); 0: none. Validation,
    translation and all else that reads a run then use the average."""
    label_smoothing: float = 0.1
    guided: Guided = field(default_factory=Guided)
    loss_chunk: int = 256
    """Tokens whose logits are held at once; the loss walks the batch in such pieces."""
    log_every: int = 50
    """Updates between two lines of metrics.jsonl."""
    validate_every: int = 500
    """Updates between two validations; each one also saves a checkpoint."""
    save_minutes: float = 10.0
    """A checkpoint is saved when the last one is so old, between validations too; 0: only with validations."""
    validate_sentences: int = 500
    """Sentences translated (greedily) for the validation BLEU; 0 turns it off."""
    metric: Literal["bleu", "loss"] = "bleu"
    """What `best` means, and what patience watches, on the validation set."""
    patience: int = 0
    """Stop after this many validations without a better metric; 0 never stops early."""
    keep_last: int = 1
    """Newest validated checkpoints kept; beside them always the two newest of all, in case that one is damaged."""
    keep_best: int = 1
    """Best checkpoints kept."""
    average: Literal["none", "last", "best"] = "none"
    """Average the parameters of the kept checkpoints (the newest or the best ones) when training ends."""


@dataclass(frozen=True)
class Decoding:
    """Search for translations: a beam, greedily with a beam of 1, or by drawing samples."""

    beam: int = 4
    """Hypotheses kept a sentence; 1 is greedy."""
    normalize: Literal["gnmt", "average", "none"] = "gnmt"
    """What log-probabilities are divided by, so that length is no blame: gnmt: ((5 + length) / 6) ** length_penalty
    (Wu et al. 2016, equation 14). average: length ** length_penalty. none: nothing."""
    length_penalty: float = 0.6
    """The exponent alpha."""
    coverage_penalty: float = 0.0
    """beta of Wu et al. 2016, equation 14, added to scores: source tokens that were not looked at cost; 0 is off."""
    n_best: int = 1
    """Translations given for each sentence, best first; of samples all are given."""
    min_length: int = 0
    """Fewest tokens of a translation, the end mark not counted."""
    max_ratio: float = 2.0
    """Longest translation, as a multiple of the source's length ..."""
    max_extra: int = 10
    """... plus this many tokens ..."""
    max_length: int = 0
    """... and at most this many, the end mark included; 0: as many as the model can."""
    samples: int = 0
    """Draw so many translations of each sentence in place of searching with a beam."""
    temperature: float = 1.0
    """samples: log-probabilities are divided by it; below 1 is surer, above 1 is wilder."""
    top_k: int = 0
    """samples: only from the k likeliest tokens; 0 is all."""
    top_p: float = 1.0
    """samples: only from the likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """samples: only from tokens with at least this share of the likeliest one's probability."""
    seed: int = 1
    """samples: of drawing; a sentence's samples depend on it and on the line's number alone."""
    mbr: Literal["none", "chrf", "bleu"] = "none"
    """Of the samples or the n best, order by expected chrF or BLEU against all others (minimum Bayes risk)."""
    batch: int = 64
    """Sentences searched at once."""
    workers: int = 0
    """Threads that search side by side; 0: two on a CPU with more than one core, otherwise one."""
    attention: bool = False
    """Give with each translation what it looked at."""
    replace_unknown: bool = False
    """word tokenizers: an unknown word of a translation becomes that of the source which it looks at most, or what
    the lexicon has for it (Jean 2015; Luong 2015, "Addressing the Rare Word Problem")."""
    lexicon: str = ""
    """replace_unknown: a file of source words and their translations, a pair a line, parted by a tab."""

    @property
    def given(self) -> int:
        """Translations given for each sentence."""
        return self.samples or self.n_best

    @property
    def rows(self) -> int:
        """Hypotheses that grow side by side for each sentence."""
        return self.samples or self.beam

    @property
    def alone(self) -> bool:
        """Each hypothesis grows by itself: samples, or a greedy search."""
        return self.samples > 0 or self.beam == 1

    @property
    def looks(self) -> bool:
        """The attention to the source is wanted."""
        return self.attention or self.replace_unknown or self.coverage_penalty > 0


@dataclass(frozen=True)
class Cluster:
    """Processes that work on one job, each with the same command. Of the process, not of the recipe."""

    coordinator: str = ""
    """HOST:PORT that process 0 listens at; not needed under SLURM, Open MPI, Kubernetes or on TPU pods."""
    processes: int = 0
    """How many there are."""
    process: int = -1
    """Which this one is, from 0."""
    find: Literal["known", "any", "none"] = "known"
    """Whose job it may be: one of those; any that JAX finds, such as TPU hosts that know each other by their metadata;
    or none: this process is alone, whatever started it."""


@dataclass(frozen=True)
class Mesh:
    """How devices are laid out; -1 is all that are left."""

    data: int = -1
    """Devices that share each batch's rows between them, and have all parameters."""
    fsdp: int = 1
    """Devices that share each batch's rows, and keep only a part of the parameters and of the optimizer each."""
    model: int = 1
    """Devices that share each row: its heads, its feed-forward units, the vocabulary."""


@dataclass(frozen=True)
class Config:
    """A whole run."""

    data: Data = field(default_factory=Data)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    batching: Batching = field(default_factory=Batching)
    model: Model = field(default_factory=Transformer)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    training: Training = field(default_factory=Training)
    decoding: Decoding = field(default_factory=Decoding)
    mesh: Mesh = field(default_factory=Mesh)
    seed: int = 1
    """Parameters, order of the data and dropout all follow from it."""


def to_json(config: Config) -> dict[str, Any]:
    """A tree of plain values; `from_json` is its inverse."""
    tree = dataclasses.asdict(config)
    kind = next(name for name, cls in MODELS.items() if type(config.model) is cls)
    return tree | {"model": {"kind": kind} | tree["model"]}


def from_json(values: dict[str, Any]) -> Config:
    """Rebuild a config that `to_json` wrote. Raises UsageError on a field this version does not know."""
    return _build(Config, values, "config")


def _build(cls: Any, values: dict[str, Any], where: str) -> Any:
    if cls == Model:
        kind = values.get("kind", "transformer")  # runs of the first version do not say it
        if kind not in MODELS:
            raise UsageError(f"{where}: unknown kind {kind!r}; was the run made by a newer version?")
        cls, values = MODELS[kind], {name: value for name, value in values.items() if name != "kind"}
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise UsageError(f"{where}: unknown field {unknown[0]!r}; was the run made by a newer version?")
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]) or hints[name] == Model:
            value = _build(hints[name], value, f"{where}.{name}")
        built[name] = tuple(value) if isinstance(value, list) else value
    return cls(**built)
