"""What the backward pass computes again in place of keeping it (`--training.remat`)."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax

Remat: TypeAlias = Literal["none", "cheap", "all"]

_POLICIES = {"cheap": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "all": None}


def remat(step: Callable[..., Any], how: str, *, unrolled: bool = False) -> Callable[..., Any]:
    """The step of a scan, over layers or over time, of which less is kept for the backward pass.

    Args:
        step: (carry, inputs) -> (carry, outputs).
        how: none: all is kept. cheap: products with weights are kept, all else is computed again. all: only what goes
            from step to step and the inputs are kept.
        unrolled: XLA sees all steps at once. There it has to be kept from seeing that it computes twice (common
            subexpressions), which in a loop it cannot.
    """
    return step if how == "none" else jax.checkpoint(step, policy=_POLICIES[how], prevent_cse=unrolled)
