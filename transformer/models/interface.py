"""What every model provides to training, search, evaluation and alignment, which do not know its family.

Letters: B batch, T target length, S source length, D width, H heads, K head width, V vocabulary, L layers,
R = B x beam rows of a search.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Cache: TypeAlias = Any
"""State of a decoder between two steps of a search: a pytree whose leaves have a leading axis B."""
CrossCache: TypeAlias = Any
"""What a decoder computes once from the memory, such as keys: a pytree whose leaves have a leading axis B."""


class Memory(NamedTuple):
    """The encoded source."""

    states: Float[Array, "B S D"]
    mask: Bool[Array, "B S"]
    attention: Float[Array, "B L H S S"] | None = None
    final_state: Any = None
    """What a family's encoder passes to its own decoder in addition to the states; leaves have a leading axis B. A
    decoder combined with an encoder of another family gets None."""
    segments: Int[Array, "B S"] | None = None
    """The segments of packed rows, see `PackedModel`."""


class Attentions(NamedTuple):
    """All attention weights of a forward pass; None if a model has no such attention. From `step`, without T; there
    `decoder` is None if the past is kept as sums (linear attention)."""

    encoder: Float[Array, "B L H S S"] | None
    decoder: Float[Array, "B L H T T"] | None
    cross: Float[Array, "B L H T S"] | None


class Summands(NamedTuple):
    """The summands of an attention with its residual connection, which read-outs separate.

    The output at position t is `residual[t]` plus the sum over heads and positions n of `weights[h, t, n]` times
    `values[h, n]`, then normalised if there is a `gain`.
    """

    weights: Float[Array, "B H T N"]
    """With differential attention, also divided by the norm of the head's context."""
    values: Float[Array, "B H N D"]
    """After value and output projection."""
    residual: Float[Array, "B T D"] | None = None
    """The input of the residual connection; None: there is none."""
    gain: Float[Array, "D"] | None = None
    """Scale of the LayerNorm that follows (post-norm); None: none follows."""
    rms_gain: Float[Array, "D"] | None = None
    """Scale of the RMSNorm that follows instead; None: none follows."""


@runtime_checkable
class Encoder(Protocol):
    """Reads the source. No key means no dropout."""

    def encode(self, source: Int[Array, "B S"], key: PRNGKeyArray | None = None, *, weights: bool = False) -> Memory:
        """The encoded source: a state for each token, and a mask that is false at padding.

        Args:
            source: token ids of B sentences, each with its EOS token, padded with 0.
            key: of the dropout.
            weights: also return the weights of the encoder's self-attention, [B, L, H, S, S].
        """


@runtime_checkable
class Embeds(Protocol):
    """An encoder whose embeddings can be changed: what saliency and erasure need."""

    def embed(self, source: Int[Array, "B S"]) -> Float[Array, "B S X"]:
        """The vector of each token, without its position."""

    def encode(
        self,
        source: Int[Array, "B S"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        embedded: Float[Array, "B S X"] | None = None,
    ) -> Memory:
        """Like `Encoder.encode`; `embedded` replaces the result of `embed`."""


@runtime_checkable
class Traces(Protocol):
    """A model that exposes the summands of its attentions, which read-outs beyond the weights need. Without dropout;
    lists are ordered from the first layer to the last."""

    def trace_encoder(self, source: Int[Array, "B S"]) -> tuple[Memory, list[Summands]]:
        """Like `encode`, with the self-attentions; an empty list if there are none."""

    def trace_decoder(
        self, memory: Memory, target_in: Int[Array, "B T"]
    ) -> tuple[Float[Array, "B T D"], list[Summands], list[Summands]]:
        """Like `decode`, with the self-attentions and the attentions to the source; in each layer the self-attention
        comes first."""


@runtime_checkable
class Changes(Protocol):
    """A model whose attention to the source can be changed, as faithfulness tests require."""

    def change_attention(self, change: Callable[[Float[Array, "B *N S"]], Float[Array, "B *N S"]]) -> None:
        """From now on `step` attends to the source, in each layer and head, with `change(weights)` instead of the
        weights [B, ..., S]. Call it on a fresh model with attention, only once."""


@runtime_checkable
class Decoder(Protocol):
    """Predicts the target, given a memory. No key means no dropout."""

    output: Any
    """Hidden states to logits, a module: `output(hidden [..., D]) -> [..., V]`. Separate from `decode`, so that the
    loss can be computed in chunks of the target, and a search computes only the logits of the last position."""

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """Teacher forcing: the hidden states that predict the token after each token of `target_in`, all at once.

        `output(hidden)` are their logits.

        Args:
            memory: the encoded source.
            target_in: the BOS token and the target without its EOS token, padded with 0.
            key: of the dropout.
            weights: also return all attention weights, including `cross` [B, L, H, T, S].
        """

    def init_cache(
        self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False
    ) -> tuple[CrossCache, Cache]:
        """The state of a search before its first token.

        Args:
            memory: of B sentences. Results computed from it are neither tiled over the beam nor reordered.
            length: maximum tokens of a hypothesis.
            beam: hypotheses of each sentence.
            independent: `reorder` will not be called.
        """

    def prepare_for_decoding(self) -> None:
        """Precompute everything that later steps derive from the parameters alone."""

    def step(
        self, tokens: Int[Array, "R"], cross_cache: CrossCache, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """Extend every hypothesis by one token; steps over a whole target equal `decode`."""

    def reorder(self, cache: Cache, parent: Int[Array, "B K"]) -> Cache:
        """Hypothesis k of each sentence continues from hypothesis `parent[:, k]`."""


@runtime_checkable
class FullContext(Protocol):
    """A decoder that can also read a given target as a whole, not only from left to right: for aligning, not for
    translating (Garg et al. 2019, "Jointly Learning to Align and Translate with Transformer Models", section 4.3)."""

    def attend_in_full_context(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        segments: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B L H T S"]:
        """The weights of the attention to the source in a pass without the causal mask.

        The input is that of `decode`: position t of it is the token before y_t, and y_t itself is at position t + 1,
        which row t also sees. Row t belongs to y_t, as in `decode`. Padding is not attended to.

        Args:
            memory: the encoded source.
            target_in: the BOS token and the target without its EOS token, padded with 0.
            key: of the dropout.
            segments: of packed rows, see `PackedModel`; a sentence sees only itself.

        Raises UsageError for a decoder that reads from left to right only.
        """


@runtime_checkable
class Model(Encoder, Decoder, Protocol):
    """A sequence-to-sequence model: an encoder and a decoder."""


class LanguageModel(Model, Protocol):
    """A model that also writes text of its own. The settings of its family say so, see
    `SequenceToSequence.check_language_model`."""

    def without_source(self, rows: int) -> Memory:
        """The memory of empty sources, S = 0: `decode` then reads the target alone."""


class PackedModel(Model, Protocol):
    """A model that also reads rows of several sentences, one after the other (`--batching.pack`), as if each had its
    own row. The settings of its family declare this, see `ModelConfig.check_packing`.

    `segments` are the numbers of the sentences, from 1 on in every row and 0 at padding. A pair has the same number in
    the source and in the target.
    """

    def encode(
        self,
        source: Int[Array, "B S"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        segments: Int[Array, "B S"] | None = None,
    ) -> Memory:
        """See `Encoder.encode`; the memory has the segments."""

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        segments: Int[Array, "B T"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """See `Decoder.decode`."""
