"""Translates lines of text in order, with any model."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from transformer.data.tokenizers.tokenizer import Sentence, Tokenizer, Tokenizers, as_line
from transformer.decoding.config import Decoding
from transformer.decoding.engine import Engine
from transformer.decoding.mbr import expected_utility
from transformer.decoding.remarks import remark
from transformer.decoding.slots import Request, Result
from transformer.decoding.unknown import read_lexicon, replace_unknown
from transformer.distributed import processes as cluster
from transformer.distributed import sharding as parallel
from transformer.models.interface import Model
from transformer.plurals import counted
from transformer.special_tokens import EOS, PAD, UNK

log = logging.getLogger(__name__)


class Hypothesis(NamedTuple):
    """A translation with its scores."""

    text: str
    score: float
    """Log-probability divided by the length penalty, plus the coverage penalty; with `mbr` the expected utility."""
    logp: float
    """Log-probability in nats, including the EOS token's."""
    tokens: tuple[int, ...]
    """Tokens of the search, without special tokens; the text may also have other segmentations."""
    pieces: tuple[str, ...]
    """The same tokens as text."""
    word_ids: tuple[int, ...] | None = None
    """Where unknown words were replaced: for each token the number of its word in the text."""
    attention: Float[np.ndarray, "T S"] | None = None
    """If requested: attention of each token and the EOS token to each source token and its EOS token, averaged over
    layers and heads."""

    def sentence(self, tokenizer: Tokenizer) -> Sentence:
        """The text with its tokens and their words."""
        if self.word_ids is None:
            return tokenizer.spell(self.tokens)
        return Sentence(self.text, self.tokens, self.word_ids)


EMPTY = Hypothesis("", 0.0, 0.0, (), ())
"""The translation of an empty line."""


class Translator:
    """Searches with models that `build` makes from parameters; every call passes the parameters, so that training can
    share it.

    Args:
        build: makes a model from parameters.
        tokenizers: of source and target.
        mesh: of the devices.
        max_length: the longest source and the longest translation of the model, in tokens.
        reach: source tokens that the attention can cover, counted from the first; None: all.
        rules: of the model family, see `ModelConfig.cache_sharding`.
    """

    def __init__(
        self,
        build: Callable[[Any], Model],
        tokenizers: Tokenizers,
        mesh: Mesh,
        *,
        max_length: int,
        reach: int | None = None,
        rules: parallel.Rules = (),
    ):
        self.tokenizers, self.max_length, self.reach = tokenizers, max_length, reach
        self.engine = Engine(build, parallel.local_mesh(mesh), max_length, rules)
        self._lexicon: tuple[Any, dict[str, str]] = None, {}

    def translate(
        self,
        parameters: Any,
        lines: Sequence[str],
        settings: Decoding,
        first: int = 1,
        prefixes: Sequence[str] | None = None,
    ) -> list[list[Hypothesis]]:
        """The `n_best` translations, or all samples, of each line, best first.

        An empty line has an empty translation, even if it has a prefix. Sources longer than the model's limit are
        truncated. These lines, and those with unknown words or beyond the reach of the attention, are reported (see
        `remarks`).

        Args:
            parameters: of the model.
            lines: sources.
            settings: of the search.
            first: number of the first line, for remarks and for the seeds of samples.
            prefixes: for each line the words with which its translation begins.

        Raises:
            TransformerError: `settings.lexicon` cannot be read.
        """
        lexicon = self._read_lexicon(settings.lexicon)
        sources = self._encode(lines, first)
        prefix_tokens = [[]] * len(lines) if prefixes is None else self._encode_prefixes(prefixes, settings, first)
        unused = [number for number, tokens in enumerate(prefix_tokens) if tokens and not sources[number]]
        remark("prefixes of empty lines, whose translations stay empty", [first + number for number in unused])
        requests = [
            self._request(number, source, prefix, settings, first + number)
            for number, (source, prefix) in enumerate(zip(sources, prefix_tokens, strict=True))
            if source
        ]
        local = requests[jax.process_index() :: jax.process_count()]
        translations: dict[int, list[Hypothesis]] = {}
        compiled, seconds = self.engine.programs.compiled, self.engine.programs.seconds
        for result in self.engine.run(parallel.to_local_mesh(parameters, self.engine.mesh), local, settings):
            number = result.number
            translations[number] = self._decode(lines[number], sources[number], result, settings, lexicon)
        if self.engine.programs.compiled > compiled:
            log.debug(
                "the search compiled %s in %.0f s",
                counted(self.engine.programs.compiled - compiled, "program"),
                self.engine.programs.seconds - seconds,
            )
        translations = _gather(translations)
        return [translations.get(number, [EMPTY]) for number in range(len(lines))]

    def _read_lexicon(self, path: str) -> dict[str, str]:
        """A lexicon, which is read again if the file has changed; {} if none is named."""
        if not path:
            return {}
        file = Path(path)
        version = path, file.stat().st_mtime_ns if file.exists() else None
        if self._lexicon[0] != version:
            self._lexicon = version, read_lexicon(file, self.tokenizers)
        return self._lexicon[1]

    def _encode(self, lines: Sequence[str], first: int) -> list[list[int]]:
        """Tokens of the sources including the EOS token, truncated to the limit; an empty line has none."""
        limit = self.max_length
        sources = [[*tokens, EOS] if tokens else [] for tokens in self.tokenizers.source.encode_all(lines)]
        nothing = [
            number for number, tokens in enumerate(sources, first) if not tokens and lines[number - first].strip()
        ]
        remark("lines of which the tokenizer keeps nothing, whose translations stay empty", nothing)
        unknown = [number for number, tokens in enumerate(sources, first) if UNK in tokens]
        remark("lines with words or letters that the model does not know, read as its unknown token", unknown)
        long = [number for number, tokens in enumerate(sources, first) if len(tokens) > limit]
        if long:
            remark(f"lines truncated to {counted(limit, 'token')}", long)
            sources = [[*tokens[: limit - 1], EOS] if len(tokens) > limit else tokens for tokens in sources]
        far = [number for number, tokens in enumerate(sources, first) if self.reach and len(tokens) > self.reach]
        remark(
            f"lines longer than the {counted(self.reach or 0, 'token')} of location attention, so that their last "
            "tokens get no attention (--model.attention.positions)",
            far,
        )
        return sources

    def _encode_prefixes(self, prefixes: Sequence[str], settings: Decoding, first: int) -> list[list[int]]:
        """Tokens of the prefixes, truncated to the limit."""
        prefix_tokens, limit = self.tokenizers.target.encode_all(prefixes), self._max_length(settings) - 1
        long = [number for number, tokens in enumerate(prefix_tokens, first) if len(tokens) > limit]
        remark(f"prefixes truncated to {counted(limit, 'token')}", long)
        unknown = [number for number, tokens in enumerate(prefix_tokens, first) if UNK in tokens]
        remark("prefixes with words or letters that the model does not know, written as its unknown token", unknown)
        return [tokens[:limit] for tokens in prefix_tokens]

    def _max_length(self, settings: Decoding) -> int:
        """Most tokens of any translation, including the EOS token."""
        return min(settings.max_length or self.max_length, self.max_length)

    def _request(self, number: int, source: list[int], prefix: list[int], settings: Decoding, line: int) -> Request:
        # After its prefix a translation may have at least as many tokens as that of an empty source.
        longest = max(int(settings.max_ratio * len(source)), len(prefix)) + settings.max_extra
        seed = int(np.random.SeedSequence([settings.seed, line]).generate_state(1)[0] >> 1) if settings.samples else 0
        max_length = min(longest, self._max_length(settings))
        return Request(number, source, settings.min_length, max_length, prefix, seed)

    def _decode(
        self, line: str, source: list[int], result: Result, settings: Decoding, lexicon: dict[str, str]
    ) -> list[Hypothesis]:
        """The translations of a line as text, best first."""
        hypotheses = []
        for rank in np.argsort(-result.scores, kind="stable"):
            tokens = result.tokens[rank]
            target = tuple(tokens[(tokens != PAD) & (tokens != EOS)].tolist())
            attention = None if result.attention is None else result.attention[rank, : len(target) + 1]
            word_ids: tuple[int, ...] | None = None
            if settings.replace_unknown and attention is not None:
                text, _, word_ids = replace_unknown(line, source, target, attention, self.tokenizers, lexicon)
            else:
                text = as_line(self.tokenizers.target.decode(target))
            score, logp = float(result.scores[rank]), float(result.logp[rank])
            pieces = tuple(self.tokenizers.target.pieces(target))
            kept = attention if settings.attention else None
            hypotheses.append(Hypothesis(text, score, logp, target, pieces, word_ids, kept))
        if settings.mbr != "none":
            utilities = expected_utility([hypothesis.text for hypothesis in hypotheses], settings.mbr)
            order = np.argsort(-utilities, kind="stable")
            hypotheses = [hypotheses[i]._replace(score=float(utilities[i])) for i in order]
        return hypotheses


def _gather(translations: dict[int, list[Hypothesis]]) -> dict[int, list[Hypothesis]]:
    """The translations of all processes, each of which translated its share of the lines."""
    if jax.process_count() == 1:
        return translations

    def to_json(hypothesis: Hypothesis) -> list[Any]:
        return [*hypothesis[:-1], None if hypothesis.attention is None else hypothesis.attention.tolist()]

    def from_json(
        text: str,
        score: float,
        logp: float,
        tokens: list[int],
        pieces: list[str],
        words: list[int] | None,
        attention: Any,
    ) -> Hypothesis:
        word_ids = None if words is None else tuple(words)
        weights = None if attention is None else np.array(attention, np.float32)
        return Hypothesis(text, score, logp, tuple(tokens), tuple(pieces), word_ids, weights)

    local = [json.dumps([number, [to_json(one) for one in hypotheses]]) for number, hypotheses in translations.items()]
    every = [json.loads(line) for lines in cluster.gather(local) for line in lines]
    return {number: [from_json(*one) for one in hypotheses] for number, hypotheses in every}
