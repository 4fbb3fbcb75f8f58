"""Settings of decoder-only models."""

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
class Gpt(SequenceToSequence):
    """One stack of layers that reads source and target as one text (GPT-2; Radford et al. 2019).

    A pair is `source EOS BOS target EOS`: BOS separates its sides, and the target counts its positions on from the
    source. There is no attention from one stack to another: what a target position gives to the source is the part of
    its self-attention that falls on the source.
    """

    layers: Annotated[int, Ge(1)] = 6
    """Number of layers."""
    width: Annotated[int, Ge(1)] = 128
    """Width of the model, D: of its embeddings and of the residual stream."""
    feedforward: Annotated[int, Ge(1)] = 512
    """Inner width of the feed-forward sub-layer."""
    attention: Attention = field(default_factory=Attention)
    prefix: Literal["causal", "bidirectional"] = "causal"
    """What a source token sees. causal: the tokens before it, as every target token does. bidirectional: the whole
    source (prefix language model; Raffel et al. 2020, section 3.2.1)."""
    activation: Literal["relu", "gelu", "gelu_exact", "silu", "swiglu"] = "gelu"
    """Activation of the feed-forward sub-layer; gelu is the tanh approximation, swiglu a gated unit."""
    norm: Literal["post", "pre"] = "pre"
    """Place of the normalisation. pre: x + f(LayerNorm(x)), and a final norm. post: LayerNorm(x + f(x))."""
    positions: Annotated[str, NameIn("positions")] = "learned"
    """Positional encodings. Added to the embeddings: learned or sinusoidal. Of distances: rotary, shaw, t5, alibi, or
    the name that a plugin added to `transformer.attention.positions.POSITIONS`. none: only the causal mask knows an
    order."""
    max_length: Annotated[int, Ge(2)] = 256
    """Longest source, and the limit of every translation, in tokens. There are twice as many learned positions."""
    tie: Literal["all", "target", "none"] = "all"
    """Matrices that are one. all: source embedding = target embedding = output layer, as in GPT-2. target: the last
    two."""
    output_bias: bool = False
    """Add a bias to the logits."""
    scale_embeddings: bool = True
    """Multiply embeddings by the root of the width, as in the Transformer; GPT-2 does not."""
    norm_epsilon: Annotated[float, Interval(ge=1e-12, le=0.1)] = 1e-6
    """Number that each LayerNorm adds to the variance; 1e-5 in GPT-2."""
    dropout: Annotated[float, Interval(ge=0, le=0.999)] = 0.1
    """Dropout rate on the embeddings and on each sub-layer's output."""
    attention_dropout: Annotated[float, Interval(ge=0, le=0.999)] = 0.0
    """Dropout rate on the attention weights."""
    feedforward_dropout: Annotated[float, Interval(ge=0, le=0.999)] = 0.0
    """Dropout rate after the activation of the feed-forward sub-layer."""
    unroll: bool = False
    """Unroll the scan over layers: slower to compile, sometimes faster to run; the same mathematics."""

    @property
    def text_length(self) -> int:
        """See `SequenceToSequence.text_length`: all positions but that of the begin token."""
        return 2 * self.max_length - 1

    @property
    def cross(self) -> tuple[int, int]:
        """See `SequenceToSequence.cross`."""
        return self.layers, self.attention.heads

    @property
    def memory_width(self) -> int:
        """See `SequenceToSequence.memory_width`."""
        return self.width

    def build(self, source_vocabulary: int, target_vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build`."""
        from transformer.models.gpt.model import Gpt as Model

        return Model(self, source_vocabulary, target_vocabulary, **how)

    def encoder_multiplications(self, source: Any) -> int:
        """See `SequenceToSequence.encoder_multiplications`."""
        from transformer.models.gpt import flops

        return flops.prefix(self, source)

    def decoder_multiplications(self, source: Any, target: Any, vocabulary: int, *, composed: bool = False) -> int:
        """See `SequenceToSequence.decoder_multiplications`."""
        from transformer.models.gpt import flops

        return flops.continuation(self, source, target, vocabulary)

    def sharding(self) -> Any:
        """See `ModelConfig.sharding`."""
        from transformer.models.gpt.sharding import PARAMETERS

        return PARAMETERS

    def cache_sharding(self) -> Any:
        """See `ModelConfig.cache_sharding`."""
        from transformer.models.gpt.sharding import CACHES

        return CACHES

    def check(self) -> None:
        """See `ModelConfig.check`."""
        attention = self.attention
        attention.check()
        if len(set(attention.places)) < 3:
            raise UsageError(
                f"--model.attention.places {' '.join(attention.places)}: a Gpt model has one attention for source and "
                "target: leave it out"
            )
        if self.width % attention.heads:
            raise UsageError(
                f"--model.width={self.width} does not divide into --model.attention.heads={attention.heads} heads"
            )
        check_fused(attention, self.attention_dropout)
        check_heads(attention)
        check_mechanism(attention, self.width // attention.heads)
        if attention.mechanism not in ("standard", "talking"):
            raise UsageError(
                f"--model.attention.mechanism={attention.mechanism} does not read a source and a target in two parts "
                "under one normalizer, as a Gpt model does: give standard or talking"
            )
        check_positions(self.positions, attention, self.width // attention.heads)
        if needs_lengths(attention.window):
            raise UsageError(
                f"--model.attention.window={attention.window} needs the length of the text, which is unknown while it "
                "is written: give --model.attention.window=global or local_m"
            )
        if not is_pointwise(attention.score):
            raise UsageError(
                f"--model.attention.score={attention.score} has an energy for each place of the source, and the places "
                "of a target follow a source of any length: give another score"
            )

    def check_language_model(self) -> None:
        """See `SequenceToSequence.check_language_model`."""

    def check_part(self, part: str) -> None:
        """See `SequenceToSequence.check_part`."""
        raise UsageError(
            f"--model.{part}: a Gpt model reads source and target with the same layers, and cannot be taken apart: "
            "give a Transformer or an Rnn"
        )

    def check_packing(self) -> None:
        """See `ModelConfig.check_packing`: keys know their positions, so every setting serves packed rows."""

    def smoke(self) -> "Gpt":
        """See `ModelConfig.smoke`."""
        return replace(self, layers=min(2, self.layers), width=8 * self.attention.heads, feedforward=64)
