"""Which models, layers and heads align words? transformer study experiments/alignment_quality

The models of ../attention_variants under a smaller budget, and the Transformer with guided alignment; their attention
is measured against the grammar's gold links.
"""

import dataclasses
from pathlib import Path

from transformer.config import Config, Guided
from transformer.study.cells import Cell, Study, find

CELLS = find(Path(__file__).parent.parent / "attention_variants").cells


def config(cell: str, guided: float = 0.0) -> Config:
    settings = CELLS[cell].config
    training = dataclasses.replace(settings.training, steps=1_200, validate_every=400, guided=Guided(weight=guided))
    return dataclasses.replace(settings, training=training)


CONFIGS = {
    "bahdanau": config("bahdanau"),
    "luong_general_global": config("luong_general_global"),
    "luong_general_local_p": config("luong_general_local_p"),
    "transformer": config("transformer"),
    "transformer_guided": config("transformer", guided=0.5),
}
BESIDE = {name: config(name) for name in ("luong_dot_global", "luong_concat_global", "luong_location_global")}
study = Study(
    cells={name: Cell(settings, seeds=(1, 2, 3)) for name, settings in CONFIGS.items()},
    full={name: Cell(settings, seeds=(1, 2, 3)) for name, settings in BESIDE.items()},
    baselines=("transformer",),
    metric="AER",
)
