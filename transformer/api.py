"""A trained run in Python: `load(run)` and then `.translate(...)`, `.score(...)`, `.attend(...)`."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from transformer import check, checkpoint, config, models, parallel, rundir
from transformer.alignment.extract import Extractor, Pair
from transformer.alignment.record import Attended
from transformer.checkpoint import Checkpoints
from transformer.data import batches, examples, tokenizer
from transformer.data.tokenizer import Tokenizers
from transformer.decoding.translate import Hypothesis, Translator
from transformer.errors import UsageError
from transformer.rundir import Run
from transformer.scoring import Scorer, SentenceScores

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Translation:
    """A trained model, its tokenizers and its settings."""

    settings: config.Config
    tokenizers: Tokenizers
    parameters: Any
    checkpoint: str
    """What was loaded: `average`, or a step."""
    graph: Any
    """The model's structure: `nnx.merge(graph, parameters)` is the module."""
    mesh: Mesh
    _translator: Translator
    _scorer: Scorer
    _extractor: Extractor

    def translate(self, lines: Sequence[str], **decoding: Any) -> list[str]:
        """The best translation of each line, in order; keywords override `config.Decoding` (beam=1, ...)."""
        return [hypothesis.text for hypothesis in self.search(lines, **decoding)]

    def search(self, lines: Sequence[str], first: int = 1, **decoding: Any) -> list[Hypothesis]:
        """As `translate`, with scores; `first` is the number of the first line, for what the log says of lines."""
        if isinstance(lines, str):
            raise UsageError("translate takes a list of lines, not one string: give [line]")
        settings = dataclasses.replace(self.settings.decoding, **decoding)
        check.decoding(dataclasses.replace(self.settings, decoding=settings))
        return self._translator.translate(self.parameters, lines, settings, first)

    def attend(
        self, sources: Sequence[str], targets: Sequence[str] | None = None, first: int = 1, **decoding: Any
    ) -> list[Attended | None]:
        """All attention weights of given pairs, or of the sentences and their translations by this model.

        None for a pair with an empty side or longer than the model's limit; the log counts the latter, lines counted
        from `first`.

        Raises UsageError when the two are not of equal length.
        """
        if targets is None:
            hypotheses = self.search(sources, first, **decoding)
            written = [(hypothesis.text, hypothesis.tokens) for hypothesis in hypotheses]
        elif len(sources) != len(targets):
            raise UsageError(f"{len(sources)} sources but {len(targets)} targets")
        else:
            written = [
                (text, tuple(tokens))
                for text, tokens in zip(targets, self.tokenizers.target.encode_all(targets), strict=True)
            ]
        read = self.tokenizers.source.encode_all(sources)
        pairs = [
            Pair(source, target, tokens, target_tokens)
            for source, tokens, (target, target_tokens) in zip(sources, read, written, strict=True)
        ]
        return self._extractor.extract(self.parameters, pairs, first)

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> SentenceScores:
        """Log-probability of given translations, pair by pair, in nats; `.loss` is the mean over tokens.

        A pair longer than the model's limit has NaN, and the log says how many there are.

        Raises UsageError when the two are not of equal length.
        """
        if len(sources) != len(targets):
            raise UsageError(f"{len(sources)} sources but {len(targets)} targets")
        if not sources:
            return SentenceScores(np.zeros(0), np.zeros(0, np.int64))
        pairs = examples.in_memory(sources, targets, self.tokenizers)
        limit, batching = self.settings.model.max_length, self.settings.batching
        fits = np.flatnonzero(np.maximum(pairs.source_lengths, pairs.target_lengths) <= limit)
        scores = SentenceScores(np.full(len(sources), np.nan), pairs.target_lengths)
        if len(fits) < len(sources):
            log.warning("%d pair(s) longer than %d tokens have no score", len(sources) - len(fits), limit)
            kept = fits.tolist()
            pairs = examples.in_memory([sources[i] for i in kept], [targets[i] for i in kept], self.tokenizers)
        if len(fits):
            lengths = pairs.source_lengths, pairs.target_lengths
            multiple = math.lcm(batching.batch_multiple, self.mesh.size)
            buckets = batches.choose_buckets(*lengths, batching, multiple)
            plan = batches.fixed(*lengths, batching, buckets, multiple)
            scores.logp[fits] = self._scorer.score(self.parameters, pairs, plan).logp
        return scores


def load(run: str | Path, checkpoint: str = "auto") -> Translation:
    """Load a run directory.

    Args:
        run: the directory that `transformer train` filled.
        checkpoint: `best` or `last`, a step's number, or `average`; `auto` is the average where the run
            ended with one, and otherwise the best.

    Raises:
        UsageError: no such run or checkpoint.
        TransformerError: the run is damaged or has no checkpoint yet.
    """
    folder = Path(run)
    settings = rundir.read_config(folder)
    tokenizers = tokenizer.load(Run(folder).tokenizer)
    mesh = parallel.make_mesh(config.Mesh())
    model = models.create(settings.model, tokenizers.source.size, tokenizers.target.size, settings.seed)
    graph, fresh = models.split(model)
    name, parameters = restore(Run(folder), checkpoint, fresh, settings.training, mesh)
    return Translation(
        settings,
        tokenizers,
        parameters,
        name,
        graph,
        mesh,
        Translator(graph, tokenizers, settings.model, mesh),
        Scorer(graph, mesh, settings.training.loss_chunk),
        Extractor(graph, tokenizers, settings.model, mesh),
    )


def restore(run: Run, name: str, like: Any, training: config.Training, mesh: Mesh) -> tuple[str, Any]:
    """The name of the checkpoint that `name` chose, and its parameters."""
    about = checkpoint.about_average(run.average)
    checkpoints = Checkpoints(run.checkpoints, training, read_only=True)
    try:
        # An average made before the run was gone on with is still there, but no longer the first choice.
        if name == "average" or (name == "auto" and about is not None and about["until"] == checkpoints.latest()):
            if about is None:
                raise UsageError(f"--checkpoint=average: {run.folder} has none (--training.average makes one)")
            return "average", checkpoint.load_average(run.average, like, mesh)
        step = checkpoints.choose("best" if name == "auto" else name)
        latest = checkpoints.latest()
        if name == "auto" and latest is not None and latest != step and latest not in checkpoints.ranked():
            log.warning("using step %d, the best validated; step %d is newer: --checkpoint last", step, latest)
        return f"step {step}", checkpoints.parameters(step, like, mesh)
    finally:
        checkpoints.close()
