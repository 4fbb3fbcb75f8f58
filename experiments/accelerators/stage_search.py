"""Speed of the search: beam 5 and greedy, a Transformer base with random parameters, lengths like WMT's.

A model that was never trained does not end its sentences, so each translation is 10 tokens longer than its source: the
work of a trained model, or a little more.
"""

import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from models import big, lengths

from transformer.config import Decoding, Mesh
from transformer.decoding.engine import Engine
from transformer.decoding.slots import Request
from transformer.distributed import sharding as parallel
from transformer.models.build import builder, create, split


def rows(*, smoke: bool) -> Iterator[dict[str, Any]]:
    vocabulary, count = (100, 20) if smoke else (37_000, 2_000)
    model = big(1, 32, 64, 4, max_length=64) if smoke else big()
    graph, parameters = split(create(model, vocabulary, vocabulary, 1))
    mesh = parallel.make_mesh(Mesh())
    parameters = parallel.put(parameters, parallel.shardings_for(mesh, parameters, model.sharding()))
    random = np.random.default_rng(1)
    requests = []
    for number, length in enumerate(lengths(count, longest=60 if smoke else 128)["source"]):
        source = [*random.integers(4, vocabulary, length - 1).tolist(), 3]
        requests.append(Request(number, source, 0, min(int(length) + 10, model.max_length), [], 0))
    for name, beam, batch in (("beam 5", 5, 128), ("greedy", 1, 256)):
        engine = Engine(builder(graph), mesh, model.max_length, model.cache_sharding())
        settings, seconds = Decoding(beam=beam, batch=batch), []
        for _ in range(2):
            began = time.perf_counter()
            found = list(engine.run(parameters, requests, settings))
            seconds.append(time.perf_counter() - began)
        tokens = sum(int((result.tokens[0] != 0).sum()) for result in found)
        yield {
            "search": name,
            "sentences": len(found),
            "sentences/s": count / seconds[1],
            "tokens/s": tokens / seconds[1],
            "programs": engine.programs.compiled,
            "compile s": engine.programs.seconds,
            "first pass s": seconds[0],
            "device": jax.devices()[0].device_kind,
        }
