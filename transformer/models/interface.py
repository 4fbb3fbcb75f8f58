"""What every model offers to training, search, evaluation and alignment; none of them knows which it has.

Letters: B batch, T target length, S source length, D width, H heads, K head width, V vocabulary, L layers,
R = B x beam rows of a search.
"""

from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Cache: TypeAlias = Any  # a pytree; every leaf leads with [B, ...]
Fixed: TypeAlias = Any  # a pytree; every leaf leads with [B, ...]


class Memory(NamedTuple):
    """The encoded source."""

    states: Float[Array, "B S D"]
    mask: Bool[Array, "B S"]
    attention: Float[Array, "B L H S S"] | None = None
    final: Any = None
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

    def start(self, memory: Memory, length: int, beam: int = 1, *, alone: bool = False) -> tuple[Fixed, Cache]:
        """What a search needs: the fixed part (never tiled over the beam, never reordered) and an empty cache
        for `beam` hypotheses of each sentence, of at most `length` tokens. `alone`: there will be no `reorder`."""

    def ready(self) -> None:
        """Many steps will follow: compute once what each of them would compute of the parameters alone."""

    def step(
        self, tokens: Int[Array, "R"], fixed: Fixed, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """One token further in every row; unrolled over a target it equals `decode`."""

    def reorder(self, cache: Cache, parent: Int[Array, "B K"]) -> Cache:
        """Each sentence's hypotheses go on from those that `parent` names."""
