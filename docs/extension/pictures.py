"""Pictures of attention, drawn from the package's own functions: scores, windows, normalizers, positions, masks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.attention import masks
from transformer.attention.attend import weigh
from transformer.attention.normalizers import NORMALIZERS
from transformer.attention.positions import POSITIONS, Scheme
from transformer.attention.scores import SCORES, Sizes
from transformer.attention.windows import WINDOWS
from transformer.nn.layers import sinusoids

QUERY = (1.2, 0.7)
KEYS = ((1.5, 1.3), (0.4, 1.6), (-1.4, 0.9), (-1.1, -1.2), (0.6, -1.5), (1.9, -0.3))
REACH = 2.2
"""The plane of keys is drawn from -REACH to REACH."""
ENERGIES = (2.0, 1.5, 0.5, 0.0, -0.5, -2.0)
TOKENS = 12
POSITIONS_SHOWN, WIDTH_SHOWN = 50, 128
HALF_WIDTH = 3


def draw_all(folder: Path) -> None:
    """A picture for every built-in score, window, normalizer and kind of positions, and for the masks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCORES:
        if SCORES.file_of(name) is None:
            _save(score(name), folder / f"score-{name}.svg")
    for name in WINDOWS:
        if WINDOWS.file_of(name) is None:
            _save(window(name), folder / f"window-{name}.svg")
    for name in NORMALIZERS:
        if NORMALIZERS.file_of(name) is None:
            _save(normalizer(name), folder / f"normalizer-{name}.svg")
    _save(added_positions(), folder / "positions-sinusoidal.svg")
    for name, scheme in POSITIONS.items():
        if POSITIONS.file_of(name) is None:
            _save(relative_positions(scheme), folder / f"positions-{name}.svg")
    _save(mask_pictures(), folder / "masks.svg")


def weights_of(starts: dict[str, Callable[[Any], Any]], seed: int = 1) -> dict[str, Any]:
    """Parameters as they are drawn at the start of training."""
    keys = jax.random.split(jax.random.key(seed), max(1, len(starts)))
    return {name: start(key) for (name, start), key in zip(starts.items(), keys, strict=False)}


def energies(name: str, keys: np.ndarray) -> np.ndarray:
    """The energy of each key [N, 2] with the query."""
    entry = SCORES[name]
    weights = weights_of(entry.weights(Sizes(2, 2, 8, len(KEYS))))
    query = jnp.broadcast_to(jnp.asarray(QUERY), (len(keys), 1, 2))
    memory = jnp.asarray(keys, jnp.float32)[:, None]
    return np.asarray(entry.energies(query, entry.project(memory, weights), weights))[:, 0, 0]


def attention(name: str) -> np.ndarray:
    """The weights of the six keys."""
    entry = SCORES[name]
    weights = weights_of(entry.weights(Sizes(2, 2, 8, len(KEYS))))
    scored = entry.energies(jnp.asarray([QUERY]), entry.project(jnp.asarray(KEYS), weights), weights)
    return np.asarray(weigh(scored, jnp.ones((1, 1), bool)))[0]


def score(name: str) -> Any:
    """Left: the energy of a key at each point of the plane. Right: the weights of six keys."""
    figure, (left, right) = _figure(6.6, 2.9, 2, width_ratios=(1.25, 1))
    line = np.linspace(-REACH, REACH, 61)
    plane = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    energy = energies(name, plane).reshape(61, 61)
    limit = max(1e-3, float(np.abs(energy).max()))
    image = left.contourf(line, line, energy, np.linspace(-limit, limit, 21), cmap="RdBu_r")
    figure.colorbar(image, ax=left, ticks=[-limit, 0, limit], format="%.1f")
    left.annotate("", QUERY, (0, 0), arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.6})
    left.text(QUERY[0] * 0.35 - 0.25, QUERY[1] * 0.35 + 0.2, "query", fontsize=8)
    for number, (x, y) in enumerate(KEYS, 1):
        left.plot(x, y, "o", ms=11, mfc="white", mec="black", mew=0.8)
        left.text(x, y, number, fontsize=7.5, ha="center", va="center_baseline")
    left.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    left.set_title("energy of a key at each point", fontsize=9)
    right.bar(range(1, len(KEYS) + 1), attention(name), color="#0072B2")
    right.set(ylim=(0, 1), xticks=range(1, len(KEYS) + 1), xlabel="key", ylabel="weight")
    right.set_title("weights of the six keys", fontsize=9)
    return figure


def window(name: str) -> Any:
    """What a window lets through: a row for each target position, a column for each source position."""
    entry = WINDOWS[name]
    weights = weights_of(entry.weights(Sizes(2, 2, 8, TOKENS)), seed=3)
    angle = np.linspace(0, np.pi, TOKENS)
    query = jnp.asarray(np.stack([3 * np.cos(angle), 3 * np.sin(angle)], -1)[None], jnp.float32)
    places = jnp.arange(TOKENS)
    mask, gain = entry.mask_and_gain(query, places[None], jnp.asarray([TOKENS]), places, HALF_WIDTH, weights)
    shown = np.ones((TOKENS, TOKENS))
    if mask is not None:
        shown = shown * np.broadcast_to(np.asarray(mask)[0], shown.shape)
    if gain is not None:
        shown = shown * np.asarray(gain)[0]
    figure, (axes,) = _figure(3.4, 2.9, 1)
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="factor of the weight")
    axes.set(xlabel="source position", ylabel="target position", xticks=range(0, TOKENS, 3), yticks=range(0, TOKENS, 3))
    return figure


def normalizer(name: str) -> Any:
    """Left: the weights of six energies. Right: the weight of one of two energies, of which the other is 0."""
    figure, (left, right) = _figure(6.6, 2.5, 2)
    rising = np.linspace(-4, 4, 201)
    pairs, six = np.stack([rising, np.zeros_like(rising)], -1), np.array([ENERGIES])
    variants = _variants(name)
    shown = list(variants.values())[len(variants) // 2]
    left.bar(range(1, 7), _normalized(name, six, *shown)[0], color="#0072B2")
    left.set(
        ylim=(0, 1), xticks=range(1, 7), xticklabels=[f"{e:g}" for e in ENERGIES], xlabel="energy", ylabel="weight"
    )
    right.plot(rising, _normalized("softmax", pairs, 1.5, {})[:, 0], "--", color="0.6", lw=1, label="softmax")
    for color, (label, variant) in zip(("#D55E00", "#0072B2", "#009E73"), variants.items(), strict=False):
        if name != "softmax":
            right.plot(rising, _normalized(name, pairs, *variant)[:, 0], color=color, label=label)
    right.set(ylim=(-0.03, 1.03), xlabel="energy (the other is 0)", ylabel="weight")
    right.legend(fontsize=7, frameon=False)
    return figure


def _variants(name: str) -> dict[str, tuple[float, dict[str, Any]]]:
    """Alpha and parameters that are drawn, by label; the middle one is that of the bars."""
    parameters = list(weights_of(NORMALIZERS[name].weights(Sizes(2, 2, 8, TOKENS))))
    if name == "entmax":
        return {f"alpha = {alpha}": (alpha, {}) for alpha in (1.1, 1.5, 2.0)}
    if parameters:
        return {f"{key} = {value:g}": (1.5, {key: jnp.float32(value)}) for key in parameters for value in (-2, 0, 2)}
    return {name: (1.5, {})}


def _normalized(name: str, energies: np.ndarray, alpha: float, weights: dict[str, Any]) -> np.ndarray:
    mask = jnp.ones(energies.shape, bool)
    return np.asarray(NORMALIZERS[name].normalize(jnp.asarray(energies, jnp.float32), mask, alpha, weights))


def added_positions() -> Any:
    """Left: the sinusoids. Middle: four of their dimensions. Right: inner products of two positions."""
    table = sinusoids(POSITIONS_SHOWN, WIDTH_SHOWN)
    figure, (left, middle, right) = _figure(9.6, 2.9, 3, width_ratios=(1.5, 1.1, 1.1))
    figure.colorbar(left.imshow(table, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto"), ax=left)
    left.set(xlabel="dimension", ylabel="position")
    left.set_title("sinusoids", fontsize=9)
    for color, dimension in zip(("#0072B2", "#D55E00", "#009E73", "#CC79A7"), (4, 5, 24, 60), strict=True):
        middle.plot(table[:, dimension], color=color, lw=1, label=dimension)
    middle.set(xlabel="position", ylim=(-1.1, 1.9))
    middle.legend(title="dimension", fontsize=7, title_fontsize=7, frameon=False, ncols=4, loc="upper center")
    middle.set_title("along the sentence", fontsize=9)
    figure.colorbar(right.imshow(table @ table.T, cmap="viridis"), ax=right)
    right.set(xlabel="position", ylabel="position")
    right.set_title("inner products", fontsize=9)
    return figure


def relative_positions(scheme: Scheme) -> Any:
    """What a scheme does to the energy of a query and a key of ones, by distance; left with the future, right without.

    Parameters are as they are drawn at the start of training.
    """
    H, K = 4, 16
    weights = weights_of(scheme.weights(H, K))
    ones, here = jnp.ones((1, H, 1, K)), jnp.zeros((1, 1), jnp.int32)
    figure, every = _figure(6.6, 2.5, 2)
    for axes, (causal, distances) in zip(every, ((False, np.arange(-30, 31)), (True, np.arange(-60, 1))), strict=True):
        places = jnp.asarray(distances)[None]
        if scheme.turn is not None:
            keys = scheme.turn(jnp.broadcast_to(ones, (1, H, len(distances), K)), places)
            found = jnp.einsum("bhtk,bhsk->bhts", scheme.turn(ones, here), keys) / K**0.5
        else:
            assert scheme.bias is not None
            found = scheme.bias(ones, places[:, None], weights, causal)
        rows = np.asarray(found)[0, :, 0]
        differ = not np.allclose(rows, rows[:1])
        for head, row in enumerate(rows if differ else rows[:1]):
            axes.plot(distances, row, lw=1, label=f"head {head}" if differ else "every head")
        axes.set(xlabel="distance from query to key", ylabel="" if causal else "energy")
        axes.set_title("only the past is seen" if causal else "all is seen", fontsize=9)
    every[0].legend(fontsize=7, frameon=False)
    return figure


def mask_pictures() -> Any:
    """Padding, future, and both."""
    tokens = jnp.asarray([[5, 8, 6, 9, 3, 0, 0]])
    labels = ["the", "old", "dog", "sleeps", "</s>", "<pad>", "<pad>"]
    length = tokens.shape[1]
    padding = jnp.broadcast_to(masks.padding(tokens)[0, 0], (length, length))
    future = masks.future(length)[0, 0]
    figure, every = _figure(8.4, 3.1, 3)
    for axes, (title, mask) in zip(
        every,
        {"padding": padding, "future": future, "padding and future": padding & future}.items(),
        strict=True,
    ):
        axes.imshow(np.asarray(mask), cmap="Blues", vmin=0, vmax=1.3)
        axes.set_title(title, fontsize=9)
        axes.set_xticks(range(length), labels, rotation=90, fontsize=8)
        axes.set_yticks(range(length), labels if axes is every[0] else [], fontsize=8)
        axes.set_xticks(np.arange(-0.5, length), minor=True)
        axes.set_yticks(np.arange(-0.5, length), minor=True)
        axes.grid(which="minor", color="white", lw=1)
        axes.tick_params(which="both", length=0)
        axes.set_xlabel("may be attended to")
    every[0].set_ylabel("attends")
    return figure


def _figure(width: float, height: float, columns: int, **grid: Any) -> Any:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(1, columns, squeeze=False, gridspec_kw=grid)
    return figure, list(axes[0])


def _save(figure: Any, path: Path) -> None:
    """Without the date, so that equal pictures are equal files."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(
            path, format="svg", metadata={"Date": None}, facecolor="white", bbox_inches="tight", pad_inches=0.05
        )
