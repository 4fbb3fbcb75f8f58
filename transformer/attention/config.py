"""Settings of an attention, and the names that they may have, known without JAX."""

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
    """Compatibility of query and key: scaled_dot, dot, general, additive, concat, location, cosine, or one of your own
    in `transformer.attention.scores.SCORES`."""
    window: Annotated[str, NameIn("window")] = "global"
    """Where a query looks: global, local_m (in step with the target) or local_p (about a predicted place)."""
    half_width: Annotated[int, Ge(1)] = 10
    """local_m, local_p: tokens on either side of the window's centre (Luong 2015's D)."""
    hidden: Annotated[int, Ge(0)] = 0
    """additive, concat, local_p: width of the hidden layer; 0: that of the query."""
    positions: Annotated[int, Ge(1)] = 128
    """location: source tokens that it knows; those beyond get no weight."""
    heads: Annotated[int, Ge(1)] = 4
    """Transformer: attentions side by side in every layer."""
    fused: Literal["auto", "never", "always"] = "auto"
    """Transformer: scaled_dot with the window global and no dropout on weights, where nobody wants to see them. auto:
    by cuDNN's kernel where it serves (bfloat16 on NVIDIA GPUs, lengths and head widths that suit it), otherwise as any
    score. always: by JAX's function for it everywhere. never: as any score."""
    places: tuple[Literal["encoder", "decoder", "cross"], ...] = ("encoder", "decoder", "cross")
    """Transformer: the attentions that have this score and window; the others have scaled_dot, global."""

    @property
    def reach(self) -> int | None:
        """Source tokens that can get attention at all; None: every one."""
        return self.positions if self.score == "location" else None

    def check(self, *none: str) -> None:
        """Refuse names that there are not, `none` being further scores that serve. Raises UsageError."""
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
"""The scores of `attention.scores`, and whether query and memory must be equally wide."""

WINDOWS = {"global": False, "local_m": False, "local_p": True}
"""The windows of `attention.windows`, and whether they need the length of the sentence."""


def registered(module: str, table: str) -> dict[str, Any]:
    """Entries that a plugin added to a table of this folder; a plugin has imported what it adds to."""
    loaded = sys.modules.get(f"transformer.attention.{module}")
    return {} if loaded is None else getattr(loaded, table)


def known(flag: str, name: str, names: Iterable[str]) -> None:
    """Raises UsageError with the nearest name where `name` is none of `names`."""
    there = list(dict.fromkeys(names))
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1, cutoff=0.0)[0]
        raise UsageError(
            f"--model.attention.{flag}={name} is unknown: did you mean {near}? There are {', '.join(there)}"
        )


def needs_equal_widths(score: str) -> bool:
    """Whether a score compares vectors of one width only."""
    own = registered("scores", "SCORES").get(score)
    return SCORES[score] if own is None else bool(own.equal_widths)


def needs_lengths(window: str) -> bool:
    """Whether a window has to know the length of the sentence."""
    own = registered("windows", "WINDOWS").get(window)
    return WINDOWS[window] if own is None else bool(own.needs_lengths)
