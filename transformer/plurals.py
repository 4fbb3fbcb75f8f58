"""Counts in messages: "1 line", "2 lines", "3 batches"."""

IRREGULAR = {
    "batch": "batches",
    "entry": "entries",
    "hypothesis": "hypotheses",
    "prefix": "prefixes",
    "process": "processes",
}


def counted(count: int, noun: str) -> str:
    """A number and its noun, such as "1 training pair" and "12,000 training pairs"."""
    if count == 1:
        return f"1 {noun}"
    *words, last = noun.split(" ")
    return f"{count:,} {' '.join([*words, IRREGULAR.get(last, last + 's')])}"
