"""A score with a window and a normalizer, and the parameters of all three."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import config
from transformer.attention.attend import attend, cudnn_serves, fused, weigh
from transformer.attention.normalizers import NORMALIZERS, gumbel
from transformer.attention.scores import SCORES, Sizes, Start
from transformer.attention.windows import WINDOWS

NOISE = 2**20
"""Folded into a key whose first splits are those of dropouts."""


class Mechanism(nnx.Module):
    """Attention without its own projections: any score, any window, any normalizer, with or without heads.

    With heads, query, keys and values have an axis of heads before their last two axes, and score, window and
    normalizer have parameters for each head.
    """

    def __init__(
        self, settings: config.Attention, query: int, memory: int, heads: int | None = None, *, rngs: nnx.Rngs
    ):
        sizes = Sizes(query, memory, settings.hidden or query, settings.positions)
        self.score, self.window, self.half_width = settings.score, settings.window, settings.half_width
        self.normalizer, self.alpha = settings.normalizer, settings.alpha
        self.heads, self.fused = heads, settings.fused
        self.score_weights = _fresh(SCORES[self.score].weights(sizes), heads, rngs)
        self.window_weights = _fresh(WINDOWS[self.window].weights(sizes), heads, rngs)
        self.normalizer_weights = _fresh(NORMALIZERS[self.normalizer].weights(sizes), heads, rngs)

    @staticmethod
    def split(heads: int, width: int) -> tuple[int, int]:
        """Number and width of the queries, keys and values of a Transformer's heads: one of each for a head."""
        return heads, width

    def project(self, memory: Float[Array, "*B S M"]) -> Float[Array, "*B S P"]:
        """The keys that the score compares queries with, computed once for each sentence."""
        project = SCORES[self.score].project
        if self.heads is not None and memory.shape[-3] != self.heads:  # shared keys, which no parameters concern
            return project(memory, {})
        return self._by_head(project, self.score_weights, memory)

    def __call__(
        self,
        query: Float[Array, "*B T Q"],
        keys: Float[Array, "*B S P"],
        values: Float[Array, "*B S W"],
        mask: Bool[Array, "*#B #T S"],
        position: Int[Array, "#B T"],
        lengths: Int[Array, "B"] | None,
        *,
        bias: Float[Array, "*#B #T S"] | None = None,
        places: Int[Array, "B S"] | None = None,
        rate: float = 0.0,
        key: PRNGKeyArray | None = None,
        weights: bool = True,
    ) -> tuple[Float[Array, "*B T W"], Float[Array, "*B T S"] | None]:
        """Context and weights.

        Args:
            query: of each position.
            keys: the result of `project`.
            values: what is summed.
            mask: positions that may be attended to.
            position: positions of the queries in their own sequence, for windows.
            lengths: tokens of each memory, for windows; None while the memory is still growing.
            bias: added to the energies, with an axis of heads only where there are heads; None: nothing is added.
            places: positions of the keys, for windows; None: key s is at position s.
            rate: dropout on the weights that compute the context.
            key: for training; without a key there is no dropout and no sampling.
            weights: whether the weights are needed. If not, a fused kernel may compute the context, and returns None.
        """
        needs_weights = weights or (rate > 0 and key is not None) or bias is not None
        if not needs_weights and self._fuses(query, keys):
            return fused(query, keys, values, mask), None
        energies = self._by_head(SCORES[self.score].energies, self.score_weights, query, keys)
        if key is not None and NORMALIZERS[self.normalizer].draws:
            energies = energies + gumbel(jax.random.fold_in(key, NOISE), energies.shape)
        visible, gain = self._window(query, position, lengths, keys.shape[-2], places)
        mask = mask if visible is None else mask & visible
        return attend(energies, values, mask, normalize=self._normalize, bias=bias, gain=gain, rate=rate, key=key)

    def _fuses(self, query: Array, keys: Array) -> bool:
        """Whether the settings ask for a fused kernel and it supports these arrays."""
        if self.heads is None or (self.score, self.window, self.normalizer) != ("scaled_dot", "global", "softmax"):
            return False
        return self.fused == "always" or (self.fused == "auto" and cudnn_serves(query, keys))

    def attend_along_beam(
        self,
        query: Float[Array, "B H N Q"],
        keys: Float[Array, "B H N T P"],
        values: Float[Array, "B H N T W"],
        path: Bool[Array, "B N N T"] | None,
        position: Int[Array, "B N"],
        *,
        bias: Float[Array, "#B #H #N T"] | None = None,
    ) -> tuple[Float[Array, "B H N W"], Float[Array, "B H N T"] | None]:
        """N hypotheses of a sentence attend to their own histories within the tokens that all of them wrote.

        One product compares every query with every key, and the path selects the keys of the query's own history, so
        that no keys or values are copied when a hypothesis extends another one.

        Args:
            query: of each hypothesis' newest token.
            keys: the result of `project` for each token t that hypothesis n wrote.
            values: what is summed.
            path: [b, q, n, t]: hypothesis n wrote token t of hypothesis q; a single n for each q and t. None: each
                hypothesis wrote its own tokens.
            position: positions of the queries.
            bias: added to the energies; None: nothing is added.
        """
        own = self._own_energies(query, keys, path)
        if bias is not None:
            own = own + bias
        visible, gain = self._window(query, position, None, keys.shape[-2])
        mask = (jnp.arange(keys.shape[-2])[None, None] <= position[..., None])[:, None]
        weights = weigh(own, mask if visible is None else mask & visible, self._normalize)
        if gain is not None:
            weights = weights * gain
        return context_along_beam(weights, values, path), weights

    def room(self, keys: Any, values: Any, beam: int) -> tuple[Array, Array]:
        """Room for the past of `beam` hypotheses of each sentence: keys [B, G, N, T, P] and values [B, G, N, T, W] of T
        tokens, `keys` and `values` being those of a memory of T tokens, or their shapes."""
        empty = [jnp.zeros((*of.shape[:2], beam, *of.shape[2:]), of.dtype) for of in (keys, values)]
        return empty[0], empty[1]

    def remember(self, kept: tuple[Array, Array], new: tuple[Array, Array], position: Int[Array, "B"]) -> Any:
        """The past with one more token, whose keys and values are [B, G, N, ...] and are stored at `position`."""
        sentence = jnp.arange(len(position))
        return tuple(c.at[sentence, :, :, position].set(n) for c, n in zip(kept, new, strict=True))

    def combine(self, weights: Float[Array, "*B T S"], values: Float[Array, "*B S W"]) -> Float[Array, "*B T W"]:
        """The context for given weights."""
        return jnp.einsum("...ts,...sw->...tw", weights.astype(values.dtype), values)

    def summands(
        self, weights: Float[Array, "B H T S"], values: Float[Array, "B H S K"], output: Float[Array, "H K D"]
    ) -> tuple[Float[Array, "B H T S"], Float[Array, "B H S D"]]:
        """Factors and vectors of each head, whose products, summed over heads and positions, are the attention's output
        after the projection `output`."""
        return weights, jnp.einsum("bhsk,hkd->bhsd", values, output)

    def _own_energies(
        self, query: Float[Array, "B H N Q"], keys: Float[Array, "B H N T P"], path: Bool[Array, "B N N T"] | None
    ) -> Float[Array, "B H N T"]:
        """Energies of each query with the keys of its own history."""
        score = SCORES[self.score].energies
        if path is None:
            own: Array = self._by_head(score, self.score_weights, query[..., None, :], keys, axes=(-4, -4), out=-4)
            return own[..., 0, :]

        if SCORES[self.score].pointwise:
            # All keys of a sentence as one row, their order in memory: a product for each n would copy every key.
            every = self._by_head(score, self.score_weights, query, keys.reshape(*keys.shape[:2], -1, keys.shape[-1]))
            every = every.reshape(*every.shape[:-1], *keys.shape[2:4])
        else:

            def energies(query: Array, keys: Array, weights: Any) -> Array:
                return jax.vmap(lambda own: score(query, own, weights), -3, -2)(keys)

            every = self._by_head(energies, self.score_weights, query, keys, axes=(-3, -4), out=-4)
        return jnp.where(path[:, None], every, 0).sum(-2)

    def _window(
        self, query: Array, position: Array, lengths: Array | None, width: int, places: Array | None = None
    ) -> Any:
        """Mask and gain of the window over `width` keys, for each query; None where nothing is masked or weighted. The
        keys are at positions 0 to width - 1, or at given places in each sentence [B, width]."""

        def of_sentence(weights: Any, query: Array, position: Array, places: Array) -> Any:
            window = WINDOWS[self.window].mask_and_gain
            found = window(query[None], position[None], None, places, self.half_width, weights)
            return jax.tree.map(lambda each: each[0], found)

        def window(query: Array, weights: Any) -> Any:
            if places is not None:  # of a text whose length is unknown
                return jax.vmap(partial(of_sentence, weights))(query, position, places)
            keys = jnp.arange(width)
            return WINDOWS[self.window].mask_and_gain(query, position, lengths, keys, self.half_width, weights)

        mask_and_gain = self._by_head(window, self.window_weights, query)
        if self.heads is not None and not self.window_weights:
            return jax.tree.map(lambda x: x[:, None], mask_and_gain)
        return mask_and_gain

    def _normalize(self, energies: Array, mask: Array) -> Array:
        """Weights of energies in float32 and a mask of the same shape."""

        def normalize(energies: Array, mask: Array, weights: Any) -> Array:
            return NORMALIZERS[self.normalizer].normalize(energies, mask, self.alpha, weights)

        weights: Array = self._by_head(normalize, self.normalizer_weights, energies, mask)
        return weights

    def _by_head(
        self,
        function: Callable[..., Any],
        weights: Any,
        *inputs: Array,
        axes: tuple[int, ...] | None = None,
        out: int = -3,
    ) -> Any:
        """The function applied with each head's own weights; `axes` are the axes of heads."""
        plain = {name: weight[...].astype(inputs[0].dtype) for name, weight in weights.items()}
        if self.heads is None or not plain:
            return function(*inputs, plain)
        return jax.vmap(function, in_axes=(*(axes or [-3] * len(inputs)), 0), out_axes=out)(*inputs, plain)


def context_along_beam(
    weights: Float[Array, "B H N T"], values: Float[Array, "B H N T W"], path: Bool[Array, "B N N T"] | None
) -> Float[Array, "B H N W"]:
    """What the hypotheses of a sentence attend to in their own histories; see `Mechanism.attend_along_beam`."""
    if path is None:
        return jnp.einsum("bhnt,bhntw->bhnw", weights, values)
    spread = jnp.where(path[:, None], weights[..., None, :], 0)
    return jnp.einsum("bhqnt,bhntw->bhqw", spread, values)


def _fresh(starts: dict[str, Start], heads: int | None, rngs: nnx.Rngs) -> Any:
    def draw(start: Start) -> Array:
        if heads is None:
            return start(rngs.params())
        return jnp.stack([start(key) for key in jax.random.split(rngs.params(), heads)])

    return nnx.Dict({name: nnx.Param(draw(start)) for name, start in starts.items()})
