"""What the backward pass recomputes instead of storing (`--training.remat`)."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax

Remat: TypeAlias = Literal["none", "cheap", "all"]

_POLICIES = {"cheap": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "all": None}


def remat(step: Callable[..., Any], how: Remat, *, unrolled: bool = False) -> Callable[..., Any]:
    """The step of a scan over layers or over time, with rematerialisation.

    Args:
        step: (carry, inputs) -> (carry, outputs).
        how: none: everything is kept. cheap: products with weights are kept, everything else is recomputed. all: only
            the carries and the inputs are kept.
        unrolled: the scan has no loop, so XLA could merge the second computation with the first (common subexpression
            elimination) and must be kept from it.
    """
    return step if how == "none" else jax.checkpoint(step, policy=_POLICIES[how], prevent_cse=unrolled)
