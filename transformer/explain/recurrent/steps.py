"""Every intermediate result of a recurrent decoder, token by token over one sentence.

The encoder and the first state are the model's own. The decoder is computed from its parameters in NumPy, as in a
textbook; states, attention weights and logits of each token are compared with a step of the model's own search.

Letters: T target tokens, S source tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.explain.numbers import agree, array, logits_of
from transformer.explain.recurrent.attention import Attention, attend
from transformer.explain.recurrent.cells import Part, State, over_time
from transformer.explain.recurrent.decoders import Step, bahdanau, luong
from transformer.explain.words import Names, Prediction, predict
from transformer.models.rnn.decoders import Luong


@dataclass(frozen=True)
class Steps:
    """The decoder on one sentence; the parts have values of every step, [T, ...]."""

    kind: str
    """luong or bahdanau."""
    cell: str
    """gru or lstm."""
    source: tuple[str, ...]
    pieces: tuple[str, ...]
    """The tokens that the decoder reads, one at each step."""
    inputs: tuple[Part, ...]
    """The parts of the first cell's input x: the embedding, then the attentional vector or the context if there is
    one."""
    layers: tuple[tuple[Part, ...], ...]
    """The cell of each layer."""
    attention: Attention | None
    """None for a decoder without attention."""
    readout: tuple[Part, ...]
    """From state and context to the output layer's input, the last part."""
    prediction: Prediction


def decoder_steps(
    decoder: Any, memory: Any, source: Sequence[str], target_in: Sequence[int], pieces: Sequence[str], names: Names
) -> Steps:
    """A step for each token of `target_in`.

    Args:
        decoder: a `models.rnn` decoder, or a whole model.
        memory: of one sentence; padding at its end shows the effect of the mask.
        source: the tokens of the memory as text.
        target_in: the ids that the decoder reads, from the begin token on.
        pieces: the same as text.
        names: the target's token ids as text.

    Raises:
        TransformerError: a result is not the model's.
    """
    inner, states, mask = decoder.decoder, array(memory.states[0]), np.asarray(memory.mask[0])
    embedded = array(decoder.embed_target(jnp.asarray(target_in, jnp.int32)))
    is_luong = isinstance(inner, Luong)
    with jax.default_matmul_precision("highest"):
        cross_cache, cache = decoder.init_cache(memory, len(target_in))

    def attended(query: np.ndarray, *positions: int) -> Attention:
        return attend(inner.mechanism, query, positions, states, mask)

    first = _states(cache, is_luong)
    if is_luong:
        steps = luong(inner, embedded, first, attended)
    else:
        steps = bahdanau(inner, embedded, first, attended, array(cross_cache.summary[0]))
    queries = np.stack([step.query for step in steps])
    attention = None if inner.mechanism is None else attended(queries, *range(len(steps)))
    readout = over_time([step.readout for step in steps])
    logits = logits_of(decoder.output, readout[-1].values)
    _compare(decoder, target_in, cross_cache, cache, steps, attention, logits)
    return Steps(
        "luong" if is_luong else "bahdanau",
        inner.stack.cells[0].kind,
        tuple(source),
        tuple(pieces),
        over_time([step.inputs for step in steps]),
        tuple(over_time(list(layer)) for layer in zip(*(step.layers for step in steps), strict=True)),
        attention,
        readout,
        predict(logits, names),
    )


def _states(cache: Any, is_luong: bool) -> tuple[State, ...]:
    """The state of each layer in the cache of a search with one hypothesis."""
    states = cache.carry[0] if is_luong else cache.carry
    return tuple(tuple(array(leaf[0, 0]) for leaf in layer) for layer in states)


def _compare(
    decoder: Any,
    target_in: Sequence[int],
    cross_cache: Any,
    cache: Any,
    steps: Sequence[Step],
    attention: Attention | None,
    logits: np.ndarray,
) -> None:
    """The model's own search takes the same steps. Raises TransformerError if a result differs."""

    @jax.jit
    def step(token: Any, cross_cache: Any, cache: Any) -> Any:
        hidden, cache, record = decoder.step(token, cross_cache, cache, weights=True)
        return decoder.output(hidden), cache, record.cross

    is_luong = isinstance(decoder.decoder, Luong)
    for position, (token, ours) in enumerate(zip(target_in, steps, strict=True)):
        with jax.default_matmul_precision("highest"):
            theirs, cache, weights = step(jnp.array([token], jnp.int32), cross_cache, cache)
        for layer, (state, expected) in enumerate(zip(ours.states, _states(cache, is_luong), strict=True)):
            for leaf, other in zip(state, expected, strict=True):
                agree(f"state of layer {layer} after token {position}", leaf, other)
        if attention is not None:
            agree(f"weights of token {position}", attention.weights[position], weights[0, 0, 0])
        agree(f"logits after token {position}", logits[position], theirs[0])
