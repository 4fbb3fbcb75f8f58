"""A trained run in Python: `load(run)` and then `.translate(...)`, `.score(...)`, `.attend(...)`, `.heatmap(...)`.

    import transformer
    model = transformer.load("runs/demo")
    model.translate("the old man sees the dog .")
    model.heatmap("the old man sees the dog .")  # in a notebook a picture

A model can also be built from its settings and run by hand. Sentences are rows of token ids, padded with 0:

    >>> import jax.numpy as jnp
    >>> from transformer.api import create
    >>> from transformer.config import Attention, Transformer
    >>> settings = Transformer(encoder_layers=2, decoder_layers=2, width=32, attention=Attention(heads=4))
    >>> model = create(settings, source_vocabulary=50, target_vocabulary=60, seed=1)
    >>> source = jnp.array([[5, 6, 7, 3], [8, 3, 0, 0]])         # B=2 sentences, S=4; 3 is the end-of-sentence token
    >>> target_in = jnp.array([[2, 9, 10, 11, 12], [2, 13, 14, 0, 0]])     # T=5; 2 is the begin token
    >>> memory = model.encode(source, weights=True)
    >>> memory.states.shape                                      # [B, S, D]
    (2, 4, 32)
    >>> hidden, attention = model.decode(memory, target_in, weights=True)
    >>> model.output(hidden).shape                               # logits of the token after each one: [B, T, V]
    (2, 5, 60)
    >>> attention.cross.shape                                    # [B, L, H, T, S]
    (2, 2, 4, 5, 4)
    >>> bool(jnp.allclose(attention.cross.sum(-1), 1, atol=1e-5))          # each row of weights sums to 1
    True

`transformer.models.interface` says what every model has. Its parameters are flax's: `split(model)` returns the
structure and the parameters as a tree of plain dicts, and `builder(structure)` a function from parameters to the model.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import jax
from jax.sharding import Mesh

from transformer import check, config
from transformer.alignment.extract import Extractor
from transformer.alignment.faithfulness.probe import Prober, Wanted
from transformer.alignment.links import Links, Rule
from transformer.alignment.record import Attended
from transformer.data.tokenizers.files import fingerprint, load_tokenizers
from transformer.data.tokenizers.tokenizer import Sentence, Tokenizers
from transformer.decoding.engine import Engine
from transformer.decoding.scoring import Scorer, SentenceScores
from transformer.decoding.translator import Hypothesis, Translator
from transformer.distributed import sharding as parallel
from transformer.errors import UsageError
from transformer.evaluation import report
from transformer.evaluation.faithfulness import Faithfulness, summarize
from transformer.evaluation.measures import Counts
from transformer.evaluation.report import Baseline, Evaluation
from transformer.models.build import builder, create, shapes, split
from transformer.models.config import SequenceToSequence
from transformer.models.ensemble import Average, Ensemble
from transformer.models.interface import Model
from transformer.plurals import counted
from transformer.storage.run import Run
from transformer.tasks.task import Extras, Prediction, Predictor, Split
from transformer.tasks.translation import teacher_forcing
from transformer.tasks.translation.config import METRICS
from transformer.training.restore import restore

if TYPE_CHECKING:
    from transformer.alignment.draw import Picture

__all__ = [
    "LoadedPredictor",
    "TrainedModel",
    "builder",
    "create",
    "ensemble",
    "load",
    "load_predictor",
    "split",
]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, repr=False)
class TrainedModel:
    """A trained model, its tokenizers and its settings."""

    run: str
    """The run directory; for an ensemble, those of its members."""
    settings: config.Config
    tokenizers: Tokenizers
    parameters: Any
    checkpoint: str
    """What was loaded: `average`, or a step."""
    build: Callable[[Any], Model]
    """Builds the model from its parameters."""
    mesh: Mesh
    _translator: Translator
    _scorer: Scorer
    _extractor: Extractor

    def __repr__(self) -> str:
        return _described(self)

    @property
    def model(self) -> SequenceToSequence:
        """The settings of the model."""
        assert isinstance(self.settings.model, SequenceToSequence)
        return self.settings.model

    @property
    def engine(self) -> Engine:
        """Runs the search, and counts the programs that it compiles."""
        return self._translator.engine

    @overload
    def translate(self, lines: str, **decoding: Any) -> str: ...

    @overload
    def translate(self, lines: Sequence[str], **decoding: Any) -> list[str]: ...

    def translate(self, lines: str | Sequence[str], **decoding: Any) -> str | list[str]:
        """The best translation of a sentence, or of each line of a list, in order.

        Keywords override `config.Decoding` (beam=1, ...); the others are those of `search`.
        """
        if isinstance(lines, str):
            return self.search([lines], **decoding)[0].text
        return [hypothesis.text for hypothesis in self.search(lines, **decoding)]

    def search(
        self, lines: Sequence[str], first: int = 1, prefixes: Sequence[str] | None = None, **decoding: Any
    ) -> list[Hypothesis]:
        """Like `translate`, with scores and tokens; `first` is the number of the first line, for the log.

        With `prefixes`, each translation begins with the words of its prefix.
        """
        return [best for best, *_ in self.hypotheses(lines, first, prefixes, **decoding)]

    def hypotheses(
        self, lines: Sequence[str], first: int = 1, prefixes: Sequence[str] | None = None, **decoding: Any
    ) -> list[list[Hypothesis]]:
        """For each line the best translations (`n_best=5`, `samples=20`, ...), best first; see `config.Decoding`.

        Raises UsageError if settings are incompatible, or the numbers of prefixes and lines differ.
        """
        if isinstance(lines, str):
            raise UsageError("search and hypotheses take a list of lines, not one string: give [line]")
        if prefixes is not None and len(prefixes) != len(lines):
            raise UsageError(f"{counted(len(lines), 'line')} but {counted(len(prefixes), 'prefix')}")
        settings = dataclasses.replace(self.settings.decoding, **decoding)
        check.decoding(dataclasses.replace(self.settings, decoding=settings), flags="--")
        return self._translator.translate(self.parameters, lines, settings, first, prefixes)

    def attend(
        self,
        sources: Sequence[str],
        targets: Sequence[str] | None = None,
        first: int = 1,
        by: Sequence[str] = (),
        **decoding: Any,
    ) -> list[Attended | None]:
        """All attention weights of given pairs, or of the sentences and their translations by this model.

        None for a pair with an empty side or longer than the model's limit; the log counts the latter and numbers lines
        from `first`.

        Args:
            sources: sentences.
            targets: their translations; by default those of this model.
            first: the number of the first line, for messages.
            by: read-outs to compute as well, such as norms or erasure; see `alignment.readouts.names`.
            decoding: overrides of `config.Decoding`.

        Raises UsageError if the lists differ in length, or the model does not have a read-out.
        """
        written = self._written(sources, targets, first, decoding)
        return teacher_forcing.attend(self._extractor, self.parameters, self.tokenizers, sources, written, first, by)

    def links(
        self,
        sources: Sequence[str],
        targets: Sequence[str] | None = None,
        rule: Rule | None = None,
        first: int = 1,
        **decoding: Any,
    ) -> list[Links | None]:
        """Links (source word, target word) of each pair, from 0, as `transformer align` writes them.

        Like `attend`, but keeps no matrices, so the number of pairs is unlimited.

        Args:
            sources: sentences.
            targets: their translations; by default those of this model.
            rule: which read-out, layer and head, and how weights become links; `default_rule` by default.
            first: the number of the first line, for messages.
            decoding: overrides of `config.Decoding`.
        """
        written = self._written(sources, targets, first, decoding)
        chosen = rule or self.default_rule()
        return teacher_forcing.links(self._extractor, self.parameters, self.tokenizers, sources, written, chosen, first)

    def default_rule(self, by: str | None = None) -> Rule:
        """The guided head of a run with guided alignment, otherwise the mean over all layers and heads.

        Args:
            by: a read-out.
        """
        task, (layers, _) = self.settings.task, self.model.cross
        assert isinstance(task, config.Translation)
        by = by or task.guided.by
        return Rule(*task.guided.place(by, layers), by=by)

    def probe(
        self,
        sources: Sequence[str],
        targets: Sequence[str] | None = None,
        rules: Sequence[Rule] = (),
        wanted: Wanted | None = None,
        first: int = 1,
        **decoding: Any,
    ) -> Faithfulness:
        """How faithful read-outs are to this model, with random ranks as the last row; see `transformer probe`.

        Args:
            sources: sentences.
            targets: their translations; by default those of this model.
            rules: read-outs, and how they are read: `Rule(by="norms", layer=2)`; `default_rule` by default.
            wanted: what is tested, and how; everything by default.
            first: the number of the first line, for messages and random numbers.
            decoding: overrides of `config.Decoding`.

        Raises UsageError as `attend` does, and for a model without attention that could be changed.
        """
        rules, wanted = rules or [self.default_rule()], wanted or Wanted()
        if self.model.attention.score == "none" and set(wanted.which) != {"removal"}:
            raise UsageError(f"{self.run} has no attention to change: give wanted=Wanted(['removal'])")
        written = self._written(sources, targets, first, decoding)
        pairs = teacher_forcing.pairs(self.tokenizers, sources, written)
        prober = Prober(self.build, self.mesh, self._extractor)
        return summarize(prober.probe(self.parameters, pairs, rules, wanted, first), rules, wanted)

    def _written(
        self, sources: Sequence[str], targets: Sequence[str] | None, first: int, decoding: dict[str, Any]
    ) -> list[Sentence]:
        """The given targets, or the model's own."""
        if isinstance(sources, str) or isinstance(targets, str):
            raise UsageError("give lists of lines, not strings: [line]")
        if targets is None:
            hypotheses = self.search(sources, first, **decoding)
            return [hypothesis.sentence(self.tokenizers.target) for hypothesis in hypotheses]
        if len(sources) != len(targets):
            raise UsageError(f"{counted(len(sources), 'source')} but {counted(len(targets), 'target')}")
        return self.tokenizers.target.segment_all(targets)

    def heatmap(
        self,
        source: str,
        target: str | None = None,
        *,
        layer: int | None = None,
        head: int | None = None,
        by: str | None = None,
        gold: Links | None = None,
    ) -> "Picture":
        """A picture of the attention to the source of a sentence, which a notebook shows; `.save(path)` writes it.

        Args:
            source: a sentence.
            target: its translation; by default that of this model.
            layer: of the attention, from 0; the mean of all by default. With neither layer nor head, the guided head
                of a run that has one.
            head: likewise.
            by: a read-out, see `alignment.readouts.names`; that of `default_rule` by default.
            gold: links (source word, target word), from 0, that are circled.

        Raises:
            UsageError: the model has no such attention, or a side is empty or longer than the model's limit.
        """
        from transformer.alignment.draw import heatmap  # imports matplotlib

        rule = self.default_rule(by)
        if layer is not None or head is not None:
            rule = dataclasses.replace(rule, layer=layer, head=head)
        if self.model.attention.score == "none" and rule.by == "weights":
            raise UsageError(f"{self.run} has no attention (--model.attention.score=none)")
        (attended,) = self.attend([source], None if target is None else [target], by=[rule.by])
        if attended is None:
            raise UsageError(f"the sentence or its translation is empty, or longer than {self.model.max_length} tokens")
        return heatmap(attended, rule, gold)

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> SentenceScores:
        """Log-probability of given translations, pair by pair, in nats; `.loss` is the mean over tokens.

        A pair longer than the model's limit has NaN, and the log says how many there are.

        Raises UsageError if the lists differ in length.
        """
        if isinstance(sources, str) or isinstance(targets, str):
            raise UsageError("score takes lists of lines, not strings: give [line]")
        if len(sources) != len(targets):
            raise UsageError(f"{counted(len(sources), 'source')} but {counted(len(targets), 'target')}")
        return teacher_forcing.score(
            self._scorer,
            self.parameters,
            self.tokenizers,
            sources,
            targets,
            max_length=self.model.max_length,
            batching=self.settings.batching,
        )

    def evaluate(
        self,
        split: Split,
        *,
        baseline: Baseline | None = None,
        tokenize: str = "13a",
        lowercase: bool = False,
        metrics: Sequence[str] = METRICS,
        **decoding: Any,
    ) -> Evaluation:
        """Translate and score a test set; see `evaluation.report.evaluate`.

        Args:
            split: sources and references.
            baseline: translations by another system.
            tokenize: sacreBLEU's tokenizer.
            lowercase: ignore case.
            metrics: some of bleu, chrf and ter.
            decoding: overrides of `config.Decoding`.
        """
        from transformer.tasks.translation import scoring  # sacreBLEU, which translation does not need

        sources, references = split.lines, split.references

        def statistics(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
            return scoring.statistics(predictions, references, tokenize, lowercase, metrics)

        def details(predictions: Sequence[str], counts: Counts) -> dict[str, Any]:
            return scoring.details(sources, counts, self.score(sources, references).loss, tokenize, lowercase)

        return report.evaluate(
            split.name,
            sources,
            references,
            predict=lambda lines: self.translate(lines, **decoding),
            statistics=statistics,
            measures=scoring.SCORES,
            details=details,
            about=self.about(**decoding),
            baseline=baseline,
        )

    def about(self, **decoding: Any) -> dict[str, Any]:
        """How a report was made, for the report; keywords override `config.Decoding`."""
        return {"checkpoint": self.checkpoint, "search": dataclasses.asdict(self.settings.decoding) | decoding}


@dataclasses.dataclass(frozen=True, repr=False)
class LoadedPredictor:
    """A trained run of any task: lines in, predictions out."""

    settings: config.Config
    predictor: Predictor
    parameters: Any
    checkpoint: str
    """What was loaded: `average`, or a step."""
    build: Callable[[Any], Any]
    """Builds the model from its parameters."""
    mesh: Mesh
    run: str = ""
    """The run directory."""

    def __repr__(self) -> str:
        return _described(self)

    def predict(self, lines: Sequence[str], first: int = 1) -> list[Prediction]:
        """The answer to each line, in order; `first` is the number of the first one, for messages."""
        return self.predictor.predict(self.build, self.mesh, self.parameters, lines, first)

    def evaluate(self, split: Split, *, baseline: Baseline | None = None, **options: Any) -> Evaluation:
        """Predict and score a test set; see `evaluation.report.evaluate`.

        Args:
            split: lines and references.
            baseline: predictions of another system.
            options: of the task's scoring.

        Raises UsageError for an option that the task does not have.
        """
        scored = self.settings.task.scoring(**options)

        def details(predictions: Sequence[str], counts: Counts) -> dict[str, Any]:
            run = self.build, self.mesh, self.parameters
            return self.predictor.details(*run, split, predictions, counts, **scored)

        return report.evaluate(
            split.name,
            split.lines,
            split.references,
            predict=lambda lines: [prediction.text for prediction in self.predict(lines)],
            statistics=lambda predictions, references: self.predictor.statistics(predictions, references, **scored),
            measures=self.predictor.measures,
            details=details,
            about=self.about(),
            baseline=baseline,
        )

    def about(self) -> dict[str, Any]:
        """How a report was made, for the report."""
        return {"checkpoint": self.checkpoint}

    def extras(self, split: Split) -> Extras:
        """Measurements of a test set other than those of its predictions; see `Predictor.extras`."""
        return self.predictor.extras(self.build, self.mesh, self.parameters, split)


def _described(model: TrainedModel | LoadedPredictor) -> str:
    """A model on one line: its run, family, number of parameters and checkpoint."""
    family = type(model.settings.model).__name__
    count = sum(leaf.size for leaf in jax.tree.leaves(model.parameters))
    return f"<{type(model).__name__} of {model.run}: {family}, {count:,} parameters, {model.checkpoint}>"


def load_predictor(run: str | Path, checkpoint: str = "auto", **decoding: Any) -> LoadedPredictor:
    """Load a run directory of any task; arguments and errors are those of `load`. Keywords override
    `config.Decoding`, for a task that searches."""
    folder = Path(run)
    settings = config.read_config(folder)
    settings = dataclasses.replace(settings, decoding=dataclasses.replace(settings.decoding, **decoding))
    predictor = settings.task.predictor(settings, folder)
    mesh = parallel.make_mesh(config.Mesh())
    graph, like = shapes(predictor.build_model)
    restored = restore(Run(folder), checkpoint, like, settings.training, mesh, averages=settings.optimizer.averages)
    return LoadedPredictor(settings, predictor, restored.parameters, restored.name, builder(graph), mesh, str(folder))


def load(run: str | Path, checkpoint: str = "auto") -> TrainedModel:
    """Load a run directory.

    Args:
        run: the directory that `transformer train` filled.
        checkpoint: `best` or `last`, a step's number, or `average`; `auto` is the average if the run ended with one,
        otherwise the best.

    Raises:
        UsageError: no such run or checkpoint.
        TransformerError: the run is damaged or has no checkpoint yet.
    """
    folder = Path(run)
    settings = config.read_config(folder)
    if not isinstance(settings.model, SequenceToSequence) or not isinstance(settings.task, config.Translation):
        raise UsageError(f"{folder} does not translate: use `transformer predict` and `transformer evaluate`")
    tokenizers = load_tokenizers(Run(folder).tokenizer)
    mesh = parallel.make_mesh(config.Mesh())
    model, sizes = settings.model, (tokenizers.source.size, tokenizers.target.size)
    graph, like = shapes(lambda: create(model, *sizes, settings.seed))
    restored = restore(Run(folder), checkpoint, like, settings.training, mesh, averages=settings.optimizer.averages)
    return _trained_model(str(folder), settings, tokenizers, restored.parameters, restored.name, builder(graph), mesh)


def ensemble(members: Sequence[TrainedModel], average: Average = "probability") -> TrainedModel:
    """Trained runs, of any model families, that translate and score as one.

    The settings that are not the members' own (search, batches) are the first one's.

    Args:
        members: at least one.
        average: of the members' probabilities, or of their log-probabilities.

    Raises:
        UsageError: their tokenizers differ.
    """
    first = members[0]
    for number, member in enumerate(members[1:], 2):
        if fingerprint(member.tokenizers) != fingerprint(first.tokenizers):
            raise UsageError(f"member {number} of the ensemble has a different tokenizer from the first: train it with "
                             "--init-from, or on the same data with the same --tokenizer settings")  # fmt: skip
    builders = [member.build for member in members]

    def build(parameters: Any) -> Model:
        return Ensemble([make(own) for make, own in zip(builders, parameters, strict=True)], average)

    # Together they attend where any member does, up to the shortest reach of a member, and up to the shortest
    # length limit.
    every = [member.model for member in members]
    looking = [model for model in every if model.attention.score != "none"]
    seen = min(looking or every, key=lambda model: model.attention.reach or math.inf)
    task = first.settings.task
    assert isinstance(task, config.Translation)
    together = seen.with_max_length(min(model.max_length for model in every))
    return _trained_model(
        " + ".join(member.run for member in members),
        # The mean over the members has no guided head.
        dataclasses.replace(first.settings, model=together, task=dataclasses.replace(task, guided=config.Guided())),
        first.tokenizers,
        [member.parameters for member in members],
        " + ".join(member.checkpoint for member in members),
        build,
        first.mesh,
    )


def _trained_model(
    run: str,
    settings: config.Config,
    tokenizers: Tokenizers,
    parameters: Any,
    name: str,
    build: Callable[[Any], Model],
    mesh: Mesh,
) -> TrainedModel:
    model = settings.model
    assert isinstance(model, SequenceToSequence)
    return TrainedModel(
        run,
        settings,
        tokenizers,
        parameters,
        name,
        build,
        mesh,
        Translator(
            build,
            tokenizers,
            mesh,
            max_length=model.max_length,
            reach=model.attention.reach,
            rules=model.cache_sharding(),
        ),
        Scorer(build, mesh, settings.training.loss_chunk),
        Extractor(build, tokenizers, mesh, max_length=model.max_length),
    )
