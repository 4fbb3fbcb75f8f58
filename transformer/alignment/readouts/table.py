"""Read-outs: matrices [T, S] that say how much each source token means to each target token.

The attention weights are one read-out; this table has the others. Each is computed for a batch of pairs by teacher
forcing. Row t belongs to the step that predicts target token t, as with the weights. What a read-out measures (a norm,
a fall of the probability) has its own unit; `shares` makes rows that sum to 1 of it, so that all read-outs become links
and pictures by the same rules.
"""

import difflib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.alignment.readouts import erasure, mixing, norms, saliency
from transformer.alignment.readouts.mixing import Trace
from transformer.errors import UsageError
from transformer.models.interface import Embeds, Traces

WEIGHTS = "weights"
"""The attention weights themselves, which need nothing more to be computed."""


class Batch(NamedTuple):
    """Pairs, padded with 0."""

    source: Int[Array, "B S"]
    units: Int[Array, "B S"]
    """The number of each source token's word, from 0 in order; the EOS token is a word of its own, padding has -1."""
    target_in: Int[Array, "B T"]
    target_out: Int[Array, "B T"]


class Readout(NamedTuple):
    """How much each source token means to each target token."""

    label: str
    """What pictures and pages call it."""
    compute: Callable[[Any, Batch], Float[Array, "B L H T S"]]
    """(model, batch) -> by layer and head; L or H is 1 where a read-out has none. Raises UsageError for a model that
    does not have it."""


def check_names(names: Sequence[str]) -> None:
    """Raises UsageError for a read-out that does not exist."""
    known = [WEIGHTS, *READOUTS]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"give some of {', '.join(known)}"
            raise UsageError(f"there is no read-out {name}: {meant}")


def compute(model: Any, names: Sequence[str], batch: Batch) -> dict[str, Float[Array, "B L H T S"]]:
    """Read-outs as shares, by name."""
    real = (batch.target_out != 0)[:, None, None, :, None] & (batch.source != 0)[:, None, None, None]
    return {name: shares(jnp.where(real, READOUTS[name].compute(model, batch), 0)) for name in names}


def shares(measured: Float[Array, "*B T S"]) -> Float[Array, "*B T S"]:
    """Rows that sum to 1, without negative values; a row without positive values is zero."""
    positive = jnp.maximum(measured, 0)
    total = positive.sum(-1, keepdims=True)
    return positive / jnp.where(total > 0, total, 1)


def trace(model: Any, batch: Batch) -> Trace:
    """The attentions of a forward pass."""
    if not isinstance(model, Traces):
        raise UsageError("read-outs of values and of whole stacks are defined for one model that tells what its "
                         f"attentions add up, which {type(model).__name__} does not: give another --by")  # fmt: skip
    memory, encoder = model.trace_encoder(batch.source)
    _, own, cross = model.trace_decoder(memory, batch.target_in)
    return Trace(encoder, own, cross)


def _norms(function: Callable[[Sequence[Any]], Array]) -> Callable[[Any, Batch], Array]:
    return lambda model, batch: function(trace(model, batch).cross)


def _mixing(function: Callable[[Trace], Array]) -> Callable[[Any, Batch], Array]:
    def compute(model: Any, batch: Batch) -> Array:
        traced = trace(model, batch)
        if not (traced.encoder and traced.decoder):
            raise UsageError("rollout and alti are defined for self-attention in encoder and decoder, and this model "
                             "has a recurrent part: give another --by")  # fmt: skip
        return function(traced)

    return compute


def _saliency(function: Callable[[Any, Array, Array, Array], Array]) -> Callable[[Any, Batch], Array]:
    def compute(model: Any, batch: Batch) -> Array:
        _check_embeds(model)
        return function(model, batch.source, batch.target_in, batch.target_out)[:, None, None]

    return compute


def _erasure(function: Callable[[Any, Array, Array, Array, Array], Array]) -> Callable[[Any, Batch], Array]:
    def compute(model: Any, batch: Batch) -> Array:
        if function in (erasure.erasure, erasure.log_erasure):
            _check_embeds(model)
        return function(model, *batch)[:, None, None]

    return compute


def _check_embeds(model: Any) -> None:
    if not isinstance(model, Embeds):
        raise UsageError("saliency and erasure need the embeddings of the source, which "
                         f"{type(model).__name__} does not give: take --by omission")  # fmt: skip


READOUTS = {
    "norms": Readout("norms of weighted values", _norms(norms.norms)),
    "head-norms": Readout("norms of weighted values by head", _norms(norms.head_norms)),
    "rollout": Readout("attention rollout", _mixing(mixing.rollout)),
    "alti": Readout("contributions of tokens (ALTI+)", _mixing(mixing.alti)),
    "gradient": Readout("gradient times input", _saliency(saliency.gradient_input)),
    "integrated": Readout("integrated gradients", _saliency(saliency.integrated)),
    "smoothgrad": Readout("smoothed gradient (SmoothGrad)", _saliency(saliency.smooth_gradient)),
    "erasure": Readout("fall of the probability, word zeroed", _erasure(erasure.erasure)),
    "log-erasure": Readout("fall of the log-probability, word zeroed", _erasure(erasure.log_erasure)),
    "omission": Readout("fall of the probability, word left out", _erasure(erasure.omission)),
    "log-omission": Readout("fall of the log-probability, word left out", _erasure(erasure.log_omission)),
}
