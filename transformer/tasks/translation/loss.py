"""The loss of translation: label-smoothed cross-entropy, R-Drop, and a term that guides the attention."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from transformer.alignment.readouts.names import FULL_CONTEXT
from transformer.config import Config
from transformer.data.batching.pairs import Batch
from transformer.nn.losses import cross_entropy, guiding
from transformer.nn.regularized import disagreement
from transformer.tasks.translation.config import Translation


@dataclass(frozen=True)
class TranslationLoss:
    """`counts` and `loss` of `tasks.task.Prepared`."""

    task: Translation
    chunk: int
    """Tokens whose logits are held at once."""

    @classmethod
    def of(cls, config: Config) -> "TranslationLoss":
        """The loss of a run's settings."""
        assert isinstance(config.task, Translation)
        return cls(config.task, config.training.loss_chunk)

    def counts(self, batch: Batch) -> dict[str, Array]:
        """Target tokens and sentences of a whole batch."""
        real, segments = batch.target_out != 0, batch.segments
        sentences = real.any(1) if segments is None else segments.target.max(1)
        return {"tokens": real.sum(), "sentences": sentences.sum()}

    def loss(
        self, model: Any, batch: Batch, counts: dict[str, Array], key: Array
    ) -> tuple[Array, dict[str, dict[str, Array]]]:
        """The loss as a mean over tokens or over sentences; logged values are always means over tokens."""
        guided = self.task.guided
        encoder_key, decoder_key = jax.random.split(key)
        # Only models that read packed rows have the argument.
        packed = {} if batch.segments is None else batch.segments._asdict()
        source, target = ({"segments": packed[side]} if packed else {} for side in ("source", "target"))
        memory = model.encode(batch.source, encoder_key, **source)
        full = guided.by == FULL_CONTEXT
        hidden, attention = model.decode(
            memory, batch.target_in, decoder_key, weights=guided.weight > 0 and not full, **target
        )
        total, nll = cross_entropy(
            model.output, hidden, batch.target_out, smoothing=self.task.label_smoothing, chunk=self.chunk
        )
        sums = {"nll": nll.sum()}
        if self.task.r_drop > 0:
            encoder_key, again_key = jax.random.split(jax.random.fold_in(key, 1))
            second, _ = model.decode(
                model.encode(batch.source, encoder_key, **source), batch.target_in, again_key, **target
            )
            other, _ = cross_entropy(
                model.output, second, batch.target_out, smoothing=self.task.label_smoothing, chunk=self.chunk
            )
            sums["r_drop"] = disagreement(model.output, hidden, second, batch.target_out, chunk=self.chunk)
            total = (total + other + self.task.r_drop * sums["r_drop"]) / 2
        if guided.weight > 0:
            if full:
                second_key = jax.random.fold_in(decoder_key, 1)
                cross = model.attend_in_full_context(memory, batch.target_in, second_key, **target)
            else:
                cross = attention.cross
            heads = cross[:, guided.layer, jnp.array(guided.heads)]
            sums["guiding"] = guiding(heads, batch.alignment, batch.target_out)
            total += guided.weight * sums["guiding"]
        return total / counts[self.task.mean_over], {"tokens": sums | {"loss": total}}
