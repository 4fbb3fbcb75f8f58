"""Attention in sequence-to-sequence translation: every mechanism of the literature in one JAX/Flax harness.

import transformer
model = transformer.load("runs/grammar")
model.translate(["the old man sees the dog ."])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformer.api import TrainedModel, load

__all__ = ["TrainedModel", "load"]


def __getattr__(name: str) -> Any:
    # On demand, so that `transformer --help` need not wait for JAX.
    if name in __all__:
        from transformer import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
