"""Which models, layers and heads align words? transformer study experiments/alignment_quality

Models of ../attention_variants, as they were trained there, and the Transformer with guided alignment; their attention
is measured against the grammar's gold links.
"""

import dataclasses
from pathlib import Path

from transformer.config import Guided
from transformer.study.cells import Cell, Pair, Study, find

VARIANTS = "../attention_variants"
CELLS = find(Path(__file__).parent / VARIANTS).cells
transformer = CELLS["transformer"].config
guided = dataclasses.replace(transformer.task, guided=Guided(weight=0.5))

study = Study(
    cells={
        **{
            name: dataclasses.replace(CELLS[name], table="results")
            for name in (
                *("bahdanau", "luong_dot_global", "luong_general_global", "luong_general_local_m"),
                *("luong_general_local_p", "luong_concat_global", "luong_location_global", "transformer"),
            )
        },
        "transformer_guided": Cell(dataclasses.replace(transformer, task=guided), seeds=(1, 2, 3)),
    },
    baselines=("transformer",),
    pairs=(Pair("transformer_guided", "transformer", "BLEU"),),
    beside=(VARIANTS,),
    metric="AER",
)
