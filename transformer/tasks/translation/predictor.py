"""A trained run of translation: its model, its test sets, and translations of lines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformer.config import Config
from transformer.data.corpora import corpus
from transformer.data.tokenizers.files import load_tokenizers
from transformer.decoding.translator import Translator
from transformer.models.build import create
from transformer.models.config import SequenceToSequence
from transformer.storage.run import Run
from transformer.tasks.task import Prediction, Split


class TranslationPredictor:
    """Implements `tasks.task.Predictor`."""

    def __init__(self, config: Config, run: Path):
        """Raises TransformerError where the tokenizers of the run are damaged."""
        assert isinstance(config.model, SequenceToSequence)
        self.config, self.model = config, config.model
        self.run = Run(run)
        self.tokenizers = load_tokenizers(self.run.tokenizer)

    def build_model(self) -> Any:
        """See `Predictor.build_model`."""
        sizes = self.tokenizers.source.size, self.tokenizers.target.size
        return create(self.model, *sizes, self.config.seed)

    def splits(self, name: str) -> list[Split]:
        """See `Predictor.splits`. The grammar's test set is followed by its split of unseen constructions."""
        folder, languages = self.run.data, self.config.data.languages
        found = [corpus.read_or_validation(folder, name, languages)]
        if name == "test" and corpus.exists(folder, "unseen", languages):
            found.append(corpus.read(folder, "unseen", languages))
        return [Split(part.name, part.sources, part.targets) for part in found]

    def predict(
        self, build: Callable[[Any], Any], mesh: Any, parameters: Any, lines: Sequence[str], first: int = 1
    ) -> list[Prediction]:
        """The best translation of each line, as the run's settings search, with its score and log-probability."""
        model = self.model
        translator = Translator(build, self.tokenizers, mesh, max_length=model.max_length, reach=model.attention.reach)
        found = translator.translate(parameters, lines, self.config.decoding, first)
        return [Prediction(best.text, {"score": best.score, "logp": best.logp}) for best, *_ in found]
