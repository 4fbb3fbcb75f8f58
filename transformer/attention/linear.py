"""Linear attention: weights are products of features, so that sums over keys can be kept (Katharopoulos et al. 2020,
"Transformers are RNNs").

With phi(x) = elu(x) + 1, the weight of key s is phi(q) · phi(k_s), divided by the sum over all keys. The context is
phi(q) · sum_s phi(k_s) v_s over phi(q) · sum_s phi(k_s) (equations 4 and 5): two sums that no query changes. A search
keeps only these of a hypothesis' past (section 3.4), however long it is.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention.attend import attend
from transformer.attention.mechanism import Mechanism
from transformer.attention.scores import dot
from transformer.nn.precision import summed, widened


def features(x: Float[Array, "*B S K"]) -> Float[Array, "*B S K"]:
    """elu(x) + 1, which is positive (equation 7)."""
    return jax.nn.elu(x) + 1


def shares(products: Float[Array, "*B T S"], mask: Bool[Array, "*B T S"]) -> Float[Array, "*B T S"]:
    """Positive products over their sum; a row without an allowed position is all zeros."""
    kept = jnp.where(mask, products, 0)
    return kept / jnp.maximum(kept.sum(-1, keepdims=True), jnp.finfo(kept.dtype).tiny)


class Linear(Mechanism):
    """Keys are features of the projected keys. The products are computed one by one where their weights are needed, and
    where each query has its own mask; otherwise as two sums."""

    def project(self, memory: Float[Array, "*B S K"]) -> Float[Array, "*B S K"]:
        """See `Mechanism.project`."""
        return features(memory)

    def __call__(
        self,
        query: Float[Array, "*B T K"],
        keys: Float[Array, "*B S K"],
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
        """See `Mechanism.__call__`."""
        asked = features(query)
        if weights or (rate > 0 and key is not None) or mask.shape[-2] > 1:
            return attend(dot(asked, keys, {}), values, mask, normalize=shares, rate=rate, key=key)
        seen = jnp.where(mask.swapaxes(-1, -2), keys, 0)
        total = summed(lambda k, v: jnp.einsum("...sk,...sw->...kw", k, v), seen, values)
        return _read(asked, total, widened(seen).sum(-2)).astype(values.dtype), None

    def room(self, keys: Any, values: Any, beam: int) -> tuple[Array, Array]:
        """See `Mechanism.room`: sums of the features, [B, G, N, K, 1], and of their products with the values,
        [B, G, N, K, W]."""
        of = (*keys.shape[:2], beam, keys.shape[-1])
        return jnp.zeros((*of, 1)), jnp.zeros((*of, values.shape[-1]))

    def remember(
        self,
        kept: tuple[Float[Array, "B G N K 1"], Float[Array, "B G N K W"]],
        new: tuple[Float[Array, "B G N K"], Float[Array, "B G N W"]],
        position: Int[Array, "B"],
    ) -> tuple[Float[Array, "B G N K 1"], Float[Array, "B G N K W"]]:
        """See `Mechanism.remember`: the sums with one more token."""
        (sums, total), (keys, values) = kept, new
        return sums + keys[..., None], total + keys[..., None] * values[..., None, :]

    def attend_along_beam(
        self,
        query: Float[Array, "B H N K"],
        keys: Float[Array, "B H N K 1"],
        values: Float[Array, "B H N K W"],
        path: Bool[Array, "B N N T"] | None,
        position: Int[Array, "B N"],
        *,
        bias: Float[Array, "#B #H #N T"] | None = None,
    ) -> tuple[Float[Array, "B H N W"], None]:
        """See `Mechanism.attend_along_beam`. The weights cannot be recovered from the sums."""
        return _read(features(query)[..., None, :], values, keys[..., 0])[..., 0, :], None


def _read(
    asked: Float[Array, "*B T K"], total: Float[Array, "*B K W"], sums: Float[Array, "*B K"]
) -> Float[Array, "*B T W"]:
    asked = widened(asked)
    size = jnp.einsum("...tk,...k->...t", asked, sums)
    return jnp.einsum("...tk,...kw->...tw", asked, total) / jnp.maximum(size, jnp.finfo(size.dtype).tiny)[..., None]
