"""The figures of `measure` as text."""

from collections.abc import Sequence

from transformer.inspection.measure import MOST, PERCENTS, RARE, SIDES, Figures


def show(figures: Figures, recipe: str) -> str:
    """A recipe's data, for the terminal."""
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
    lines = [f"{recipe}, {' to '.join(figures['languages'])}: {pairs:,} training pairs"]
    if train["limit"]:
        lines.append(f"  read to --data.limit={train['limit']}; what follows was not counted")
    lines += [f"  left out: {count:,} ({reason})" for reason, count in train["left_out"].items()]
    if not train["left_out"]:
        lines.append("  left out: none")
    lines.append(f"  repeated: {_of(repeats['pairs'], pairs)} equal an earlier pair")
    for one, other in (SIDES, SIDES[::-1]):
        several, different = repeats[f"{one}s_with_several_{other}s"], repeats[f"different_{one}s"]
        lines.append(f"  different {one}s: {different:,}; {_of(several, different)} have several {other}s")
    if len(train["corpora"]) > 1:
        rows = [
            [one["name"], f"{one['examples']:,}", f"{one['passes']:.3g}", f"{one['share']:.1%}"]
            for one in train["corpora"]
        ]
        lines.append(_table(["  corpora that are mixed", "pairs", "passes an epoch", "share of it"], rows))
    return "\n".join(lines)


def _lengths(figures: Figures) -> str:
    found = figures["training"]["lengths"]
    rows = []
    for side, language in zip(SIDES, figures["languages"], strict=True):
        for unit in ("words", "tokens"):
            one = found[side][unit]
            middle = [f"{one[f'percent_{percent}']:,}" for percent in PERCENTS]
            rows.append([
                f"{side} ({language}), {unit}", f"{one['mean']:.1f}", f"{one['median']:,}", *middle,
                f"{one['longest']:,}",
            ])  # fmt: skip
    drawn = ", of the first epoch's draw" if figures["sampling"] else ""
    head = [f"lengths (tokens with the end mark{drawn})", "mean", "median", *(f"{p}%" for p in PERCENTS), "longest"]
    each = ", ".join(f"{side} {found[side]['tokens_per_word']:.2f}" for side in SIDES)
    ratio = found["ratio"]
    return "\n".join([
        _table(head, rows),
        f"  tokens a word: {each}",
        f"  target tokens for each of the source: {ratio['all']:.2f}; in single pairs median "
        f"{ratio['percent_50']:.2f}, 90% from {ratio['percent_5']:.2f} to {ratio['percent_95']:.2f}, 98% from "
        f"{ratio['percent_1']:.2f} to {ratio['percent_99']:.2f}",
    ])  # fmt: skip


def _vocabulary(figures: Figures) -> str:
    rows = []
    for name, one in figures["vocabulary"].items():
        rare = [f"{one[f'fewer_than_{times}']:,}" for times in RARE]
        used = f"{one['used']:,} ({_percent(one['used'] / max(one['entries'], 1))})"
        top = _percent(one[f"share_of_{MOST}"])
        rows.append([name, f"{one['tokens']:,}", f"{one['entries']:,}", used, top, *rare])
    met = [f"met < {times}" for times in RARE]
    return _table(["vocabulary in training", "tokens", "entries", "used", f"top {MOST:,} make", *met], rows)


def _held_out(figures: Figures) -> str:
    parts = {"training": figures["training"]} | figures["held_out"]
    rows = [["pairs", *(f"{part['pairs']:,}" for part in parts.values())]]
    for number, side in enumerate(SIDES):
        rows.append([f"unknown tokens, {side}", *(_percent(part["unknown"][number]) for part in parts.values())])
    for number, side in enumerate(SIDES):
        shares = [_percent(part["unmet"][number]) for part in figures["held_out"].values()]
        rows.append([f"words never met in training, {side}", "", *shares])
    for what in ("pairs", "sources", "targets"):
        found = [_of(part["in_training"][what], part["pairs"]) for part in figures["held_out"].values()]
        rows.append([f"{what} also in training", "", *found])
    rows.append(["longer than --model.max-length", "", *(f"{p['too_long']:,}" for p in figures["held_out"].values())])
    return _table(["held out", *parts], rows)


def _batches(figures: Figures) -> str:
    found = figures["batching"]
    rows = [
        [
            f"{one['rows']:,} x {one['source_length']}, {one['target_length']}",
            f"{one['batches']:,}",
            f"{one['examples']:,}",
            *(_percent(one[name]) for name in ("source_efficiency", "target_efficiency", "efficiency")),
        ]
        for one in found["buckets"]
    ]
    totals = [_percent(found[name]) for name in ("source_efficiency", "target_efficiency", "efficiency")]
    rows.append(["all", f"{found['batches']:,}", f"{found['examples']:,}", *totals])
    each = found["tokens_per_batch"]
    limit = f", or {found['minutes']:g} minutes" if found["minutes"] else ""
    head = ["batches an epoch (rows x source, target)", "batches", "pairs", "real: source", "target", "both"]
    return "\n".join([
        _table(head, rows),
        f"  empty rows: {found['empty_rows']:,}; a batch has {each[0]:,.0f} source and {each[1]:,.0f} target tokens "
        "in the mean",
        f"  --training.steps={found['steps']}{limit}: {_number(found['epochs'])} epochs of {found['batches']:,} "
        "updates",
    ])  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left and indented below its title, the others to the right."""
    lines = [list(head), *(["  " + row[0], *row[1:]] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _of(count: int, whole: int) -> str:
    return f"{count:,} ({_percent(count / whole)})" if count else "0"


def _percent(share: float) -> str:
    """What is not 0 never shows as 0, nor what is not all as all."""
    if share in (0, 1):
        return f"{share:.0%}"
    if share < 0.0005:
        return f"{share:.2%}" if share >= 0.0001 else "<0.01%"
    return f"{min(share, 0.999):.1%}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
