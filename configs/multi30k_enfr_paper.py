"""Multi30k English-French: `multi30k_ende_paper` with the other target language.

transformer train multi30k_enfr_paper && transformer evaluate runs/multi30k_enfr_paper --tokenize none

Test, lower-cased tokenised BLEU, beam 5, the average of the last ten epochs: 61.5 (seed 1; 95% interval 59.8 to 63.1).
Single checkpoints on validation (greedy, 250 sentences) had 56.2 to 64.4 after the first 3,185 updates. 106 minutes of
training on 2 cores of an AMD EPYC, with tests running at the lowest priority; November 2026.
"""

import dataclasses

from transformer import recipes

_, english_german = recipes.find("multi30k_ende_paper")
config = dataclasses.replace(english_german, data=dataclasses.replace(english_german.data, languages=("en", "fr")))
