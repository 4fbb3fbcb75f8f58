"""What the settings of every model family have in common. A family's own are in its folder.

A family is a folder of `models/` (or a file of a plugin) and an entry of `models.families.FAMILIES`. Its settings know
how to build the model, what an update of it costs, how `--smoke` shrinks it and what it refuses, and import no JAX.
"""

from typing import Any

from transformer.attention.config import Attention


class ModelConfig:
    """Settings of a model: a frozen dataclass for each family, whose fields are options of the command line."""

    def check(self) -> None:
        """Refuse settings that cannot work together. Raises UsageError with the flag to change."""

    def smoke(self) -> "ModelConfig":
        """The same model shrunk, so that an update takes milliseconds; its shape stays."""
        return self

    def sharding(self) -> tuple[tuple[str, Any], ...]:
        """Where the family's own parameters live on a mesh: patterns of paths with their `PartitionSpec`; see
        `distributed.sharding`. They come before the rules that all families share."""
        return ()


class SequenceToSequence(ModelConfig):
    """Settings of a family that implements `models.interface.Model`: a source in, a target out."""

    attention: Attention
    """How the target attends to the source."""
    max_length: int
    """Longest source, and the limit of every translation, in tokens."""

    @property
    def cross(self) -> tuple[int, int]:
        """Layers and heads of the attention to the source."""
        raise NotImplementedError

    def build(self, source_vocabulary: int, target_vocabulary: int, **how: Any) -> Any:
        """A model with fresh parameters.

        Args:
            source_vocabulary: entries.
            target_vocabulary: entries.
            how: `rngs` of the parameters, and `precision` and `remat` as `training.config.Training` has them.
        """
        raise NotImplementedError

    def multiplications(self, source: Any, target: Any, vocabulary: int) -> int:
        """Multiplications of matrices in a forward pass over sentences of these lengths ([B] tokens each)."""
        raise NotImplementedError
