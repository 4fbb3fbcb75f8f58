"""Multi30k English-French: `multi30k_ende_paper` with the other target language.

transformer train multi30k_enfr_paper && transformer evaluate runs/multi30k_enfr_paper --tokenize none
"""

import dataclasses

from transformer import recipes

_, english_german = recipes.find("multi30k_ende_paper")
config = dataclasses.replace(english_german, data=dataclasses.replace(english_german.data, languages=("en", "fr")))
