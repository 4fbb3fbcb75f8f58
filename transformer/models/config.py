"""What the settings of all model families have in common. A family's own settings are in its folder.

A family is a folder of `models/` (or a file of a plugin) and an entry of `models.families.FAMILIES`. Its settings build
the model, count its operations, say how it is sharded and how `--smoke` shrinks it, and refuse what cannot work. They
import no JAX: methods that need it import it when they are called.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from transformer.attention.config import Attention
from transformer.errors import UsageError

Rules: TypeAlias = tuple[tuple[str, Any], ...]
"""As in `distributed.sharding`: patterns of paths, each with a `PartitionSpec`."""


class ModelConfig:
    """Settings of a model: a frozen dataclass for each family, whose fields are options of the command line."""

    def check(self) -> None:
        """Refuse settings that cannot work together. Raises UsageError with the flag to change."""

    def check_packing(self) -> None:
        """Refuse `--batching.pack`, unless the model reads packed rows as a `models.interface.PackedModel` does. Raises
        UsageError with the flag to change."""
        raise UsageError(
            f"--batching.pack: a {type(self).__name__} model reads one sentence in each row: give --batching.pack=0"
        )

    def smoke(self) -> "ModelConfig":
        """The same model, small enough that an update takes milliseconds."""
        return self

    def sharding(self) -> Rules:
        """How the family's own parameters are sharded, as patterns of their paths with a `PartitionSpec`. They come
        before the rules that all families share, `distributed.sharding.SHARED`."""
        return ()

    def cache_sharding(self) -> Rules:
        """The same for the state of a search; its arrays that match no rule are sharded by sentences."""
        return ()


class SequenceToSequence(ModelConfig):
    """Settings of a family that implements `models.interface.Model`.

    Its encoder and its decoder can also be built without the other; see `models.composed`.
    """

    attention: Attention
    """The attention of the target to the source."""
    width: int
    """D: the width that a learning rate by width (Vaswani 2017, equation 3) refers to."""
    max_length: int
    """Longest source, and the limit of every translation, in tokens."""

    @property
    def text_length(self) -> int:
        """Longest text of a language model, in tokens."""
        return self.max_length

    @property
    def cross(self) -> tuple[int, int]:
        """Numbers of layers and of heads of the attention to the source."""
        raise NotImplementedError

    @property
    def memory_width(self) -> int:
        """Width of the encoder's states, and of the memory that the decoder attends to."""
        raise NotImplementedError

    def check_part(self, part: str) -> None:
        """Refuse to be the `part` (encoder or decoder) of a `models.composed`. Raises UsageError."""

    def check_language_model(self) -> None:
        """Refuse to be a `models.interface.LanguageModel`. Raises UsageError."""
        raise UsageError(
            f"--task is language_model, whose texts have no source, and a {type(self).__name__} model reads one: give "
            "a Gpt"
        )

    def check_full_context(self, flag: str) -> None:
        """Refuse an option that needs a `models.interface.FullContext`. Raises UsageError.

        Args:
            flag: the option with its value.
        """
        raise UsageError(
            f"{flag} needs a decoder that can read the whole target at once, as a Transformer's can; one of the family "
            f"{type(self).__name__} reads it from left to right: give --task.guided.context=past, and --by weights"
        )

    def build(self, source_vocabulary: int, target_vocabulary: int, **how: Any) -> Any:
        """A model with newly initialised parameters, a `models.interface.Model`.

        Args:
            source_vocabulary: entries.
            target_vocabulary: entries.
            how: `rngs` of the parameters, and `precision` and `remat` as in `training.config.Training`.
        """
        raise NotImplementedError

    def build_encoder(self, vocabulary: int, **how: Any) -> Any:
        """The encoder alone, a `models.interface.Encoder`; the arguments are those of `build`."""
        raise NotImplementedError

    def build_decoder(self, vocabulary: int, **how: Any) -> Any:
        """The decoder alone, a `models.interface.Decoder`, over a memory of `memory_width` from any encoder."""
        raise NotImplementedError

    def encoder_multiplications(self, source: Any) -> int:
        """Multiplications of matrix products on sources of these lengths ([B] tokens), in a forward pass."""
        raise NotImplementedError

    def decoder_multiplications(self, source: Any, target: Any, vocabulary: int, *, composed: bool = False) -> int:
        """The same for the decoder; `composed`: as built by `build_decoder`."""
        raise NotImplementedError

    def multiplications(self, source: Any, target: Any, vocabulary: int) -> int:
        """Multiplications of matrix products on sentence pairs of these lengths ([B] tokens each), in a forward pass.

        A multiplication costs 2 operations forward and 4 backward. Elementwise operations are not counted.
        """
        return self.encoder_multiplications(source) + self.decoder_multiplications(source, target, vocabulary)

    def smoke(self) -> "SequenceToSequence":
        """See `ModelConfig.smoke`."""
        return self

    def with_max_length(self, length: int) -> "SequenceToSequence":
        """The same settings with a different `max_length`."""
        return dataclasses.replace(self, max_length=length)  # type: ignore[type-var]


def with_flags(part: str, check: Callable[[], None]) -> None:
    """Run the check of a part, whose messages name the flags as the whole family has them."""
    try:
        check()
    except UsageError as error:
        raise UsageError(str(error).replace("--model.", f"--model.{part}.")) from error
