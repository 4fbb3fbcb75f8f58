"""The tasks by the name under which config.json keeps them."""

from transformer.tasks.task import Task
from transformer.tasks.translation.config import Translation

TASKS: dict[str, type[Task]] = {"translation": Translation}
"""A plugin adds its own task here."""
