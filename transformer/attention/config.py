"""Settings of an attention, and the valid names of scores and windows without importing JAX."""

import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge

from transformer.errors import UsageError
from transformer.plugins import NameIn


@dataclass(frozen=True)
class Attention:
    """How each attention of a model works."""

    score: Annotated[str, NameIn("score")] = "scaled_dot"
    """Compatibility of query and key: scaled_dot, dot, general, additive, concat, location, cosine, or the name that a
    plugin added to `transformer.attention.scores.SCORES`."""
    window: Annotated[str, NameIn("window")] = "global"
    """Positions that a query attends to: global (all), local_m (a window that advances with the target, and stays at
    the last source token when the target is longer) or local_p (a window around a predicted position)."""
    half_width: Annotated[int, Ge(1)] = 10
    """Tokens on either side of the window's centre (Luong 2015's D); for local_m and local_p."""
    hidden: Annotated[int, Ge(0)] = 0
    """Width of the hidden layer of additive, concat and local_p; 0: that of the query."""
    positions: Annotated[int, Ge(1)] = 128
    """Number of source tokens that the score location reaches; later tokens get no weight."""
    heads: Annotated[int, Ge(1)] = 4
    """Number of parallel attentions in each layer of a Transformer."""
    fused: Literal["auto", "never", "always"] = "auto"
    """Fused kernel of a Transformer for scaled_dot with the window global and no dropout on weights, used where the
    weights are not returned. auto: cuDNN's kernel where it supports the arrays (bfloat16 on NVIDIA GPUs, certain
    lengths and head widths), otherwise the computation of every other score. always: JAX's fused function everywhere.
    never: the computation of every other score."""
    places: tuple[Literal["encoder", "decoder", "cross"], ...] = ("encoder", "decoder", "cross")
    """Attentions of a Transformer that have this score and window; the others have scaled_dot and global."""

    @property
    def reach(self) -> int | None:
        """Number of source tokens that can get any weight; None: all of them."""
        return self.positions if self.score == "location" else None

    def check(self, *none: str) -> None:
        """Check the names of score and window, `none` being further valid scores. Raises UsageError."""
        known("score", self.score, [*SCORES, *registered("scores", "SCORES"), *none])
        known("window", self.window, [*WINDOWS, *registered("windows", "WINDOWS")])


SCORES = {
    "dot": True,
    "scaled_dot": True,
    "general": False,
    "additive": False,
    "concat": False,
    "location": False,
    "cosine": True,
}
"""The scores of `attention.scores`, and whether they need a query and a memory of equal width."""

POSITIONAL = ("location",)
"""Those whose energies depend on the positions of query or key, and not on the two vectors alone."""

WINDOWS = {"global": False, "local_m": False, "local_p": True}
"""The windows of `attention.windows`, and whether they need the length of the sentence."""


def registered(module: str, table: str) -> dict[str, Any]:
    """The table of a module of this folder, with a plugin's entries; empty if the module is not imported, and then no
    plugin has added any."""
    loaded = sys.modules.get(f"transformer.attention.{module}")
    return {} if loaded is None else getattr(loaded, table)


def known(flag: str, name: str, names: Iterable[str]) -> None:
    """Raises UsageError with the nearest valid name if `name` is not among `names`."""
    valid = list(dict.fromkeys(names))
    if name not in valid:
        near = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)[0]
        raise UsageError(
            f"--model.attention.{flag}={name} is unknown: did you mean {near}? Valid names: {', '.join(valid)}"
        )


def needs_equal_widths(score: str) -> bool:
    """Whether a score compares only vectors of equal width."""
    own = registered("scores", "SCORES").get(score)
    return SCORES[score] if own is None else bool(own.equal_widths)


def is_pointwise(score: str) -> bool:
    """Whether a score compares two vectors wherever they are."""
    own = registered("scores", "SCORES").get(score)
    return score not in POSITIONAL if own is None else bool(own.pointwise)


def needs_lengths(window: str) -> bool:
    """Whether a window depends on the length of the sentence."""
    own = registered("windows", "WINDOWS").get(window)
    return WINDOWS[window] if own is None else bool(own.needs_lengths)
