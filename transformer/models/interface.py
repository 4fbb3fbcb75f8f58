"""What every model offers to training, search, evaluation and alignment; none of them knows which it has.

Letters: B batch, T target length, S source length, D width, H heads, K head width, V vocabulary, L layers,
R = B x beam rows of a search.
"""

from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Cache: TypeAlias = Any  # a pytree; every leaf leads with [B, ...]
CrossCache: TypeAlias = Any  # a pytree; every leaf leads with [B, ...]


class Memory(NamedTuple):
    """The encoded source."""

    states: Float[Array, "B S D"]
    mask: Bool[Array, "B S"]
    attention: Float[Array, "B L H S S"] | None = None
    final_state: Any = None
    """What an encoder leaves beside its states; every leaf leads with [B, ...]."""


class Attentions(NamedTuple):
    """All weights of a forward pass; None where a model has no such attention. From `step`, T is absent."""

    encoder: Float[Array, "B L H S S"] | None
    decoder: Float[Array, "B L H T T"] | None
    cross: Float[Array, "B L H T S"] | None


@runtime_checkable
class Model(Protocol):
    """A sequence-to-sequence model. No key means no dropout."""

    output: Any
    """Hidden states to logits, a module: `output(hidden [..., D]) -> [..., V]`. Apart from `decode`, so that
    the loss can go through the vocabulary in pieces and a search through its last position only."""

    def encode(self, source: Int[Array, "B S"], key: PRNGKeyArray | None = None, *, weights: bool = False) -> Memory:
        """Encode padded sources."""

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """Teacher forcing: hidden states that predict the token after each of `target_in`."""

    def init_cache(
        self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False
    ) -> tuple[CrossCache, Cache]:
        """A search before its first token: what the decoder keeps of the memory (never tiled over the beam, never
        reordered), and an empty cache for `beam` hypotheses of each sentence, of at most `length` tokens each.
        `independent`: `reorder` will not be called."""

    def prepare_for_decoding(self) -> None:
        """Compute once what every following step would compute from the parameters only."""

    def step(
        self, tokens: Int[Array, "R"], cross_cache: CrossCache, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """One token further in every row; unrolled over a target it equals `decode`."""

    def reorder(self, cache: Cache, parent: Int[Array, "B K"]) -> Cache:
        """Each sentence's hypotheses go on from those that `parent` names."""
