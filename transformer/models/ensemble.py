"""Several trained models of any families as one model; they have one target vocabulary."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from transformer.models.interface import Attentions, Memory, Model

Average = Literal["probability", "log-probability"]


class Combined(nnx.Module):
    """The logits of the members' mean prediction: of probabilities, or of log-probabilities (geometric mean)."""

    def __init__(self, outputs: Sequence[Any], average: Average):
        self.outputs, self.average = nnx.List(outputs), average
        self.widths = [output.embedding.table.shape[-1] for output in outputs]

    def __call__(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        """`hidden` is the concatenation of the members' hidden states."""
        ends = [sum(self.widths[: index + 1]) for index in range(len(self.widths) - 1)]
        parts = zip(self.outputs, jnp.split(hidden, ends, -1), strict=True)
        logp = jnp.stack([jax.nn.log_softmax(output(part)) for output, part in parts])
        if self.average == "log-probability":
            return logp.mean(0)
        return jax.nn.logsumexp(logp, 0) - jnp.log(float(len(self.widths)))


class Ensemble:
    """Members that predict together; implements `models.interface.Model`, without dropout.

    The attention to the source is the mean over the members that have one, each averaged over its layers and heads.
    """

    def __init__(self, members: Sequence[Model], average: Average):
        self.members = tuple(members)
        self.output = Combined([member.output for member in members], average)

    def encode(self, source: Int[Array, "B S"], key: PRNGKeyArray | None = None, *, weights: bool = False) -> Memory:
        """See `Model.encode`."""
        memories = tuple(member.encode(source) for member in self.members)
        return Memory(memories[0].states, memories[0].mask, None, memories)

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """See `Model.decode`."""
        parts = [
            member.decode(own, target_in, weights=weights)
            for member, own in zip(self.members, memory.final_state, strict=True)
        ]
        hidden = jnp.concatenate([part[0] for part in parts], -1)
        return hidden, _mean([part[1] for part in parts]) if weights else None

    def init_cache(self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False) -> tuple[Any, Any]:
        """See `Model.init_cache`."""
        both = zip(self.members, memory.final_state, strict=True)
        parts = [member.init_cache(own, length, beam, independent=independent) for member, own in both]
        return tuple(part[0] for part in parts), tuple(part[1] for part in parts)

    def prepare_for_decoding(self) -> None:
        """See `Model.prepare_for_decoding`."""
        for member in self.members:
            member.prepare_for_decoding()

    def step(
        self, tokens: Int[Array, "R"], cross_cache: Any, cache: Any, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Any, Attentions | None]:
        """See `Model.step`."""
        parts = [
            member.step(tokens, *own, weights=weights)
            for member, *own in zip(self.members, cross_cache, cache, strict=True)
        ]
        hidden = jnp.concatenate([part[0] for part in parts], -1)
        return hidden, tuple(part[1] for part in parts), _mean([part[2] for part in parts]) if weights else None

    def reorder(self, cache: Any, parent: Int[Array, "B K"]) -> Any:
        """See `Model.reorder`."""
        return tuple(member.reorder(own, parent) for member, own in zip(self.members, cache, strict=True))


def _mean(records: Sequence[Attentions | None]) -> Attentions:
    """The mean attention to the source, as that of one layer with one head."""
    present = [record.cross for record in records if record is not None and record.cross is not None]
    if not present:
        return Attentions(None, None, None)
    means = [cross.mean((1, 2), keepdims=True) for cross in present]
    return Attentions(None, None, sum(means[1:], means[0]) / len(means))
