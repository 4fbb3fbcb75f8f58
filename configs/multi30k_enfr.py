"""Multi30k English-French: `multi30k_ende` with the other target language.

transformer train multi30k_enfr && transformer evaluate runs/multi30k_enfr --tokenize none

Test, lower-cased tokenised BLEU, beam 5, the average of the last four checkpoints: 61.3 (seed 1; 95% interval 59.6 to
63.0). Validation, greedy: 62.4, and the best single checkpoint 62.7. 58 minutes of training on 2 cores of an AMD EPYC,
with tests running most of the time; November 2026.
"""

import dataclasses

from transformer import recipes

_, english_german = recipes.find("multi30k_ende")
config = dataclasses.replace(english_german, data=dataclasses.replace(english_german.data, languages=("en", "fr")))
