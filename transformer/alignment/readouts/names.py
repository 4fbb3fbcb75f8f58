"""The names of the read-outs, without JAX: the command line starts with them. `readouts.table` computes them."""

import difflib
from collections.abc import Iterable

from transformer.errors import UsageError

WEIGHTS = "weights"
"""The attention weights themselves, which need nothing more to be computed."""
WITHOUT_HEADS = ("norms", "rollout", "alti")
"""Read-outs that have layers and no heads."""
OF_PREDICTIONS = ("gradient", "integrated", "smoothgrad", "erasure", "log-erasure", "omission", "log-omission")
"""Read-outs of what is predicted: they have neither layers nor heads, and no row has to be read elsewhere."""
FULL_CONTEXT = "full-context"
"""The weights in a pass that knows the whole target."""
READOUTS = (WEIGHTS, FULL_CONTEXT, "norms", "head-norms", "rollout", "alti", *OF_PREDICTIONS)


def check_names(names: Iterable[str], flag: str = "--by") -> None:
    """Raises UsageError for a read-out that does not exist."""
    for name in names:
        if name not in READOUTS:
            near = difflib.get_close_matches(name, READOUTS, 1)
            meant = f"did you mean {near[0]}?" if near else f"give some of {' '.join(READOUTS)}"
            raise UsageError(f"{flag} {name}: there is no such read-out: {meant}")
