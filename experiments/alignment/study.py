"""The same models with guided alignment, on the grammar: transformer study experiments/alignment

Without guiding they are variants of the table `long` of ../attention_variants, and budgets are equal. aer.py measures
both.
"""

import dataclasses
from pathlib import Path

from transformer.config import Guided
from transformer.study.variants import Study, Variant, load

VARIANTS = load(Path(__file__).parent.parent / "attention_variants").all_variants


def guided(variant: str, **changes: object) -> Variant:
    settings = VARIANTS[f"long_{variant}"].config
    task = dataclasses.replace(settings.task, guided=Guided(weight=0.5, **changes))
    return Variant(dataclasses.replace(settings, task=task), seeds=(1, 2, 3))


study = Study(
    {
        "luong_general_guided": guided("luong_general_global"),
        "transformer_guided": guided("transformer", layer=-1, heads=(0,)),
    },
)
