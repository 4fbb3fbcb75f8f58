"""The same comparisons on short and on long test sentences alone: python experiments/sentence_length/ranges.py

Reads the lengths of sentences from the test sets, and their counts from results.json; writes ranges.md.
"""

from pathlib import Path

import numpy as np

from transformer.data.corpora.load import load_corpora
from transformer.evaluation.metrics import bleu_of_counts
from transformer.evaluation.significance import Difference, compare, holm
from transformer.study import variants
from transformer.study.comparisons import Comparison
from transformer.study.results import Results, counts_of, split_digest
from transformer.study.tables import Table, difference, significance
from transformer.study.variants import Pair
from transformer.tasks.task import Split

HERE = Path(__file__).parent
RANGES = ((1, 10), (1, 15), (11, 15), (16, 999), (21, 999))
"""Words of the source, at least and at most."""
PAIRS = (
    Pair("rnnenc_30", "rnnenc_15"),
    Pair("rnnsearch_30", "rnnsearch_15"),
    Pair("rnnsearch_15", "rnnenc_15"),
    Pair("rnnsearch_30", "rnnenc_30"),
)


def table(before: str) -> Table:
    """For variants whose names have this prefix."""
    study, results = variants.load(HERE), Results(HERE / "results.json")
    names = {f"{before}{name}" for pair in PAIRS for name in (pair.system, pair.baseline)}
    trials = [one for one in variants.trials(study) if one.variant in names]
    part = load_corpora(trials[0].settings.data).test
    assert part is not None
    test = Split(part.name, part.sources, part.targets)
    words = np.array([len(source.split()) for source in test.lines])
    counts: dict[str, list[np.ndarray]] = {}
    for trial in trials:
        if (result := results.get(trial)) is None:
            raise SystemExit(f"{trial.name} has no result yet: transformer study {HERE}")
        if result["test"]["corpus"] != split_digest(test, dict(trial.scoring)):
            raise SystemExit(f"{trial.name} was tested on other sentences than {trials[0].settings.data.test} has now")
        found = counts_of(result["test"], "BLEU")
        assert found is not None
        counts.setdefault(trial.variant, []).append(found)
    heads, differences = list[list[str]](), list[Difference]()
    for least, most in RANGES:
        inside = (words >= least) & (words <= most)
        for pair in PAIRS:
            one, other = (np.stack(counts[before + name])[:, inside] for name in (pair.system, pair.baseline))
            heads.append(
                [f"{least} to {most}" if most < words.max() else f"{least} or more", f"{inside.sum()}", str(pair)]
            )
            differences.append(compare(one, other, bleu_of_counts))
    compared = [Comparison(it, p) for it, p in zip(differences, holm([it.p for it in differences]), strict=True)]
    rows = [[*head, difference(it, 1), significance(it)] for head, it in zip(heads, compared, strict=True)]
    note = f"Resampled as in the tables; p after Holm's correction for all {len(rows)}, ≤: no resample was as far."
    return Table(["words of the source", "sentences", "BLEU", "difference", "p"], rows, (note,))


if __name__ == "__main__":
    text = "\n".join(
        f"## {name}\n\n{table(before).markdown()}" for name, before in (("The grammar", ""), ("Multi30k", "multi30k_"))
    )
    (HERE / "ranges.md").write_text(text, encoding="utf-8")
    print(text)
