"""The commands: their options, and which function does each. A docstring here is the text of --help."""

from transformer.commands.data import Data
from transformer.commands.seeing import Align, Explain
from transformer.commands.training import Demo, Report, Study, Train
from transformer.commands.using import Evaluate, Score, Translate

COMMANDS = {
    "train": Train,
    "data": Data,
    "translate": Translate,
    "score": Score,
    "evaluate": Evaluate,
    "align": Align,
    "explain": Explain,
    "study": Study,
    "report": Report,
    "demo": Demo,
}
