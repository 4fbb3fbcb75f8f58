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
        seen, gain = self._look(query, position, lengths, keys.shape[-2])
        return attend(energies, values, mask if seen is None else mask & seen, gain=gain, rate=rate, key=key)

    def along(
        self,
        query: Float[Array, "B H N Q"],
        keys: Float[Array, "B H N T P"],
        values: Float[Array, "B H N T W"],
        path: Bool[Array, "B 1 N N T"],
        position: Int[Array, "B N"],
    ) -> tuple[Float[Array, "B H N W"], Float[Array, "B H N T"]]:
        """N hypotheses of a sentence look back along their own paths through what all of them wrote.

        Every query meets every key in one product, and the mask leaves it those of its own past: nothing is copied when
        one hypothesis goes on from another.

        Args:
            query: of each hypothesis' newest token.
            keys: what `project` made of each token t that hypothesis n wrote.
            values: what is summed.
            path: [b, 1, q, n, t]: token t of hypothesis n is in the past of hypothesis q.
            position: places of the queries, for windows.
        """
        B, H, N, T, _ = keys.shape

        def energies(query: Array, keys: Array, weights: Any) -> Array:
            one = SCORES[self.score].energies
            return jax.vmap(lambda own: one(query, own, weights), -3, -2)(keys)

        met = self._by_head(energies, self.score_weights, query, keys, axes=(-3, -4), out=-4)

        seen, gain = self._look(query, position, None, T)
        if seen is not None:
            path = path & seen[..., None, :]
        if gain is not None:
            gain = jnp.broadcast_to(gain[..., None, :], met.shape).reshape(B, H, N, N * T)
        mask = path.reshape(B, -1, N, N * T)
        context, weights = attend(met.reshape(B, H, N, N * T), values.reshape(B, H, N * T, -1), mask, gain=gain)
        return context, weights.reshape(met.shape).sum(-2)

    def _look(self, query: Array, position: Array, lengths: Array | None, width: int) -> Any:
        """Of each query, which of `width` places the window shows, and the gain of each; None: all, alike."""
        places = jnp.arange(width)

        def window(query: Array, weights: Any) -> Any:
            return WINDOWS[self.window].look(query, position, lengths, places, self.half_width, weights)

        found = self._by_head(window, self.window_weights, query)
        if self.heads is not None and not self.window_weights:
            return jax.tree.map(lambda one: one[:, None], found)
        return found

    def _by_head(
        self,
        function: Callable[..., Any],
        weights: Any,
        *inputs: Array,
        axes: tuple[int, ...] | None = None,
        out: int = -3,
    ) -> Any:
        """The function of the inputs and of each head's own weights; `axes` are those of the heads."""
        plain = {name: weight[...] for name, weight in weights.items()}
        if self.heads is None or not plain:
            return function(*inputs, plain)
        return jax.vmap(function, in_axes=(*(axes or [-3] * len(inputs)), 0), out_axes=out)(*inputs, plain)


def _fresh(starts: dict[str, Start], heads: int | None, rngs: nnx.Rngs) -> Any:
    def one(start: Start) -> Array:
        if heads is None:
            return start(rngs.params())
        return jnp.stack([start(key) for key in jax.random.split(rngs.params(), heads)])

    return nnx.Dict({name: nnx.Param(one(start)) for name, start in starts.items()})
