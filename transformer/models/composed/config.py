"""Settings of an encoder of one family combined with a decoder of another."""

from dataclasses import dataclass, replace
from typing import Any

from transformer.attention.config import Attention
from transformer.models.config import SequenceToSequence, with_flags


@dataclass(frozen=True)
class Composed(SequenceToSequence):
    """Any encoder with any decoder.

    Each part has the settings of its whole family, of which only one half is built. If their `memory_width` differs, a
    linear map projects the encoder's states to the decoder's width. The parts share no embedding: with `tie` all or
    target the decoder's embedding is its output layer.
    """

    encoder: SequenceToSequence
    """Reads the source."""
    decoder: SequenceToSequence
    """Writes the target. A recurrent decoder computes its first states from the mean of the memory's states."""

    @property
    def attention(self) -> Attention:  # type: ignore[override]
        """See `SequenceToSequence.attention`."""
        return self.decoder.attention

    @property
    def width(self) -> int:  # type: ignore[override]
        """See `SequenceToSequence.width`: that of the decoder."""
        return self.decoder.width

    @property
    def max_length(self) -> int:  # type: ignore[override]
        """See `SequenceToSequence.max_length`: the smaller one of the parts."""
        return min(self.encoder.max_length, self.decoder.max_length)

    @property
    def cross(self) -> tuple[int, int]:
        """See `SequenceToSequence.cross`."""
        return self.decoder.cross

    @property
    def memory_width(self) -> int:
        """See `SequenceToSequence.memory_width`: the width that the decoder needs."""
        return self.decoder.memory_width

    def build(self, source_vocabulary: int, target_vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build`."""
        from transformer.models.composed.model import Composed as Model

        return Model(self, source_vocabulary, target_vocabulary, **how)

    def build_encoder(self, vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build_encoder`."""
        from transformer.models.composed.model import Encoder

        return Encoder(self, vocabulary, **how)

    def build_decoder(self, vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build_decoder`."""
        return self.decoder.build_decoder(vocabulary, **how)

    def encoder_multiplications(self, source: Any) -> int:
        """See `SequenceToSequence.encoder_multiplications`."""
        inner, outer = self.encoder.memory_width, self.memory_width
        projection = 0 if inner == outer else int(source.sum()) * inner * outer
        return self.encoder.encoder_multiplications(source) + projection

    def decoder_multiplications(self, source: Any, target: Any, vocabulary: int, *, composed: bool = False) -> int:
        """See `SequenceToSequence.decoder_multiplications`."""
        return self.decoder.decoder_multiplications(source, target, vocabulary, composed=True)

    def sharding(self) -> Any:
        """See `ModelConfig.sharding`."""
        return (*self.encoder.sharding(), *self.decoder.sharding())

    def cache_sharding(self) -> Any:
        """See `ModelConfig.cache_sharding`."""
        return self.decoder.cache_sharding()

    def check(self) -> None:
        """See `ModelConfig.check`."""
        self.encoder.check_part("encoder")
        self.decoder.check_part("decoder")
        with_flags("encoder", self.encoder.check)
        with_flags("decoder", self.decoder.check)

    def check_packing(self) -> None:
        """See `ModelConfig.check_packing`."""
        with_flags("encoder", self.encoder.check_packing)
        with_flags("decoder", self.decoder.check_packing)

    def check_part(self, part: str) -> None:
        """See `SequenceToSequence.check_part`."""
        (self.encoder if part == "encoder" else self.decoder).check_part(part)

    def check_full_context(self, flag: str) -> None:
        """See `SequenceToSequence.check_full_context`."""
        self.decoder.check_full_context(flag)

    def smoke(self) -> "Composed":
        """See `ModelConfig.smoke`."""
        return replace(self, encoder=self.encoder.smoke(), decoder=self.decoder.smoke())

    def with_max_length(self, length: int) -> "Composed":
        """See `SequenceToSequence.with_max_length`."""
        parts = self.encoder.with_max_length(length), self.decoder.with_max_length(length)
        return replace(self, encoder=parts[0], decoder=parts[1])
