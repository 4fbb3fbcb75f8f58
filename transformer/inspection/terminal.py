"""The figures of `measure` as text for the terminal."""

from collections.abc import Sequence

from transformer.inspection.measure import MOST, PERCENTS, RARE, SIDES, Figures
from transformer.plurals import counted


def format_figures(figures: Figures, recipe: str) -> str:
    """The figures of a recipe's data, as text."""
    parts = [
        _training(figures, recipe),
        _lengths(figures),
        _vocabulary(figures),
        _held_out(figures),
        _batches(figures),
    ]
    return "\n\n".join(parts)


def _training(figures: Figures, recipe: str) -> str:
    train = figures["training"]
    pairs, repeats = train["pairs"], train["repeats"]
    lines = [f"{recipe}, {' to '.join(figures['languages'])}: {counted(pairs, 'training pair')}"]
    if train["limit"]:
        lines.append(f"  read to --data.limit={train['limit']}; later pairs are not counted")
    lines += [f"  left out: {count:,} ({reason})" for reason, count in train["left_out"].items()]
    if not train["left_out"]:
        lines.append("  left out: none")
    lines.append(f"  repeated: {_of(repeats['pairs'], pairs)} equal an earlier pair")
    for side, other in (SIDES, SIDES[::-1]):
        several, different = repeats[f"{side}s_with_several_{other}s"], repeats[f"different_{side}s"]
        lines.append(f"  different {side}s: {different:,}; {_of(several, different)} have several {other}s")
    if len(train["corpora"]) > 1:
        rows = [
            [corpus["name"], f"{corpus['examples']:,}", f"{corpus['passes']:.3g}", f"{corpus['share']:.1%}"]
            for corpus in train["corpora"]
        ]
        lines.append(_table(["  corpora of the mixture", "pairs", "passes per epoch", "share"], rows))
    return "\n".join(lines)


def _lengths(figures: Figures) -> str:
    lengths = figures["training"]["lengths"]
    rows = []
    for side, language in zip(SIDES, figures["languages"], strict=True):
        for unit in ("words", "tokens"):
            statistics = lengths[side][unit]
            middle = [f"{statistics[f'percent_{percent}']:,}" for percent in PERCENTS]
            rows.append([
                f"{side} ({language}), {unit}", f"{statistics['mean']:.1f}", f"{statistics['median']:,}", *middle,
                f"{statistics['longest']:,}",
            ])  # fmt: skip
    sampled = ", sampled for the first epoch" if figures["sampling"] else ""
    head = [f"lengths (tokens including EOS{sampled})", "mean", "median", *(f"{p}%" for p in PERCENTS), "longest"]
    each = ", ".join(f"{side} {lengths[side]['tokens_per_word']:.2f}" for side in SIDES)
    ratio = lengths["ratio"]
    return "\n".join([
        _table(head, rows),
        f"  tokens per word: {each}",
        f"  target tokens per source token: {ratio['all']:.2f}; by pair: median "
        f"{ratio['percent_50']:.2f}, 90% from {ratio['percent_5']:.2f} to {ratio['percent_95']:.2f}, 98% from "
        f"{ratio['percent_1']:.2f} to {ratio['percent_99']:.2f}",
    ])  # fmt: skip


def _vocabulary(figures: Figures) -> str:
    rows = []
    for name, usage in figures["vocabulary"].items():
        rare = [f"{usage[f'fewer_than_{times}']:,}" for times in RARE]
        used = f"{usage['used']:,} ({_percent(usage['used'] / max(usage['entries'], 1))})"
        top = _percent(usage[f"share_of_{MOST}"])
        rows.append([name, f"{usage['tokens']:,}", f"{usage['entries']:,}", used, top, *rare])
    rare_heads = [f"< {times} times" for times in RARE]
    return _table(["vocabulary in training", "tokens", "entries", "used", f"share of top {MOST:,}", *rare_heads], rows)


def _held_out(figures: Figures) -> str:
    parts = {"training": figures["training"]} | figures["held_out"]
    rows = [["pairs", *(f"{part['pairs']:,}" for part in parts.values())]]
    for number, side in enumerate(SIDES):
        rows.append([f"unknown tokens, {side}", *(_percent(part["unknown"][number]) for part in parts.values())])
    for number, side in enumerate(SIDES):
        shares = [_percent(part["unmet"][number]) for part in figures["held_out"].values()]
        rows.append([f"words not in training, {side}", "", *shares])
    for what in ("pairs", "sources", "targets"):
        leaks = [_of(part["in_training"][what], part["pairs"]) for part in figures["held_out"].values()]
        rows.append([f"{what} also in training", "", *leaks])
    rows.append(["longer than --model.max-length", "", *(f"{p['too_long']:,}" for p in figures["held_out"].values())])
    return _table(["held out", *parts], rows)


def _batches(figures: Figures) -> str:
    batching = figures["batching"]
    rows = [
        [
            f"{bucket['rows']:,} x {bucket['source_length']}, {bucket['target_length']}",
            f"{bucket['batches']:,}",
            f"{bucket['examples']:,}",
            *(_percent(bucket[name]) for name in ("source_efficiency", "target_efficiency", "efficiency")),
        ]
        for bucket in batching["buckets"]
    ]
    totals = [_percent(batching[name]) for name in ("source_efficiency", "target_efficiency", "efficiency")]
    rows.append(["all", f"{batching['batches']:,}", f"{batching['examples']:,}", *totals])
    each = batching["tokens_per_batch"]
    limit = f", or {batching['minutes']:g} minutes" if batching["minutes"] else ""
    head = ["batches per epoch (rows x source, target)", "batches", "pairs", "real: source", "target", "both"]
    return "\n".join([
        _table(head, rows),
        f"  empty rows: {batching['empty_rows']:,}; mean tokens per batch: {each[0]:,.0f} source, "
        f"{each[1]:,.0f} target",
        f"  --training.steps={batching['steps']}{limit}: {_number(batching['epochs'])} epochs of "
        f"{counted(batching['batches'], 'update')}",
    ])  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, indented below its title, the others to the right."""
    lines = [list(head), *(["  " + row[0], *row[1:]] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _of(count: int, whole: int) -> str:
    return f"{count:,} ({_percent(count / whole)})" if count else "0"


def _percent(share: float) -> str:
    """A percentage that is shown as 0% or 100% only if it is exactly that."""
    if share in (0, 1):
        return f"{share:.0%}"
    if share < 0.0005:
        return f"{share:.2%}" if share >= 0.0001 else "<0.01%"
    return f"{min(share, 0.999):.1%}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
