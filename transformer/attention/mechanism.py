"""A score with a window, and the parameters of both."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import config
from transformer.attention.attend import attend, cudnn_serves, fused, masked_softmax
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
        self.heads, self.fused = heads, settings.fused
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
        weights: bool = True,
    ) -> tuple[Float[Array, "*B T W"], Float[Array, "*B T S"] | None]:
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
            weights: whether they are wanted: where they are not, a fused kernel may serve, which gives None.
        """
        if not (weights or (rate > 0 and key is not None)) and self._fuses(query, keys):
            return fused(query, keys, values, mask), None
        energies = self._by_head(SCORES[self.score].energies, self.score_weights, query, keys)
        seen, gain = self._look(query, position, lengths, keys.shape[-2])
        return attend(energies, values, mask if seen is None else mask & seen, gain=gain, rate=rate, key=key)

    def _fuses(self, query: Array, keys: Array) -> bool:
        """Whether one kernel is to do it all, and can."""
        if self.heads is None or (self.score, self.window) != ("scaled_dot", "global"):
            return False
        return self.fused == "always" or (self.fused == "auto" and cudnn_serves(query, keys))

    def attend_along_beam(
        self,
        query: Float[Array, "B H N Q"],
        keys: Float[Array, "B H N T P"],
        values: Float[Array, "B H N T W"],
        path: Bool[Array, "B N N T"] | None,
        position: Int[Array, "B N"],
    ) -> tuple[Float[Array, "B H N W"], Float[Array, "B H N T"]]:
        """N hypotheses of a sentence look back along their own paths through what all of them wrote.

        Every query meets every key in one product, and the path leaves it those of its own past: nothing is copied when
        one hypothesis goes on from another.

        Args:
            query: of each hypothesis' newest token.
            keys: what `project` made of each token t that hypothesis n wrote.
            values: what is summed.
            path: [b, q, n, t]: hypothesis n wrote token t of hypothesis q; one n for each q and t. None: each wrote its
                own.
            position: places of the queries.
        """
        own = self._own_energies(query, keys, path)
        seen, gain = self._look(query, position, None, keys.shape[-2])
        mask = (jnp.arange(keys.shape[-2])[None, None] <= position[..., None])[:, None]
        weights = masked_softmax(own, mask if seen is None else mask & seen)
        if gain is not None:
            weights = weights * gain
        if path is None:
            return jnp.einsum("bhnt,bhntw->bhnw", weights, values), weights
        spread = jnp.where(path[:, None], weights[..., None, :], 0)
        return jnp.einsum("bhqnt,bhntw->bhqw", spread, values), weights

    def _own_energies(
        self, query: Float[Array, "B H N Q"], keys: Float[Array, "B H N T P"], path: Bool[Array, "B N N T"] | None
    ) -> Float[Array, "B H N T"]:
        """Of each query with the keys of its past."""
        one = SCORES[self.score].energies
        if path is None:
            found: Array = self._by_head(one, self.score_weights, query[..., None, :], keys, axes=(-4, -4), out=-4)
            return found[..., 0, :]

        if SCORES[self.score].pointwise:
            # As one long row of keys, which is how they lie in memory: a product of its own for each n moves them all.
            met = self._by_head(one, self.score_weights, query, keys.reshape(*keys.shape[:2], -1, keys.shape[-1]))
            met = met.reshape(*met.shape[:-1], *keys.shape[2:4])
        else:

            def energies(query: Array, keys: Array, weights: Any) -> Array:
                return jax.vmap(lambda own: one(query, own, weights), -3, -2)(keys)

            met = self._by_head(energies, self.score_weights, query, keys, axes=(-3, -4), out=-4)
        return jnp.where(path[:, None], met, 0).sum(-2)

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
        plain = {name: weight[...].astype(inputs[0].dtype) for name, weight in weights.items()}
        if self.heads is None or not plain:
            return function(*inputs, plain)
        return jax.vmap(function, in_axes=(*(axes or [-3] * len(inputs)), 0), out_axes=out)(*inputs, plain)


def _fresh(starts: dict[str, Start], heads: int | None, rngs: nnx.Rngs) -> Any:
    def one(start: Start) -> Array:
        if heads is None:
            return start(rngs.params())
        return jnp.stack([start(key) for key in jax.random.split(rngs.params(), heads)])

    return nnx.Dict({name: nnx.Param(one(start)) for name, start in starts.items()})
