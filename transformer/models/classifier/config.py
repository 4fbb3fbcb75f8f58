"""Settings of a classifier: any encoder, a vector of the whole text, and a linear layer."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from annotated_types import Interval

from transformer.attention.config import Attention, needs_equal_widths
from transformer.errors import UsageError
from transformer.models.config import ModelConfig, SequenceToSequence, with_flags


@dataclass(frozen=True)
class Classifier(ModelConfig):
    """An encoder of any family under a linear layer.

    The encoder keeps the settings of its whole family, of which only its own half is built.
    """

    encoder: SequenceToSequence
    """Reads the text."""
    pooling: Literal["attention", "mean", "max", "first"] = "attention"
    """How the states of all tokens become a vector. attention: a learned query attends to them (Yang 2016, equations 5
    to 7). mean, max: of each element. first: the state of the first token."""
    attention: Attention = field(default_factory=lambda: Attention(score="additive"))
    """Attention of the learned query; only for pooling by attention. Any score and any normalizer."""
    dropout: Annotated[float, Interval(ge=0, le=0.999)] = 0.1
    """Dropout on the vector of the text."""

    @property
    def width(self) -> int:
        """D: the width that a learning rate by width refers to."""
        return self.encoder.width

    @property
    def max_length(self) -> int:
        """Longest text in tokens; longer ones are cut."""
        return self.encoder.max_length

    def build(self, vocabulary: int, labels: int, **how: Any) -> Any:
        """A model with newly drawn parameters, a `models.classifier.model.Classifier`.

        Args:
            vocabulary: entries.
            labels: C, their number.
            how: `rngs` of the parameters, and `precision` and `remat` as `training.config.Training` has them.
        """
        from transformer.models.classifier.model import Classifier as Model

        return Model(self, vocabulary, labels, **how)

    def multiplications(self, source: Any, labels: int) -> int:
        """Multiplications of matrix products on texts of these lengths ([B] tokens), in a forward pass. Those of the
        pooling, a query for each text, are left out."""
        return self.encoder.encoder_multiplications(source) + len(source) * self.encoder.memory_width * labels

    def check(self) -> None:
        """See `ModelConfig.check`."""
        self.encoder.check_part("encoder")
        with_flags("encoder", self.encoder.check)
        if self.pooling != "attention":
            if self.attention != Attention(score="additive"):
                raise UsageError(
                    f"--model.attention is of a learned query, and --model.pooling={self.pooling} has none: give "
                    "--model.pooling=attention, or leave it out"
                )
            return
        attention = self.attention
        attention.check("none")
        if attention.score == "none":
            raise UsageError("--model.attention.score=none does not attend: give --model.pooling=mean")
        if attention.window != "global":
            raise UsageError(
                f"--model.attention.window={attention.window} moves with the target, and a classifier writes none: "
                "give --model.attention.window=global"
            )
        of_heads = {
            "key-value-heads": attention.key_value_heads,
            "query-key-norm": attention.query_key_norm,
            "mechanism": attention.mechanism != "standard",
            "fused": attention.fused == "always",
        }
        for flag in (flag for flag, given in of_heads.items() if given):
            raise UsageError(
                f"--model.attention.{flag} is of a Transformer's heads, and the learned query has none: give it to the "
                "encoder (--model.encoder.attention), or leave it out"
            )
        if needs_equal_widths(attention.score) and self.encoder.memory_width != self.width:
            raise UsageError(
                f"--model.attention.score={attention.score} compares vectors of one width, but the encoder's states "
                f"are {self.encoder.memory_width} wide and the query {self.width}: take general or additive"
            )

    def smoke(self) -> "Classifier":
        """See `ModelConfig.smoke`."""
        return replace(self, encoder=self.encoder.smoke())

    def sharding(self) -> Any:
        """See `ModelConfig.sharding`."""
        return self.encoder.sharding()
