"""Which models, layers and heads align words? transformer study experiments/alignment_quality

Models of ../attention_variants, as they were trained there, and the Transformer with guided alignment; their attention
is measured against the grammar's gold links.
"""

import dataclasses
from pathlib import Path

from transformer.config import Guided
from transformer.study.variants import Pair, Study, Variant, load

STUDY = "../attention_variants"
VARIANTS = load(Path(__file__).parent / STUDY).variants
transformer = VARIANTS["transformer"].config
guided = dataclasses.replace(transformer.task, guided=Guided(weight=0.5))

study = Study(
    variants={
        **{
            name: dataclasses.replace(VARIANTS[name], table="results")
            for name in (
                *("bahdanau", "luong_dot_global", "luong_general_global", "luong_general_local_m"),
                *("luong_general_local_p", "luong_concat_global", "luong_location_global", "transformer"),
            )
        },
        "transformer_guided": Variant(dataclasses.replace(transformer, task=guided), seeds=(1, 2, 3)),
    },
    baselines=("transformer",),
    pairs=(Pair("transformer_guided", "transformer"),),
    reuse_from=(STUDY,),
    metric="AER",
)
