"""An encoder of one family combined with a decoder of another."""

from collections.abc import Callable
from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from transformer.errors import UsageError
from transformer.models.composed import config
from transformer.models.interface import Attentions, Cache, CrossCache, FullContext, Memory, Summands
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat


class Encoder(nnx.Module):
    """An encoder whose states have the width that the decoder needs; implements `models.interface.Encoder`."""

    def __init__(
        self,
        model: config.Composed,
        vocabulary: int,
        *,
        rngs: nnx.Rngs,
        precision: Precision = "float32",
        remat: Remat = "none",
    ):
        self.encoder: Any = model.encoder.build_encoder(vocabulary, rngs=rngs, precision=precision, remat=remat)
        widths = model.encoder.memory_width, model.memory_width
        glorot = nnx.initializers.glorot_uniform()
        self.project = None if widths[0] == widths[1] else nnx.Param(glorot(rngs.params(), widths))

    def embed(self, source: Int[Array, "B S"]) -> Float[Array, "B S X"]:
        """See `models.interface.Embeds`."""
        embedded: Array = self.encoder.embed(source)
        return embedded

    def encode(
        self,
        source: Int[Array, "B S"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        embedded: Float[Array, "B S X"] | None = None,
        segments: Int[Array, "B S"] | None = None,
    ) -> Memory:
        """Padded token ids [B, S] to a `Memory` with states [B, S, D]; see `models.interface.PackedModel.encode`. Only
        a decoder of the same family could use the final state, which is dropped."""
        return self._fit(self.encoder.encode(source, key, weights=weights, embedded=embedded, **_given(segments)))

    def trace_encoder(self, source: Int[Array, "B S"]) -> tuple[Memory, list[Summands]]:
        """See `models.interface.Traces`."""
        memory, attentions = self.encoder.trace_encoder(source)
        return self._fit(memory), attentions

    def _fit(self, memory: Memory) -> Memory:
        """The states in the decoder's width."""
        states = memory.states
        if self.project is not None:
            states = states @ self.project[...].astype(states.dtype)
        return Memory(states, memory.mask, memory.attention, segments=memory.segments)


class Composed(Encoder):
    """The encoder with a decoder; implements `models.interface.Model`."""

    def __init__(
        self,
        model: config.Composed,
        source_vocabulary: int,
        target_vocabulary: int,
        *,
        rngs: nnx.Rngs,
        precision: Precision = "float32",
        remat: Remat = "none",
    ):
        super().__init__(model, source_vocabulary, rngs=rngs, precision=precision, remat=remat)
        self.decoder: Any = model.build_decoder(target_vocabulary, rngs=rngs, precision=precision, remat=remat)

    @property
    def output(self) -> Any:
        """See `Decoder.output` of `models.interface`."""
        return self.decoder.output

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        segments: Int[Array, "B T"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """Hidden states [B, T, D] that predict the token after each one of `target_in`, and the attention weights; see
        `models.interface.PackedModel.decode`."""
        decoded: tuple[Array, Attentions | None] = self.decoder.decode(
            memory, target_in, key, weights=weights, **_given(segments)
        )
        return decoded

    def attend_in_full_context(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        segments: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B L H T S"]:
        """See `models.interface.FullContext`."""
        if not isinstance(self.decoder, FullContext):
            raise UsageError(
                "this decoder reads the target from left to right only: full context needs a Transformer decoder"
            )
        return self.decoder.attend_in_full_context(memory, target_in, key, **_given(segments))

    def trace_decoder(
        self, memory: Memory, target_in: Int[Array, "B T"]
    ) -> tuple[Float[Array, "B T D"], list[Summands], list[Summands]]:
        """See `models.interface.Traces`."""
        traced: tuple[Array, list[Summands], list[Summands]] = self.decoder.trace_decoder(memory, target_in)
        return traced

    def init_cache(
        self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False
    ) -> tuple[CrossCache, Cache]:
        """See `Decoder.init_cache` of `models.interface`."""
        caches: tuple[CrossCache, Cache] = self.decoder.init_cache(memory, length, beam, independent=independent)
        return caches

    def prepare_for_decoding(self) -> None:
        """See `Decoder.prepare_for_decoding` of `models.interface`."""
        self.decoder.prepare_for_decoding()

    def change_attention(self, change: Callable[[Array], Array]) -> None:
        """See `models.interface.Changes`."""
        self.decoder.change_attention(change)

    def step(
        self, tokens: Int[Array, "R"], cross_cache: CrossCache, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """See `Decoder.step` of `models.interface`."""
        stepped: tuple[Array, Cache, Attentions | None] = self.decoder.step(tokens, cross_cache, cache, weights=weights)
        return stepped

    def reorder(self, cache: Cache, parent: Int[Array, "B K"]) -> Cache:
        """See `Decoder.reorder` of `models.interface`."""
        return self.decoder.reorder(cache, parent)


def _given(segments: Array | None) -> dict[str, Array]:
    """As an argument of a part that reads packed rows; other parts have none."""
    return {} if segments is None else {"segments": segments}
