"""A layer of a decoder-only model: self-attention and a feed-forward layer, each with a residual connection."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention.continued import Prefix, attend_after_prefix
from transformer.attention.multihead import MultiHead
from transformer.models.gpt import config
from transformer.nn.dropout import split_key
from transformer.nn.layers import FeedForward, Residual


class Layer(nnx.Module):
    """Reads a whole text, the continuation of a text that was read, or one more token of hypotheses."""

    def __init__(self, model: config.Gpt, *, rngs: nnx.Rngs):
        D, causal = model.width, model.prefix == "causal"
        self.attention = MultiHead(
            model.attention, D, model.attention_dropout, positions=model.positions, causal=causal, rngs=rngs
        )
        self.feedforward = FeedForward(D, model.feedforward, model.activation, model.feedforward_dropout, rngs=rngs)
        how: Any = {"pre": model.norm == "pre", "rate": model.dropout, "epsilon": model.norm_epsilon}
        self.attention_residual = Residual(D, **how, rngs=rngs)
        self.feedforward_residual = Residual(D, **how, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        before: tuple[Float[Array, "B G S P"], Float[Array, "B G S K"]] | None,
        mask: Bool[Array, "#B 1 #T R"],
        position: Int[Array, "#B T"],
        places: Int[Array, "B R"] | None,
        key: PRNGKeyArray | None,
        *,
        weights: bool,
    ) -> tuple[Float[Array, "B T D"], tuple[Array, Array], Float[Array, "B H T R"] | None]:
        """All positions at once.

        Args:
            x: the text.
            before: keys and values of what precedes it, R = S + T; None: nothing does, R = T.
            mask: what each position attends to.
            position: of each token.
            places: positions of all keys; None: 0 to R - 1.
            key: of the dropout.
            weights: return them.

        Returns:
            The layer's output, the text's own keys and values, and the weights.
        """
        keys = split_key(key, 4)
        y = self.attention_residual.enter(x)
        own = self.attention.project(y, position)
        every = own if before is None else (jnp.concatenate([b, o], 2) for b, o in zip(before, own, strict=True))
        past, values = every
        y, used = self.attention(y, past, values, mask, position, None, keys[0], places=places, weights=weights)
        x = self.attention_residual.add(x, y, keys[1])
        y = self.feedforward(self.feedforward_residual.enter(x), keys[2])
        return self.feedforward_residual.add(x, y, keys[3]), own, used

    def step(
        self,
        x: Float[Array, "B N D"],
        prefix: Prefix,
        cache: tuple[Float[Array, "B G N T P"], Float[Array, "B G N T K"]],
        path: Bool[Array, "B N N T"] | None,
        written: Int[Array, "B"],
        change: Callable[[Array], Array] | None,
    ) -> tuple[Float[Array, "B N D"], Any, Float[Array, "B N H R"]]:
        """The newest token of each hypothesis: the layer's output, the cache with its keys and values, and the weights;
        see `attention.continued`."""
        position = jnp.broadcast_to((prefix.mask.sum(-1) + written)[:, None], x.shape[:2])
        y = self.attention_residual.enter(x)
        keys, values = self.attention.mechanism.remember(cache, self.attention.project(y, position), written)
        y, weights = attend_after_prefix(self.attention, y, prefix, keys, values, path, written, change)
        x = self.attention_residual.add(x, y, None)
        y = self.feedforward(self.feedforward_residual.enter(x))
        return self.feedforward_residual.add(x, y, None), (keys, values), weights.swapaxes(1, 2)
