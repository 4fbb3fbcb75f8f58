"""Attention whose weights are changed before they are used: what would the model do if it attended elsewhere?"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from transformer.attention.mechanism import Mechanism


class Changed(Mechanism):
    """A mechanism that replaces another one; the change is applied to weights [*B, T, S] after softmax and window."""

    def __init__(self, mechanism: Mechanism, change: Callable[[Array], Array]):
        self.mechanism, self.change = mechanism, change

    def project(self, memory: Float[Array, "*B S M"]) -> Float[Array, "*B S P"]:
        """See `Mechanism.project`."""
        return self.mechanism.project(memory)

    def __call__(
        self, query: Array, keys: Array, values: Array, *arguments: Any, **options: Any
    ) -> tuple[Array, Array | None]:
        """See `Mechanism.__call__`: the context of the changed weights, and these."""
        _, weights = self.mechanism(query, keys, values, *arguments, **(options | {"weights": True}))
        assert weights is not None
        changed = self.change(weights)
        return self.mechanism.combine(changed, values), changed
