"""Continuations of prompts by the search of `decoding`: the prompt is what every hypothesis begins with."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from transformer.decoding.config import Decoding
from transformer.decoding.engine import Engine
from transformer.decoding.slots import Request, Result
from transformer.distributed import processes as cluster
from transformer.distributed import sharding as parallel
from transformer.special_tokens import EOS, PAD


class Generator:
    """Continues with models that `build` makes from parameters; every call passes the parameters.

    Args:
        build: makes a model from parameters.
        mesh: of the devices.
        context: most tokens that the model reads, without the begin token.
        ends: whether texts end; otherwise every continuation has the length that is asked for.
        rules: of the model family, see `ModelConfig.cache_sharding`.
    """

    def __init__(
        self, build: Callable[[Any], Any], mesh: Mesh, context: int, *, ends: bool, rules: parallel.Rules = ()
    ):
        self.context, self.ends = context, ends
        self._engine = Engine(build, parallel.local_mesh(mesh), context + 1, rules)

    def continuations(
        self, parameters: Any, prompts: Sequence[Sequence[int]], settings: Decoding, length: int, first: int = 1
    ) -> list[list[int]]:
        """The most likely continuation of each prompt, or a sample, without end token.

        Where prompt and continuation exceed the context, the model continues from the last half of it: a window that
        slides by halves.

        Args:
            parameters: of the model.
            prompts: tokens.
            settings: of the search.
            length: most tokens of a continuation.
            first: number of the first prompt, for the seeds of samples.
        """
        settings = replace(settings, samples=min(settings.samples, 1), n_best=1, mbr="none")
        written: list[list[int]] = [[] for _ in prompts]
        waiting, round_ = list(range(len(prompts))), 0
        parameters = parallel.to_local_mesh(parameters, self._engine.mesh)
        while waiting:
            requests, rooms = [], {}
            for number in waiting:
                known, left = [*prompts[number], *written[number]], length - len(written[number])
                if len(known) + min(left, self.context - self.context // 2) > self.context:
                    known = known[-(self.context // 2) :]
                rooms[number] = min(left, self.context - len(known))
                requests.append(self._request(number, known, rooms[number], settings, (first + number, round_)))
            found = self._run(parameters, requests, settings)
            for number, tokens in found.items():
                written[number] += tokens
            waiting = [n for n in waiting if len(found[n]) == rooms[n] and len(written[n]) < length]
            round_ += 1
        return written

    def _request(
        self, number: int, known: Sequence[int], room: int, settings: Decoding, seeds: tuple[int, int]
    ) -> Request:
        seed = int(np.random.SeedSequence([settings.seed, *seeds]).generate_state(1)[0] >> 1) if settings.samples else 0
        longest = len(known) + room
        return Request(number, [], settings.min_length if self.ends else longest, longest + 1, known, seed)

    def _run(self, parameters: Any, requests: Sequence[Request], settings: Decoding) -> dict[int, list[int]]:
        """New tokens by the number of the request, on all processes."""
        prefixes = {request.number: len(request.prefix) for request in requests}
        local = requests[jax.process_index() :: jax.process_count()]
        own = {
            result.number: _tokens(result)[prefixes[result.number] :]
            for result in self._engine.run(parameters, local, settings)
        }
        if jax.process_count() == 1:
            return own
        every = cluster.gather([json.dumps(pair) for pair in own.items()])
        return dict(json.loads(line) for lines in every for line in lines)


def _tokens(result: Result) -> list[int]:
    """Of the best hypothesis, without special tokens at its end."""
    best = result.tokens[int(np.argmax(result.scores))]
    kept: list[int] = best[(best != PAD) & (best != EOS)].tolist()
    return kept
