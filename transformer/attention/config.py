"""Settings of an attention, and the valid names of scores, windows and normalizers without importing JAX."""

import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from transformer.errors import UsageError
from transformer.plugins import NameIn

ALPHA = 1.5
"""The default alpha of entmax: exact by sorting."""


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
    normalizer: Annotated[str, NameIn("normalizer")] = "softmax"
    """How energies become weights: softmax, sparsemax (low energies have a weight of exactly zero; Martins 2016),
    entmax (between the two, see alpha; Peters 2019), learned_entmax (alpha is learned for each head; Correia 2019),
    sigmoid (each weight independently; Ramapuram 2024), null (softmax with an extra key of energy zero that absorbs
    weight; Miller 2023), learned_null (its energy is learned for each head; Chen 2021), hard (a single position: in
    training a sample of the softmax, otherwise the largest energy; Jang 2017), or the name that a plugin added to
    `transformer.attention.normalizers.NORMALIZERS`."""
    alpha: Annotated[float, Interval(ge=1.01, le=2)] = ALPHA
    """Alpha of entmax: near 1 the weights are those of softmax, at 2 those of sparsemax."""
    hidden: Annotated[int, Ge(0)] = 0
    """Width of the hidden layer of additive, concat and local_p; 0: that of the query."""
    positions: Annotated[int, Ge(1)] = 128
    """Number of source tokens that the score location reaches; later tokens get no weight."""
    heads: Annotated[int, Ge(1)] = 4
    """Number of parallel attentions in each layer of a Transformer."""
    key_value_heads: Annotated[int, Ge(0)] = 0
    """Heads of keys and values in a Transformer, each shared by a group of query heads: 1 is multi-query attention
    (Shazeer 2019), another divisor of heads grouped-query attention (Ainslie 2023). 0: as many as heads."""
    query_key_norm: bool = False
    """Normalise the queries and keys of each head of a Transformer, by RMSNorm with a learned scale, before they are
    compared (Henry 2020; Dehghani 2023)."""
    mechanism: Literal["standard", "talking", "differential", "fixed", "linear"] = "standard"
    """How the heads of a Transformer attend. standard: each independently. talking: energies are mixed over the heads
    before the normalizer, and weights after it, by learned matrices (Shazeer 2020). differential: the difference of two
    normalizers of half the width, the second times a learned number, and a norm of each head (Ye 2024); weights of
    these two may be negative. fixed: heads of the encoder have fixed patterns, all but the last and up to seven
    (Raganato 2020). linear: weights are products of features, whose sums a search keeps in place of the past
    (Katharopoulos 2020)."""
    bias: bool = False
    """Add a bias to each of the four projections of a Transformer's attentions: query, key, value and output."""
    fused: Literal["auto", "never", "always"] = "auto"
    """Fused kernel of a Transformer for scaled_dot with global, softmax and no dropout on weights, used where the
    weights are not returned. auto: cuDNN's kernel where it supports the arrays (bfloat16 on NVIDIA GPUs, certain
    lengths and head widths), otherwise the computation of every other score. always: JAX's fused function everywhere.
    never: the computation of every other score."""
    places: tuple[Literal["encoder", "decoder", "cross"], ...] = ("encoder", "decoder", "cross")
    """Attentions of a Transformer that use this score, window, normalizer, mechanism and norm; the others use
    scaled_dot, global, softmax, standard and none."""

    @property
    def reach(self) -> int | None:
        """Number of source tokens that can get any weight; None: all of them."""
        return self.positions if self.score == "location" else None

    def check(self, *none: str) -> None:
        """Check the names of score, window and normalizer; `none` lists further valid scores. Raises UsageError."""
        known("score", self.score, [*SCORES, *registered("scores", "SCORES"), *none])
        known("window", self.window, [*WINDOWS, *registered("windows", "WINDOWS")])
        known("normalizer", self.normalizer, [*NORMALIZERS, *registered("normalizers", "NORMALIZERS")])
        if self.alpha != ALPHA and self.normalizer in NORMALIZERS and self.normalizer != "entmax":
            learned = " (learned_entmax learns it)" if self.normalizer == "learned_entmax" else ""
            raise UsageError(
                f"--model.attention.alpha={self.alpha:g} is for entmax, and --model.attention.normalizer="
                f"{self.normalizer} has none{learned}: give --model.attention.normalizer=entmax, or no alpha"
            )


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

POSITIONS = {"rotary": False, "shaw": True, "t5": True, "alibi": True}
"""The relative positions of `attention.positions`, and whether they add to the energies."""

PRODUCTS = ("dot", "scaled_dot", "cosine")
"""Scores that are products of query and key without parameters: they depend on the distance alone if both are rotated,
and keys may be shared by several heads."""

POSITIONAL = ("location",)
"""Scores whose energies depend on the positions of query or key, not only on the two vectors."""

WINDOWS = {"global": False, "local_m": False, "local_p": True}
"""The windows of `attention.windows`, and whether they need the length of the sentence."""


NORMALIZERS = {
    "softmax": True,
    "sparsemax": False,
    "entmax": False,
    "learned_entmax": False,
    "sigmoid": False,
    "null": True,
    "learned_null": True,
    "hard": False,
}
"""The normalizers of `attention.normalizers`, and whether cross-entropy can pull their weights to alignments."""


SIGNED = ("talking", "differential")
"""The mechanisms whose weights may be negative."""


def registered(module: str, table: str) -> dict[str, Any]:
    """The table of a module of this folder, with a plugin's entries; empty if the module is not imported, and then no
    plugin has added any."""
    loaded = sys.modules.get(f"transformer.attention.{module}")
    return {} if loaded is None else getattr(loaded, table)


def known(flag: str, name: str, names: Iterable[str], prefix: str = "--model.attention") -> None:
    """Raises UsageError with the nearest valid name if `name` is not among `names`."""
    valid = list(dict.fromkeys(names))
    if name not in valid:
        near = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)[0]
        raise UsageError(f"{prefix}.{flag}={name} is unknown: did you mean {near}? Valid names: {', '.join(valid)}")


def check_heads(attention: Attention) -> None:
    """Check the heads of a Transformer. Raises UsageError."""
    groups = attention.key_value_heads
    if groups and attention.heads % groups:
        raise UsageError(
            f"--model.attention.heads={attention.heads} cannot share --model.attention.key-value-heads={groups}: give "
            "a divisor"
        )
    if 0 < groups < attention.heads and attention.score not in PRODUCTS:
        raise UsageError(
            f"--model.attention.score={attention.score} has parameters of each head for its keys, which "
            f"--model.attention.key-value-heads={groups} shares: give one of {', '.join(PRODUCTS)}"
        )


def check_mechanism(attention: Attention, width: int) -> None:
    """Check the mechanism of a Transformer with heads of this width. Raises UsageError."""
    name = attention.mechanism
    flag = f"--model.attention.mechanism={name}"
    if name == "standard":
        return
    if name == "linear":
        for option, given, only in (
            ("score", attention.score, "scaled_dot"),
            ("normalizer", attention.normalizer, "softmax"),
            ("window", attention.window, "global"),
        ):
            if given != only:
                raise UsageError(
                    f"{flag} replaces scores and normalizers by sums of features over all keys: leave out "
                    f"--model.attention.{option}={given}, or give --model.attention.mechanism=standard"
                )
    if name == "fixed" and attention.places != ("encoder",):
        raise UsageError(
            f"{flag} has patterns of whole sentences, which the encoder alone sees: give --model.attention.places "
            "encoder"
        )
    if name == "fixed" and attention.window != "global":
        raise UsageError(
            f"{flag} has patterns in place of --model.attention.window={attention.window}: give "
            "--model.attention.window=global"
        )
    if name in SIGNED and attention.normalizer == "hard":
        raise UsageError(
            f"{flag} would make several positions of the one that --model.attention.normalizer=hard samples: give "
            "--model.attention.normalizer=sparsemax"
        )
    if name in ("talking", "fixed") and attention.heads == 1:
        what = "mixes heads" if name == "talking" else "leaves the last head to learn"
        raise UsageError(f"{flag} {what}, and --model.attention.heads=1: give at least 2")
    if name == "differential" and width % 2:
        raise UsageError(
            f"{flag} halves the heads, and a head is {width} wide: give --model.attention.heads that divide "
            "--model.width to an even number"
        )
    if name == "differential" and attention.window not in ("global", "local_m"):
        raise UsageError(
            f"{flag} has two queries for each head, and --model.attention.window={attention.window} would predict a "
            "window from each: give --model.attention.window=local_m"
        )
    if attention.fused == "always":
        raise UsageError(f"{flag} has no fused kernel: give --model.attention.fused=auto")


def check_fused(attention: Attention, dropout: float) -> None:
    """Check the fused kernel of a Transformer with this dropout on weights. Raises UsageError."""
    if attention.fused != "always":
        return
    found = (attention.score, attention.window, attention.normalizer)
    if found != ("scaled_dot", "global", "softmax") and len(set(attention.places)) == 3:
        raise UsageError(
            "--model.attention.fused=always needs scaled_dot, global and softmax: with --model.attention.score="
            f"{attention.score}, --model.attention.window={attention.window} and --model.attention.normalizer="
            f"{attention.normalizer} nothing would be fused; give --model.attention.fused=auto"
        )
    if dropout > 0:
        raise UsageError(
            f"--model.attention.fused=always supports no dropout on weights: give --model.attention-dropout=0, "
            f"not {dropout}"
        )


def check_positions(name: str, attention: Attention, width: int) -> None:
    """Check the positions of a self-attention with heads of this width. Raises UsageError."""
    relative = [*POSITIONS, *registered("positions", "POSITIONS")]
    known("positions", name, ["sinusoidal", "learned", "none", *relative], prefix="--model")
    own = {"encoder", "decoder"} & set(attention.places)
    if name == "rotary" and own and attention.score not in PRODUCTS:
        raise UsageError(
            f"--model.positions=rotary turns queries and keys, whose products then depend on their distance; "
            f"--model.attention.score={attention.score} is no product: give --model.positions=alibi, or "
            "--model.attention.places cross"
        )
    if name in relative and own and attention.mechanism == "linear":
        raise UsageError(
            f"--model.positions={name} depends on each query and key together, and --model.attention.mechanism=linear "
            "sums over keys alone: give --model.positions=sinusoidal, or --model.attention.places cross"
        )
    turned = "half of a head" if attention.mechanism == "differential" and own else "head"
    width = width if turned == "head" else width // 2
    if name == "rotary" and width % 2:
        raise UsageError(
            f"--model.positions=rotary turns pairs, and a {turned} is {width} wide: give --model.attention.heads that "
            "divide --model.width to an even number"
        )
    if attention.fused == "always" and name in relative and adds_to_energies(name):
        raise UsageError(
            f"--model.positions={name} adds to the energies, which --model.attention.fused=always does not: give "
            "--model.positions=rotary, or --model.attention.fused=auto"
        )


def needs_equal_widths(score: str) -> bool:
    """Whether a score compares only vectors of equal width."""
    own = registered("scores", "SCORES").get(score)
    return SCORES[score] if own is None else bool(own.equal_widths)


def is_pointwise(score: str) -> bool:
    """Whether a score compares two vectors independently of their positions."""
    own = registered("scores", "SCORES").get(score)
    return score not in POSITIONAL if own is None else bool(own.pointwise)


def needs_lengths(window: str) -> bool:
    """Whether a window depends on the length of the sentence."""
    own = registered("windows", "WINDOWS").get(window)
    return WINDOWS[window] if own is None else bool(own.needs_lengths)


def adds_to_energies(positions: str) -> bool:
    """Whether relative positions add to the energies."""
    own = registered("positions", "POSITIONS").get(positions)
    return POSITIONS[positions] if own is None else own.bias is not None


def can_be_guided(normalizer: str) -> bool:
    """Whether cross-entropy can pull the weights to given alignments."""
    own = registered("normalizers", "NORMALIZERS").get(normalizer)
    return NORMALIZERS[normalizer] if own is None else bool(own.can_be_guided)
