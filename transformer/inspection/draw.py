"""The picture of a recipe's data: lengths, source against target lengths, tokens by rank, padding."""

from pathlib import Path
from typing import Any

import numpy as np

from transformer.inspection.measure import MOST, RARE, SIDES, Figures, Inspection
from transformer.plurals import counted
from transformer.special_tokens import EOS

# Colours of Okabe and Ito, distinguishable for colour-blind readers too; in greyscale by lightness, line and hatch.
COLOURS = {"source": "#0072B2", "target": "#D55E00", "both": "#000000"}
LINES = {"source": "-", "target": "--", "both": ":"}
EDGE, PALE = "#333333", "#BBBBBB"
LABEL: dict[str, Any] = {"xytext": (2, 2), "textcoords": "offset points", "fontsize": 7, "color": "#555555"}


def draw(inspection: Inspection, recipe: str, path: Path) -> None:
    """Write the picture as PNG, whatever the path's ending."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{recipe}: {counted(inspection.figures['training']['pairs'], 'training pair')}")
    (lengths, both), (tokens, padding) = figure.subplots(2, 2)
    _lengths(lengths, inspection)
    _both(both, inspection, figure)
    _tokens(tokens, inspection)
    _padding(padding, inspection.figures["batching"])
    figure.savefig(path, dpi=150, format="png")


def _named(inspection: Inspection) -> dict[str, str]:
    return {side: f"{side} ({name})" for side, name in zip(SIDES, inspection.figures["languages"], strict=True)}


def _lengths(axes: Any, inspection: Inspection) -> None:
    """Histograms back to back, each with the bounds of its buckets."""
    for number, (side, name) in enumerate(_named(inspection).items()):
        counts, sign = inspection.lengths.sum(axis=1 - number), 1 - 2 * number
        top = sign * int(counts.max()) * 1.08
        edges = sorted({bucket[f"{side}_length"] for bucket in inspection.figures["batching"]["buckets"]})
        axes.vlines(np.array(edges) + 0.5, 0, top, color=EDGE, lw=0.7, ls=(0, (4, 2)), zorder=3)
        axes.bar(np.arange(len(counts)), sign * counts, width=1.0, color=COLOURS[side], alpha=0.85, label=name,
                 zorder=2, hatch="////" if number else None, edgecolor="white", lw=0.2)  # fmt: skip
    axes.axhline(0, color="black", lw=0.8)
    axes.plot([], [], color=EDGE, lw=0.7, ls=(0, (4, 2)), label="bounds of buckets")
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
    axes.set(xlabel="tokens, including EOS", ylabel="pairs", xlim=(0, max(inspection.lengths.shape) + 1))
    axes.set_title("Lengths", fontsize=10)
    # An opaque background, as the bounds of buckets would cross the text.
    axes.legend(framealpha=1, edgecolor="white", fancybox=False, fontsize=8, loc="upper right").set_zorder(4)


def _both(axes: Any, inspection: Inspection, figure: Any) -> None:
    """Number of pairs by both lengths, and the nested buckets."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.patches import Rectangle

    counts = np.ma.masked_equal(inspection.lengths.T, 0)
    mesh = axes.pcolormesh(
        np.arange(inspection.lengths.shape[0] + 1) - 0.5,
        np.arange(inspection.lengths.shape[1] + 1) - 0.5,
        counts,
        norm=LogNorm(1, max(2, int(counts.max()))),
        cmap=ListedColormap(colormaps["Blues"](np.linspace(0.2, 1, 256))),  # a single pair is visible
        rasterized=True,
    )
    buckets = inspection.figures["batching"]["buckets"]
    for bucket in buckets:
        corner = bucket["source_length"] + 0.5, bucket["target_length"] + 0.5
        axes.add_patch(Rectangle((0, 0), *corner, fill=False, edgecolor="#D55E00", lw=1.0))
    most = [max(bucket[f"{side}_length"] for bucket in buckets) + 2 for side in SIDES]
    names = _named(inspection)
    axes.set(
        xlim=(0, most[0]), ylim=(0, most[1]), xlabel=f"{names['source']} tokens", ylabel=f"{names['target']} tokens"
    )
    axes.set_title("Lengths of both sides, and buckets (orange)", fontsize=10)
    figure.colorbar(mesh, ax=axes, label="pairs", pad=0.01)


def _tokens(axes: Any, inspection: Inspection) -> None:
    """The count of each entry, the most frequent first; entries that never occur are left out."""
    names = _named(inspection) | {"both": "both"}
    for name, counts in inspection.tokens.items():
        entries = np.sort(counts[EOS + 1 :])[::-1]
        entries = entries[entries > 0]
        axes.loglog(np.arange(1, len(entries) + 1), entries, color=COLOURS[name], ls=LINES[name], lw=1.4,
                    label=names[name])  # fmt: skip
    for times in RARE:
        axes.axhline(times, color=PALE, lw=0.8, zorder=0)
        axes.annotate(f"{times} times", (1, times), **LABEL)
    axes.axvline(MOST, color=PALE, lw=0.8, zorder=0)
    axes.annotate(f"rank {MOST:,}", (MOST, 1), **LABEL | {"xytext": (-3, 2), "ha": "right"})
    axes.set(xlabel="rank", ylabel="occurrences in training", xlim=(1, None), ylim=(0.8, None))
    axes.set_title("Tokens by rank", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper right")


def _padding(axes: Any, batching: Figures) -> None:
    """Real tokens and padding of an epoch, of both sides together."""
    buckets = batching["buckets"]
    positions = np.arange(len(buckets))
    real, padded = (np.array([bucket[name] for bucket in buckets], float) for name in ("real", "padded"))
    unit, word = next((u, w) for u, w in ((1e6, "millions of "), (1e3, "thousands of "), (1, "")) if padded.max() >= u)
    axes.barh(positions, real / unit, color=COLOURS["source"], label="real")
    axes.barh(positions, (padded - real) / unit, left=real / unit, color="white", edgecolor="#666666", hatch="////",
              lw=0.8, label="padding")  # fmt: skip
    for position, bucket in enumerate(buckets):
        axes.annotate(f"{bucket['efficiency']:.1%} real", (padded[position] / unit, position), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    labels = [f"{bucket['rows']:,} x {bucket['source_length']}, {bucket['target_length']}" for bucket in buckets]
    axes.set_yticks(positions, labels)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.25 * padded.max() / unit), xlabel=f"{word}tokens per epoch, both sides",
             ylabel="bucket: rows x source, target")  # fmt: skip
    axes.set_title(f"Padding: {batching['efficiency']:.1%} of all tokens are real", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
