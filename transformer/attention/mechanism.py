"""A score with a window, and the parameters of both."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer import config
from transformer.attention.attend import attend
from transformer.attention.scores import SCORES, Sizes, Start
from transformer.attention.windows import WINDOWS


class Mechanism(nnx.Module):
    """Attention without projections of its own: any score, any window, with or without heads.

    With heads, query, keys and values have the axis of heads before their last two, and score and window have
    parameters for each.
    """

    def __init__(
        self, settings: config.Attention, query: int, memory: int, heads: int | None = None, *, rngs: nnx.Rngs
    ):
        sizes = Sizes(query, memory, settings.hidden or query, settings.positions)
        self.score, self.window, self.half_width = settings.score, settings.window, settings.half_width
        self.heads = heads
        self.score_weights = _fresh(SCORES[self.score].weights(sizes), heads, rngs)
        self.window_weights = _fresh(WINDOWS[self.window].weights(sizes), heads, rngs)

    def project(self, memory: Float[Array, "*B S M"]) -> Float[Array, "*B S P"]:
        """What the score needs of the memory, once a sentence."""
        return self._by_head(SCORES[self.score].project, self.score_weights, memory)

    def __call__(
        self,
        query: Float[Array, "*B T Q"],
        keys: Float[Array, "*B S P"],
        values: Float[Array, "*B S W"],
        mask: Bool[Array, "*#B #T S"],
        position: Int[Array, "#B T"],
        lengths: Int[Array, "B"] | None,
        *,
        rate: float = 0.0,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "*B T W"], Float[Array, "*B T S"]]:
        """Context and weights.

        Args:
            query: what asks.
            keys: what `project` made of the memory.
            values: what is summed.
            mask: positions that may be attended to.
            position: places of the queries in their own sequence, for windows.
            lengths: tokens of each memory, for windows; None while it is still being written.
            rate: dropout on the weights that make the context.
            key: no key, no dropout.
        """
        energies = self._by_head(SCORES[self.score].energies, self.score_weights, query, keys)
        places = jnp.arange(keys.shape[-2])

        def window(query: Array, weights: Any) -> Any:
            return WINDOWS[self.window].look(query, position, lengths, places, self.half_width, weights)

        seen, gain = self._by_head(window, self.window_weights, query)
        if self.heads is not None and not self.window_weights:
            seen, gain = jax.tree.map(lambda x: x[:, None], (seen, gain))
        return attend(energies, values, mask if seen is None else mask & seen, gain=gain, rate=rate, key=key)

    def _by_head(self, function: Callable[..., Any], weights: Any, *inputs: Array) -> Any:
        """The function of the inputs and of each head's own weights."""
        plain = {name: weight[...] for name, weight in weights.items()}
        if self.heads is None or not plain:
            return function(*inputs, plain)
        return jax.vmap(function, in_axes=(*[-3] * len(inputs), 0), out_axes=-3)(*inputs, plain)


def _fresh(starts: dict[str, Start], heads: int | None, rngs: nnx.Rngs) -> Any:
    def one(start: Start) -> Array:
        if heads is None:
            return start(rngs.params())
        return jnp.stack([start(key) for key in jax.random.split(rngs.params(), heads)])

    return nnx.Dict({name: nnx.Param(one(start)) for name, start in starts.items()})
