"""Settings of the Transformer."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from transformer.attention.config import (
    Attention,
    check_fused,
    check_heads,
    check_mechanism,
    check_positions,
    is_pointwise,
    needs_lengths,
)
from transformer.errors import UsageError
from transformer.models.config import SequenceToSequence
from transformer.plugins import NameIn


@dataclass(frozen=True)
class Transformer(SequenceToSequence):
    """The Transformer (Vaswani et al. 2017)."""

    encoder_layers: Annotated[int, Ge(1)] = 4
    """Number of layers of the encoder."""
    decoder_layers: Annotated[int, Ge(1)] = 4
    """Number of layers of the decoder."""
    width: Annotated[int, Ge(1)] = 128
    """Width of the model, D: of its embeddings and of the residual stream."""
    feedforward: Annotated[int, Ge(1)] = 256
    """Inner width of the feed-forward sub-layer."""
    attention: Attention = field(default_factory=Attention)
    activation: Literal["relu", "gelu", "gelu_exact", "silu", "swiglu"] = "relu"
    """Activation of the feed-forward sub-layer; gelu is the tanh approximation, swiglu a gated unit."""
    norm: Literal["post", "pre"] = "post"
    """Position of the normalisation. post: LayerNorm(x + f(x)), as in the paper. pre: x + f(LayerNorm(x)), and a final
    norm after each stack."""
    norm_kind: Literal["layer", "rms"] = "layer"
    """The normalisation itself. layer: LayerNorm, as in the paper. rms: RMSNorm, which divides by the root mean square
    and neither centres nor shifts (Zhang and Sennrich 2019)."""
    positions: Annotated[str, NameIn("positions")] = "sinusoidal"
    """Positional encodings. Added to the embeddings: sinusoidal, as in the paper, or learned. Relative, in every
    self-attention: rotary (queries and keys are rotated), shaw (a vector for each distance), t5 (a number for each
    bucket of distances), alibi (a slope for each head), or the name that a plugin added to
    `transformer.attention.positions.POSITIONS`. none: the encoder has no information about order."""
    max_length: Annotated[int, Ge(2)] = 256
    """Longest sequence: the number of learned positions, and the limit of every translation, in tokens."""
    tie: Literal["all", "target", "none"] = "all"
    """Matrices that are shared. all: source embedding = target embedding = output layer (Press and Wolf 2017). target:
    the last two."""
    output_bias: bool = False
    """Add a bias to the logits."""
    scale_embeddings: bool = True
    """Multiply embeddings by the root of the width, as in the paper (section 3.4)."""
    norm_epsilon: Annotated[float, Interval(ge=1e-12, le=0.1)] = 1e-6
    """Number that each LayerNorm adds to the variance."""
    dropout: Annotated[float, Interval(ge=0, le=0.999)] = 0.1
    """Dropout rate on the embeddings and on each sub-layer's output (paper, section 5.4)."""
    attention_dropout: Annotated[float, Interval(ge=0, le=0.999)] = 0.0
    """Dropout rate on the attention weights."""
    feedforward_dropout: Annotated[float, Interval(ge=0, le=0.999)] = 0.0
    """Dropout rate after the activation of the feed-forward sub-layer."""
    unroll: bool = False
    """Unroll the scan over layers: slower to compile, sometimes faster to run; the result is mathematically the
    same."""

    @property
    def cross(self) -> tuple[int, int]:
        """See `SequenceToSequence.cross`."""
        return self.decoder_layers, self.attention.heads

    @property
    def memory_width(self) -> int:
        """See `SequenceToSequence.memory_width`."""
        return self.width

    def attention_of(self, place: str) -> Attention:
        """The settings of one of the three attentions: encoder, decoder or cross."""
        if place in self.attention.places:
            return self.attention
        own = self.attention
        return Attention(heads=own.heads, key_value_heads=own.key_value_heads, bias=own.bias, fused=own.fused)

    def build(self, source_vocabulary: int, target_vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build`."""
        from transformer.models.transformer.model import Transformer as Model

        return Model(self, source_vocabulary, target_vocabulary, **how)

    def build_encoder(self, vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build_encoder`."""
        from transformer.models.transformer.encoder import build_encoder

        return build_encoder(self, vocabulary, **how)

    def build_decoder(self, vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build_decoder`."""
        from transformer.models.transformer.decoder import build_decoder

        return build_decoder(self, vocabulary, **how)

    def encoder_multiplications(self, source: Any) -> int:
        """See `SequenceToSequence.encoder_multiplications`."""
        from transformer.models.transformer import flops

        return flops.encoder(self, source)

    def decoder_multiplications(self, source: Any, target: Any, vocabulary: int, *, composed: bool = False) -> int:
        """See `SequenceToSequence.decoder_multiplications`."""
        from transformer.models.transformer import flops

        return flops.decoder(self, source, target, vocabulary)

    def sharding(self) -> Any:
        """See `ModelConfig.sharding`."""
        from transformer.models.transformer.sharding import PARAMETERS

        return PARAMETERS

    def cache_sharding(self) -> Any:
        """See `ModelConfig.cache_sharding`."""
        from transformer.models.transformer.sharding import CACHES

        return CACHES

    def check(self) -> None:
        """See `ModelConfig.check`."""
        attention = self.attention
        attention.check()
        if self.width % attention.heads:
            raise UsageError(
                f"--model.width={self.width} does not divide into --model.attention.heads={attention.heads} heads"
            )
        check_fused(attention, self.attention_dropout)
        check_heads(attention)
        check_mechanism(attention, self.width // attention.heads)
        check_positions(self.positions, attention, self.width // attention.heads)
        if needs_lengths(attention.window) and "decoder" in attention.places:
            raise UsageError(
                f"--model.attention.window={attention.window} needs the length of the sentence, which is unknown to "
                "the decoder's self-attention: give --model.attention.places encoder cross"
            )

    def check_full_context(self, flag: str) -> None:
        """See `SequenceToSequence.check_full_context`: every decoder of the family does."""

    def check_packing(self) -> None:
        """See `ModelConfig.check_packing`: whatever counts the positions of a row would count across its sentences."""
        attention = self.attention
        if not attention.places:
            return
        if attention.window != "global":
            raise UsageError(
                f"--batching.pack: --model.attention.window={attention.window} counts positions from the beginning of "
                "the row: give --model.attention.window=global, or --batching.pack=0"
            )
        if not is_pointwise(attention.score):
            raise UsageError(
                f"--batching.pack: --model.attention.score={attention.score} depends on positions in the row: give "
                "another score, or --batching.pack=0"
            )

    def smoke(self) -> "Transformer":
        """See `ModelConfig.smoke`."""
        return replace(
            self,
            encoder_layers=min(2, self.encoder_layers),
            decoder_layers=min(2, self.decoder_layers),
            width=8 * self.attention.heads,
            feedforward=64,
        )
