"""Settings of the recurrent encoder-decoders."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from transformer.attention.config import Attention, needs_equal_widths
from transformer.errors import UsageError
from transformer.models.config import SequenceToSequence


@dataclass(frozen=True)
class Rnn(SequenceToSequence):
    """Recurrent encoder-decoders: Sutskever 2014, Cho 2014, Bahdanau 2015, Luong 2015."""

    decoder: Literal["luong", "bahdanau"] = "luong"
    """Order of attention and recurrence. luong: attention after the cell, on h_t, then an attentional vector. bahdanau:
    attention before the cell, on s_{t-1}; its context enters the cell, and a deep output with maxout follows."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell of both sides. gru applies the reset gate before the product with the recurrent matrix (Cho 2014);
    cuDNN's, and therefore PyTorch's, applies it afterwards."""
    encoder_layers: Annotated[int, Ge(1)] = 1
    """Number of layers of the encoder."""
    decoder_layers: Annotated[int, Ge(1)] = 1
    """Number of layers of the decoder."""
    bidirectional: bool = False
    """Whether encoder layers read in both directions, each with the encoder's width."""
    reverse: bool = False
    """Read the source backwards (Sutskever 2014). Attention, windows and alignments keep the source's own order."""
    embedding: Annotated[int, Ge(1)] = 256
    """Width of the embeddings."""
    width: Annotated[int, Ge(1)] = 512
    """Width of the decoder's hidden states."""
    encoder_width: Annotated[int, Ge(0)] = 0
    """Width of the encoder's hidden states, in each direction; 0: that of the decoder."""
    attention: Attention = field(default_factory=lambda: Attention(score="general"))
    """How the decoder attends. The score `none` means no attention: luong is then Sutskever 2014, bahdanau Cho 2014."""
    input_feeding: bool = True
    """The attentional vector of luong enters the next step's cell (section 3.3). Without it all target positions attend
    in parallel."""
    readout: Annotated[int, Ge(0)] = 0
    """Width of the output layer's input: luong's attentional vector (0: width), bahdanau's maxout (0: width / 2)."""
    tie: Literal["all", "target", "none"] = "none"
    """Matrices that are one. all: source embedding = target embedding = output layer (Press and Wolf 2017). target: the
    last two. Needs embeddings as wide as the readout."""
    dropout: Annotated[float, Interval(ge=0, le=0.999)] = 0.2
    """Dropout rate on the embeddings, between layers, and before the output layer (Zaremba 2014)."""
    max_length: Annotated[int, Ge(2)] = 256
    """Longest source, and the limit of every translation, in tokens."""

    @property
    def cross(self) -> tuple[int, int]:
        """See `SequenceToSequence.cross`."""
        return 1, 1

    @property
    def memory_width(self) -> int:
        """See `SequenceToSequence.memory_width`."""
        return (self.encoder_width or self.width) * (2 if self.bidirectional else 1)

    def build(self, source_vocabulary: int, target_vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build`."""
        from transformer.models.rnn.model import Rnn as Model

        return Model(self, source_vocabulary, target_vocabulary, **how)

    def build_encoder(self, vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build_encoder`."""
        from transformer.models.rnn.encoder import build_encoder

        return build_encoder(self, vocabulary, **how)

    def build_decoder(self, vocabulary: int, **how: Any) -> Any:
        """See `SequenceToSequence.build_decoder`."""
        from transformer.models.rnn.decoder import build_decoder

        return build_decoder(self, vocabulary, **how)

    def encoder_multiplications(self, source: Any) -> int:
        """See `SequenceToSequence.encoder_multiplications`."""
        from transformer.models.rnn import flops

        return flops.encoder(self, source)

    def decoder_multiplications(self, source: Any, target: Any, vocabulary: int, *, composed: bool = False) -> int:
        """See `SequenceToSequence.decoder_multiplications`."""
        from transformer.models.rnn import flops

        return flops.decoder(self, source, target, vocabulary, composed=composed)

    def sharding(self) -> Any:
        """See `ModelConfig.sharding`."""
        from transformer.models.rnn.sharding import PARAMETERS

        return PARAMETERS

    def check(self) -> None:
        """See `ModelConfig.check`."""
        attention, encoder = self.attention, self.encoder_width or self.width
        if attention.fused == "always":
            raise UsageError(
                "--model.attention.fused=always needs a Transformer: a recurrent decoder attends token by token"
            )
        of_heads = {
            "key-value-heads": attention.key_value_heads,
            "query-key-norm": attention.query_key_norm,
            "mechanism": attention.mechanism != "standard",
        }
        for flag in (flag for flag, given in of_heads.items() if given):
            raise UsageError(
                f"--model.attention.{flag} applies to a Transformer's heads, and a recurrent decoder has none: omit it"
            )
        attention.check("none")
        equal = attention.score != "none" and needs_equal_widths(attention.score)
        if equal and self.memory_width != self.width:
            raise UsageError(
                f"--model.attention.score={attention.score} compares vectors of one width, but the source's states are "
                f"{self.memory_width} wide (all directions) and the target's {self.width}: give general, or another "
                "--model.encoder-width"
            )
        if self.decoder == "luong" and not self.bidirectional and self.encoder_layers != self.decoder_layers:
            raise UsageError(
                f"--model.encoder-layers={self.encoder_layers} hand their states to --model.decoder-layers="
                f"{self.decoder_layers}: give both the same number, or --model.bidirectional=True"
            )
        if self.decoder == "luong" and not self.bidirectional and encoder != self.width:
            raise UsageError(
                f"--model.encoder-width={encoder} hands its states to --model.width={self.width}: give both the same "
                "width, or --model.bidirectional=True"
            )
        attends = self.decoder == "luong" and attention.score != "none"
        has_readout = attends or self.decoder == "bahdanau"
        given = self.readout if has_readout else 0
        readout = given or (self.width if self.decoder == "luong" else max(1, self.width // 2))
        if self.tie != "none" and readout != self.embedding:
            widen = f"--model.readout={self.embedding}" if has_readout else f"--model.embedding={readout}"
            raise UsageError(
                f"--model.tie={self.tie} needs the output layer's input ({readout} wide) as wide as --model.embedding="
                f"{self.embedding}: give {widen} or --model.tie=none"
            )

    def smoke(self) -> "Rnn":
        """See `ModelConfig.smoke`."""
        return replace(
            self,
            encoder_layers=min(2, self.encoder_layers),
            decoder_layers=min(2, self.decoder_layers),
            embedding=32,
            width=32,
            encoder_width=self.encoder_width and 16,
            readout=32 if self.readout or self.tie != "none" else 0,
        )
