"""The same models with guided alignment, on the grammar: transformer study experiments/alignment

Without guiding they are the cells of ../attention_variants' table `long`, and budgets are equal. aer.py measures both.
"""

import dataclasses
from pathlib import Path

from transformer.config import Guided
from transformer.study.cells import Cell, Study, find

CELLS = find(Path(__file__).parent.parent / "attention_variants").whole


def guided(cell: str, **changes: object) -> Cell:
    settings = CELLS[f"long_{cell}"].config
    task = dataclasses.replace(settings.task, guided=Guided(weight=0.5, **changes))
    return Cell(dataclasses.replace(settings, task=task), seeds=(1, 2, 3))


study = Study(
    {
        "luong_general_guided": guided("luong_general_global"),
        "transformer_guided": guided("transformer", layer=-1, heads=(0,)),
    },
)
