"""Searches over many sentences in batches that are refilled while they run.

A batch has a fixed number of slots. When enough of its sentences are done, waiting sentences, which are sorted by
length, take their slots, so that few computed rows are wasted. The arrays of a batch grow when longer sources arrive or
translations need more room. When nothing is waiting, the last sentences move to a small batch. The shapes are few and
follow from the lengths of the sentences. Separate threads compile their programs in the order of use, so that the
search starts as soon as possible.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import jax
from jax.sharding import Mesh

from transformer.decoding.config import Decoding
from transformer.decoding.programs import Programs, compiled_settings
from transformer.decoding.shapes import batch_sizes, padded_length, source_lengths
from transformer.decoding.slots import BatchSlots, Plan, Request, Result
from transformer.distributed import sharding as parallel
from transformer.models.interface import Model

COMPILERS = 2
"""Threads that compile ahead of the search."""


class Engine:
    """Searches with models that `build` makes from parameters; every call passes the parameters."""

    def __init__(self, build: Callable[[Any], Model], mesh: Mesh, max_length: int, rules: parallel.Rules = ()):
        """`rules` are those of the model family, see `ModelConfig.cache_sharding`."""
        self.programs, self.mesh, self.max_length = Programs(build, mesh, rules), mesh, max_length

    def run(self, parameters: Any, requests: Sequence[Request], settings: Decoding) -> Iterator[Result]:
        """Translate all requests; results are yielded as they finish, short sources first."""
        if not requests:
            return
        plan, waiting = self._plan(requests, settings)
        workers = settings.workers or (2 if jax.default_backend() == "cpu" and (os.cpu_count() or 1) > 1 else 1)
        workers = max(1, min(workers, len(requests) // plan.few))
        settings = compiled_settings(settings)
        results: SimpleQueue[Result | None] = SimpleQueue()

        def work() -> None:
            try:
                for result in BatchSlots(self.programs, parameters, settings, plan, waiting).run():
                    results.put(result)
            finally:
                results.put(None)

        with self._compiling(parameters, settings, plan):
            if workers == 1:
                yield from BatchSlots(self.programs, parameters, settings, plan, waiting).run()
                return
            with ThreadPoolExecutor(workers) as pool:
                tasks = [pool.submit(work) for _ in range(workers)]
                try:
                    while workers:
                        result = results.get()
                        if result is None:
                            workers -= 1
                        else:
                            yield result
                finally:
                    waiting.clear()
                for task in tasks:
                    task.result()

    def _plan(self, requests: Sequence[Request], settings: Decoding) -> tuple[Plan, deque[tuple[int, Request]]]:
        """The shapes of a search, and its requests by length with the source length that each is compiled for."""
        few, many = batch_sizes(settings.batch, parallel.row_shards(self.mesh))
        slots = few if len(requests) <= few else many
        ordered = sorted(requests, key=lambda request: len(request.source))
        lengths = source_lengths([len(request.source) for request in ordered], self.max_length, slots)
        longest = max(len(request.prefix) for request in requests)
        prefix = padded_length(longest, self.max_length) if longest else 0
        plan = Plan(slots, few, sorted(set(lengths)), prefix, self.max_length)
        return plan, deque(zip(lengths, ordered, strict=True))

    @contextmanager
    def _compiling(self, parameters: Any, settings: Decoding, plan: Plan) -> Iterator[None]:
        """Compile the programs of the planned shapes in the background, in the order in which they are needed.

        Errors are raised by the search, which asks for the same programs.
        """
        pool = ThreadPoolExecutor(COMPILERS)
        try:
            for length in plan.lengths:
                shape = plan.shape(length)
                for program in (self.programs.read, self.programs.advance):
                    pool.submit(program, parameters, settings, shape)
            if plan.few < plan.slots:
                last = plan.shape(plan.lengths[-1])._replace(slots=plan.few)
                pool.submit(self.programs.advance, parameters, settings, last)
            yield
        finally:
            pool.shutdown(cancel_futures=True)
