"""Lines of text in, translations in the same order out, over any model."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.decoding import config
from transformer.decoding import mbr as risk
from transformer.decoding.engine import Engine, Found, Job
from transformer.decoding.unknown import read_lexicon, spell
from transformer.distributed import processes as cluster
from transformer.distributed import sharding as parallel
from transformer.models.config import SequenceToSequence
from transformer.models.interface import Model
from transformer.special_tokens import EOS, PAD, UNK

log = logging.getLogger(__name__)


class Hypothesis(NamedTuple):
    """A translation, what the search thinks of it, and how it came about."""

    text: str
    score: float
    """Log-probability over length penalty, plus coverage penalty; with `mbr` the expected utility."""
    logp: float
    """Log-probability in nats, the end mark's included."""
    tokens: tuple[int, ...]
    """Without marks, as the search wrote them: another cut into pieces can spell the same text."""
    looked: Float[np.ndarray, "T S"] | None = None
    """Where it was asked for: attention of each token and the end mark to each source token and its end mark, the mean
    of all layers and heads."""


NOTHING = Hypothesis("", 0.0, 0.0, ())
"""What becomes of an empty line."""


class Translator:
    """Searches with models that `build` makes of parameters; those come with every call, so that training can share
    it."""

    def __init__(self, build: Callable[[Any], Model], tokenizers: Tokenizers, model: SequenceToSequence, mesh: Mesh):
        self.tokenizers, self.max_length, self.reach = tokenizers, model.max_length, model.attention.reach
        self.engine = Engine(build, parallel.local_mesh(mesh), model.max_length)

    def translate(
        self,
        parameters: Any,
        lines: Sequence[str],
        settings: config.Decoding,
        first: int = 1,
        prefixes: Sequence[str] | None = None,
    ) -> list[list[Hypothesis]]:
        """The `n_best` translations of each line, or all its samples, best first; an empty line gives an empty one.

        Sources longer than the model's limit are cut to it, and the log says how many and which is the first,
        counted from `first`; and also how many are longer than its attention reaches.

        Args:
            parameters: of the model.
            lines: sources.
            settings: of the search.
            first: number of the first line, for the log and for the seeds of samples.
            prefixes: for each line the words that its translation begins with.

        Raises:
            TransformerError: `settings.lexicon` cannot be read.
        """
        lexicon = read_lexicon(Path(settings.lexicon)) if settings.lexicon else {}
        sources = self._read(lines, first)
        begun = [[]] * len(lines) if prefixes is None else self._begin(prefixes, settings, first)
        jobs = [
            self._job(number, source, begin, settings, first + number)
            for number, (source, begin) in enumerate(zip(sources, begun, strict=True))
            if source
        ]
        own = jobs[jax.process_index() :: jax.process_count()]
        found: dict[int, list[Hypothesis]] = {}
        compiled, seconds = self.engine.compiled, self.engine.seconds
        for one in self.engine.run(parallel.to_local_mesh(parameters, self.engine.mesh), own, settings):
            found[one.number] = self._spell(lines[one.number], sources[one.number], one, settings, lexicon)
        if self.engine.compiled > compiled:
            log.debug(
                "the search compiled %d programs in %.0f s",
                self.engine.compiled - compiled,
                self.engine.seconds - seconds,
            )
        found = _of_all_processes(found)
        return [found.get(number, [NOTHING]) for number in range(len(lines))]

    def _read(self, lines: Sequence[str], first: int) -> list[list[int]]:
        """Sources as tokens with their end marks, cut where they are too long; an empty line has none."""
        sources = [[*tokens, EOS] if tokens else [] for tokens in self.tokenizers.source.encode_all(lines)]
        long = [number for number, tokens in enumerate(sources, first) if len(tokens) > self.max_length]
        if long:
            log.warning(
                "%d line(s) longer than %d tokens were cut (the first is line %d)",
                len(long),
                self.max_length,
                long[0],
            )
            sources = [
                [*tokens[: self.max_length - 1], EOS] if len(tokens) > self.max_length else tokens for tokens in sources
            ]
        far = [number for number, tokens in enumerate(sources, first) if self.reach and len(tokens) > self.reach]
        if far:
            log.warning(
                "%d line(s) are longer than the %d tokens that location attention knows (--model.attention.positions); "
                "what is beyond gets no attention (the first is line %d)",
                len(far),
                self.reach,
                far[0],
            )
        return sources

    def _begin(self, prefixes: Sequence[str], settings: config.Decoding, first: int) -> list[list[int]]:
        """What translations begin with, as tokens; the log says what cannot be said as it was given."""
        begun, limit = self.tokenizers.target.encode_all(prefixes), self._most(settings) - 1
        long = [number for number, tokens in enumerate(begun, first) if len(tokens) > limit]
        if long:
            log.warning("%d prefix(es) longer than %d tokens were cut (the first is of line %d)",
                        len(long), limit, long[0])  # fmt: skip
        strange = [number for number, tokens in enumerate(begun, first) if UNK in tokens]
        if strange:
            log.warning("%d prefix(es) have words or letters that the model does not know, and it writes its unknown "
                        "mark for them (the first is of line %d)", len(strange), strange[0])  # fmt: skip
        return [tokens[:limit] for tokens in begun]

    def _most(self, settings: config.Decoding) -> int:
        """Tokens of any translation, the end mark included."""
        return min(settings.max_length or self.max_length, self.max_length)

    def _job(self, number: int, source: list[int], prefix: list[int], settings: config.Decoding, line: int) -> Job:
        # Beyond its prefix a translation has at least the room of an empty source's.
        longest = max(int(settings.max_ratio * len(source)), len(prefix)) + settings.max_extra
        seed = int(np.random.SeedSequence([settings.seed, line]).generate_state(1)[0] >> 1) if settings.samples else 0
        return Job(number, source, settings.min_length, min(longest, self._most(settings)), prefix, seed)

    def _spell(
        self, line: str, source: list[int], found: Found, settings: config.Decoding, lexicon: dict[str, str]
    ) -> list[Hypothesis]:
        """What was found, as text, the best first."""
        hypotheses = []
        for rank in np.argsort(-found.scores, kind="stable"):
            said = found.tokens[rank]
            target = tuple(said[(said != PAD) & (said != EOS)].tolist())
            looked = None if found.looked is None else found.looked[rank, : len(target) + 1]
            if settings.replace_unknown and looked is not None:
                text = spell(line, source, target, looked, self.tokenizers, lexicon)
            else:
                text = self.tokenizers.target.decode(target)
            # Byte fallback can spell a line break; a translation is one line.
            text = " ".join(text.split("\n"))
            score, logp = float(found.scores[rank]), float(found.logp[rank])
            hypotheses.append(Hypothesis(text, score, logp, target, looked if settings.attention else None))
        if settings.mbr != "none":
            utilities = risk.expected_utility([one.text for one in hypotheses], settings.mbr)
            best = np.argsort(-utilities, kind="stable")
            hypotheses = [hypotheses[i]._replace(score=float(utilities[i])) for i in best]
        return hypotheses


def _of_all_processes(found: dict[int, list[Hypothesis]]) -> dict[int, list[Hypothesis]]:
    """Each process translated its share of the lines; all of them get all."""
    if jax.process_count() == 1:
        return found

    def plain(one: Hypothesis) -> list[Any]:
        return [*one[:-1], None if one.looked is None else one.looked.tolist()]

    def back(text: str, score: float, logp: float, tokens: list[int], looked: Any) -> Hypothesis:
        return Hypothesis(text, score, logp, tuple(tokens), None if looked is None else np.array(looked, np.float32))

    own = [json.dumps([number, [plain(one) for one in hypotheses]]) for number, hypotheses in found.items()]
    every = [json.loads(line) for lines in cluster.gather(own) for line in lines]
    return {number: [back(*one) for one in hypotheses] for number, hypotheses in every}
