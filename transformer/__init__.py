"""Attention in sequence-to-sequence translation: published scores and windows in one JAX/Flax code base.

import transformer
model = transformer.load("runs/grammar")
model.translate("the old man sees the dog .")
model.heatmap("the old man sees the dog .")  # a picture of the attention
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformer.api import TrainedModel, load
    from transformer.distributed.compilation import use_compilation_cache

__all__ = ["TrainedModel", "load", "use_compilation_cache"]

PLACES = {
    "TrainedModel": "transformer.api",
    "load": "transformer.api",
    "use_compilation_cache": "transformer.distributed.compilation",
}


def __getattr__(name: str) -> Any:
    # On demand, so that `transformer --help` need not wait for JAX.
    if name in PLACES:
        return getattr(importlib.import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
