"""The names of the read-outs, without JAX, because the command line imports them. `readouts.table` computes them."""

import difflib
from collections.abc import Iterable

from transformer.errors import UsageError

WEIGHTS = "weights"
"""The attention weights themselves, which need no further computation."""
WITHOUT_HEADS = ("norms", "rollout", "alti")
"""Read-outs that have layers but no heads."""
OF_PREDICTIONS = ("gradient", "integrated", "smoothgrad", "erasure", "log-erasure", "omission", "log-omission")
"""Read-outs of the prediction: they have neither layers nor heads, and their rows are never shifted."""
FULL_CONTEXT = "full-context"
"""The weights in a pass that sees the whole target."""
READOUTS = (WEIGHTS, FULL_CONTEXT, "norms", "head-norms", "rollout", "alti", *OF_PREDICTIONS)


def check_names(names: Iterable[str], flag: str = "--by") -> None:
    """Raises UsageError for a read-out that does not exist."""
    for name in names:
        if name not in READOUTS:
            near = difflib.get_close_matches(name, READOUTS, 1)
            meant = f"did you mean {near[0]}?" if near else f"give some of {' '.join(READOUTS)}"
            raise UsageError(f"{flag} {name}: there is no such read-out: {meant}")
