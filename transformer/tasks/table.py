"""The tasks by their name in config.json."""

from transformer.plugins import Table
from transformer.tasks.classification.config import Classification
from transformer.tasks.language_model.config import LanguageModel
from transformer.tasks.task import Task
from transformer.tasks.translation.config import Translation

TASKS: Table[type[Task]] = Table(
    "task", {"translation": Translation, "language_model": LanguageModel, "classification": Classification}
)
"""A plugin adds its own task here."""
