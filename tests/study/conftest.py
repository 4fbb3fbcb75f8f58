"""A small study in a folder, and results as trials write them."""

import dataclasses
import json
import time

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from transformer import config
from transformer.study import results

FILE = """
import dataclasses, json, pathlib
from transformer.config import Attention, Rnn, from_json
from transformer.study.variants import Variant, Study

base = from_json(json.loads(pathlib.Path({path!r}).read_text()))
model = Rnn(embedding=12, width=12, max_length=32, attention=Attention(score="dot"))
none = dataclasses.replace(model, attention=Attention(score="none"))
general = dataclasses.replace(base, model=dataclasses.replace(model, attention=Attention(score="general")))
scoring = {{"tokenize": "none"}}
plain = Variant(dataclasses.replace(base, model=none), scoring=scoring)
study = Study(
    {{
        "plain": plain,
        "dot": Variant(dataclasses.replace(base, model=model), seeds=(1, 2), scoring=scoring),
    }},
    full={{"plain": dataclasses.replace(plain, seeds=(1, 2)), "general": Variant(general, scoring=scoring)}},
    plotted=("dot",),
)
"""


@pytest.fixture
def folder(settings, tmp_path):
    folder = tmp_path / "toys"
    folder.mkdir()
    path = tmp_path / "base.json"
    path.write_text(json.dumps(config.to_json(settings)))
    (folder / "study.py").write_text(FILE.format(path=str(path)))
    return folder


WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]


def sentences(seed, noise, number=60):
    """Translations in which a share `noise` of the words is wrong, and references."""
    drawn = np.random.default_rng(5)
    references = [list(drawn.choice(WORDS, drawn.integers(4, 12))) for _ in range(number)]
    random = np.random.default_rng(seed)
    found = [[w if random.random() > noise else random.choice(WORDS) for w in one] for one in references]
    return [" ".join(one) for one in found], [" ".join(one) for one in references]


def counts(seed, noise, number=60):
    """[N, 10] of sacreBLEU."""
    hypotheses, references = sentences(seed, noise, number)
    return np.array(BLEU(tokenize="none", force=True)._extract_corpus_statistics(hypotheses, [references]))


def entry(settings, variant="one", seed=1, *, noise=0.3, bins=None, sentences=True, unseen=False):
    """A result as a trial writes it."""
    own = counts(seed + 100 * len(variant), noise)
    value = float(BLEU(tokenize="none", force=True)._aggregate_and_compute(own.tolist()).score)
    signature = "nrefs:1|tok:none|smooth:exp"
    score = {"value": value, "interval": [value - 1, value + 1], "signature": signature}
    test = {
        "scores": {"BLEU": score, "chrF2": score},
        "perplexity": 2.0,
        "by_length": [{"words": words, "bleu": bleu} for words, bleu in (bins or {"0-5": value}).items()],
    }
    if sentences:
        test |= {"corpus": "abc", "counts": results.packed({"BLEU": own})}
    found = {
        "variant": variant,
        "seed": seed,
        "scoring": {"tokenize": "none"},
        "config": json.loads(json.dumps(config.to_json(dataclasses.replace(settings, seed=seed)))),
        "parameters": 1234,
        "updates": 10,
        "minutes": 1.25,
        "validation": [],
        "test": test,
    }
    return found | ({"unseen": test} if unseen else {})


def version_0_1(found):
    """The same result as version 0.1 wrote it."""
    old = {"cell": found["variant"], **found}
    del old["variant"], old["scoring"]
    for name in {"test", "unseen"} & old.keys():
        part = old[name] = dict(old[name])
        counts, scores = part.pop("counts", {}), dict(part["scores"])
        if "BLEU" in counts:
            part["counts"] = counts["BLEU"]["packed"]
        if "AER" in counts:
            aer = scores.pop("AER")
            part["alignment"] = {**part["alignment"], "aer": aer["value"], "interval": aer["interval"]}
            part["alignment"]["counts"] = counts["AER"]["packed"]
        part["scores"] = scores
    return old


def wait(until, seconds=120.0):
    began = time.monotonic()
    while not until():
        assert time.monotonic() - began < seconds, "it has not happened in time"
        time.sleep(0.02)
