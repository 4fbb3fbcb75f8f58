"""Does a translation depend on its batch? python experiments/search/batches.py RUN --input FILE [--beam 5]

Translates the same lines in batches of several sizes, and lists every line whose translation differs from that of the
first size, with the scores of both: rounding may only decide between hypotheses whose scores are nearly equal.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import transformer
from transformer.data.corpora.files import read_lines

SIZES = (1, 2, 7, 16, 64, 256)
NEAR = 1e-5


@dataclass(frozen=True)
class Batches:
    """Compare translations over sizes of batches."""

    run: tyro.conf.Positional[str]
    input: str
    """Sources, plain or .gz."""
    beam: int = 5
    lines: int = 200

    def __call__(self) -> dict[str, Any]:
        model = transformer.load(self.run)
        lines = read_lines(Path(self.input))[: self.lines]
        found = {size: model.search(lines, beam=self.beam, batch=size) for size in SIZES}
        base, differ = found[SIZES[0]], []
        for size in SIZES[1:]:
            for number, (one, other) in enumerate(zip(base, found[size], strict=True), 1):
                if one.tokens != other.tokens:
                    differ.append({"line": number, "batch": size, "scores": [one.score, other.score]})
        scores = [abs(a.score - b.score) for size in SIZES[1:] for a, b in zip(base, found[size], strict=True)]
        return {
            "lines": len(lines),
            "sizes": SIZES,
            "differ": differ,
            "differ_by_more_than_rounding": sum(abs(a - b) >= NEAR for a, b in (row["scores"] for row in differ)),
            "largest_difference_of_scores": max(scores),
        }


if __name__ == "__main__":
    print(json.dumps(tyro.cli(Batches)(), indent=1))
