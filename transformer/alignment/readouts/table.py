"""Read-outs: matrices [T, S] that say how much each source token means to each target token.

The attention weights are one read-out; this table has the others. Each is computed for a batch of pairs by teacher
forcing. Row t belongs to the step that predicts target token t, as with the weights. Each read-out has its own unit (a
norm, a drop in probability); `shares` turns it into rows that sum to 1, so that the same rules turn all read-outs into
links and pictures.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.alignment.readouts import erasure, mixing, norms, saliency
from transformer.alignment.readouts.mixing import Trace
from transformer.alignment.readouts.shares import shares
from transformer.errors import UsageError
from transformer.models.interface import Embeds, FullContext, Traces


class Batch(NamedTuple):
    """Pairs, padded with 0."""

    source: Int[Array, "B S"]
    units: Int[Array, "B S"]
    """The number of each source token's word, from 0 in order; the EOS token counts as a word, padding has -1."""
    target_in: Int[Array, "B T"]
    target_out: Int[Array, "B T"]


class Passes:
    """The passes of a model over a batch. What several read-outs need is computed once.

    Raises UsageError for what the model does not have.
    """

    def __init__(self, model: Any, batch: Batch):
        self.model, self.batch = model, batch

    @cached_property
    def trace(self) -> Trace:
        """The attentions of a forward pass."""
        model, batch = self.model, self.batch
        if not isinstance(model, Traces):
            raise UsageError(
                "read-outs of values and of whole stacks are defined for one model that tells what its attentions add "
                f"up, which {type(model).__name__} does not: give another --by"
            )
        memory, encoder = model.trace_encoder(batch.source)
        _, own, cross = model.trace_decoder(memory, batch.target_in)
        return Trace(encoder, own, cross)

    @property
    def whole_trace(self) -> Trace:
        """The trace of a model that attends in encoder and decoder."""
        if not (self.trace.encoder and self.trace.decoder):
            raise UsageError("rollout and alti are defined for self-attention in encoder and decoder, and this model "
                             "has a recurrent part: give another --by")  # fmt: skip
        return self.trace

    @cached_property
    def zeroed(self) -> erasure.Falls:
        """Drops when the embeddings of a word are zero."""
        return erasure.erase("zero", self._embedding_model, *self.batch)

    @cached_property
    def left_out(self) -> erasure.Falls:
        """Drops when a word is deleted."""
        return erasure.erase("leave out", self.model, *self.batch)

    @property
    def full_context(self) -> Float[Array, "B L H T S"]:
        """Attention weights of a pass that sees the whole target."""
        model, batch = self.model, self.batch
        if not isinstance(self.model, FullContext):
            raise UsageError("full-context is defined for one Transformer decoder, which can read the whole target at "
                             f"once, and not for {type(model).__name__}: give --by weights")  # fmt: skip
        return self.model.attend_in_full_context(model.encode(batch.source), batch.target_in)

    def saliency(self, function: Callable[[Any, Array, Array, Array], Array]) -> Float[Array, "B T S"]:
        """One of `readouts.saliency`."""
        return function(self._embedding_model, self.batch.source, self.batch.target_in, self.batch.target_out)

    @property
    def _embedding_model(self) -> Any:
        if not isinstance(self.model, Embeds):
            raise UsageError("saliency and erasure need the embeddings of the source, which "
                             f"{type(self.model).__name__} does not give: take --by omission")  # fmt: skip
        return self.model


BY_PLACE: dict[str, Callable[[Passes], Float[Array, "B L H T S"]]] = {
    "full-context": lambda passes: passes.full_context,
    "norms": lambda passes: norms.norms(passes.trace.cross),
    "head-norms": lambda passes: norms.head_norms(passes.trace.cross),
    "rollout": lambda passes: mixing.rollout(passes.whole_trace),
    "alti": lambda passes: mixing.alti(passes.whole_trace),
}
"""By layer and head; H is 1 if a read-out has no heads."""
OF_PREDICTIONS: dict[str, Callable[[Passes], Float[Array, "B T S"]]] = {
    "gradient": lambda passes: passes.saliency(saliency.gradient_input),
    "integrated": lambda passes: passes.saliency(saliency.integrated),
    "smoothgrad": lambda passes: passes.saliency(saliency.smooth_gradient),
    "erasure": lambda passes: passes.zeroed.probability,
    "log-erasure": lambda passes: passes.zeroed.log_probability,
    "omission": lambda passes: passes.left_out.probability,
    "log-omission": lambda passes: passes.left_out.log_probability,
}


def compute(model: Any, names: Sequence[str], batch: Batch) -> dict[str, Float[Array, "B L H T S"]]:
    """Read-outs as shares, by name; L and H are 1 if a read-out has none.

    Raises UsageError for a model that does not have one of them.
    """
    passes = Passes(model, batch)
    real = (batch.target_out != 0)[:, None, None, :, None] & (batch.source != 0)[:, None, None, None]

    def measured(name: str) -> Array:
        return BY_PLACE[name](passes) if name in BY_PLACE else OF_PREDICTIONS[name](passes)[:, None, None]

    return {name: shares(jnp.where(real, measured(name), 0)) for name in names}
