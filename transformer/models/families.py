"""The model families by their name in config.json."""

from transformer.models.classifier.config import Classifier
from transformer.models.composed.config import Composed
from transformer.models.config import ModelConfig
from transformer.models.gpt.config import Gpt
from transformer.models.rnn.config import Rnn
from transformer.models.transformer.config import Transformer
from transformer.plugins import Table

FAMILIES: Table[type[ModelConfig]] = Table(
    "model family",
    {"transformer": Transformer, "rnn": Rnn, "composed": Composed, "gpt": Gpt, "classifier": Classifier},
)
"""A plugin adds its own family here."""
