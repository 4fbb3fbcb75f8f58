"""Refilled batches against one sentence at a time: the translation of a sentence does not depend on its batch.

Compilation takes nearly all of the time, so the tests of an engine share the programs of one search, `BEAM`.
"""

import dataclasses

import jax
import numpy as np
import pytest

from tests.conftest import tiny
from transformer.config import Attention, Decoding, Mesh, Rnn
from transformer.decoding.engine import Engine
from transformer.decoding.slots import BatchSlots, Request
from transformer.distributed import sharding as parallel
from transformer.models.build import builder, create, split
from transformer.models.ensemble import Ensemble

V = 30
SETTINGS = {
    "transformer": tiny(width=8),
    "luong": Rnn(embedding=6, width=8, attention=Attention(score="general"), max_length=32),
    "plain": Rnn(
        embedding=6, width=8, attention=Attention(score="none"), decoder="bahdanau", cell="gru", max_length=32
    ),
}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("luong", "plain", "ensemble")]


@pytest.fixture(scope="module", params=["transformer", *SLOW])
def engine(request):
    names = ["transformer", "luong"] if request.param == "ensemble" else [request.param]
    built = [split(create(SETTINGS[name], V, V, 3)) for name in names]
    builders = [builder(graph) for graph, _ in built]
    # Sharp enough that translations differ in length.
    random = np.random.default_rng(1)
    louder = [_louder(parameters, random) for _, parameters in built]
    mesh = parallel.make_mesh(Mesh(1))
    if len(names) == 1:
        return Engine(builders[0], mesh, 32), louder[0]
    return (
        Engine(lambda p: Ensemble([b(q) for b, q in zip(builders, p, strict=True)], "probability"), mesh, 32),
        louder,
    )


def _louder(tree, random):
    return jax.tree.map(lambda p: p + 0.4 * random.normal(size=p.shape).astype(np.float32), tree)


def requests(count, seed=0, shortest=1):
    random = np.random.default_rng(seed)
    todo = []
    for number in range(count):
        length = int(random.integers(shortest, 20))
        source = [*random.integers(4, V, length).tolist(), 3]
        todo.append(Request(number, source, 0, int(random.integers(1, 33)), [], number))
    return todo


BEAM = Decoding(beam=3, n_best=2, length_penalty=1.0)
# The settings, the slots and the shortest source. A beam's batch grows in both lengths and shrinks at the end. The
# state of greedy search has the structure of that of samples: one grows while it runs, the other shrinks.
SEARCHES = {
    "beam": (BEAM, 32, 1),
    "greedy": (Decoding(beam=1), 16, 1),
    "samples": (Decoding(samples=2, top_k=10), 32, 16),
}


@pytest.mark.parametrize(("settings", "slots", "shortest"), SEARCHES.values(), ids=SEARCHES)
def test_refilled_batches_equal_single_sentences(engine, settings, slots, shortest):
    machine, parameters = engine
    todo = requests(60, shortest=shortest)
    together = {
        one.number: one for one in machine.run(parameters, todo, dataclasses.replace(settings, batch=slots, workers=1))
    }
    assert sorted(together) == list(range(60))
    for request in todo[::6]:
        (alone,) = machine.run(parameters, [request], settings)
        np.testing.assert_allclose(alone.scores, together[request.number].scores, rtol=1e-4, atol=1e-4)
        for a, b in zip(alone.tokens, together[request.number].tokens, strict=True):
            assert a[a != 0].tolist() == b[b != 0].tolist()


def test_two_threads_equal_one(engine):
    machine, parameters = engine
    todo, settings = requests(60), dataclasses.replace(BEAM, batch=16)
    one, two = (
        {f.number: f for f in machine.run(parameters, todo, dataclasses.replace(settings, workers=workers))}
        for workers in (1, 2)
    )
    assert sorted(two) == list(range(60))
    for number in two:
        np.testing.assert_allclose(one[number].scores, two[number].scores, rtol=1e-4, atol=1e-4)


def test_the_error_of_a_worker_is_raised(engine):
    machine, _ = engine
    with pytest.raises((TypeError, ValueError, KeyError, AttributeError)):
        list(machine.run({}, requests(60), Decoding(workers=2)))


def test_every_result_respects_the_limits_of_its_request(engine):
    machine, parameters = engine
    todo = requests(40, 2)
    results = list(machine.run(parameters, todo, dataclasses.replace(BEAM, batch=16)))
    assert sorted(result.number for result in results) == list(range(40))
    for result in results:
        tokens = result.tokens[0][result.tokens[0] != 0]
        assert len(tokens) <= todo[result.number].max_length
        assert tokens[-1] == 3
        assert np.isfinite(result.scores[0])


def test_few_programs_are_compiled(engine):
    machine, parameters = engine
    settings = dataclasses.replace(BEAM, batch=32)
    fresh = Engine(machine.programs.build, machine.mesh, machine.max_length)
    list(fresh.run(parameters, requests(80, 5), settings))
    # Encoding and search for each of two source lengths, and search for the small batch: never others, since shapes do
    # not depend on the timing of the two threads.
    assert fresh.programs.compiled == 5
    list(fresh.run(parameters, requests(80, 5), settings))
    assert fresh.programs.compiled == 5
    assert machine.run(parameters, [], settings) is not None
    assert list(machine.run(parameters, [], settings)) == []


def test_prefixes_of_many_lengths_share_programs(engine):
    machine, parameters = engine
    known = []
    for length in (3, 5, 16):
        todo = [request._replace(prefix=[5] * length, max_length=20) for request in requests(40, 5, shortest=16)]
        for one in machine.run(parameters, todo, dataclasses.replace(BEAM, batch=16, workers=1)):
            assert one.tokens[0][:length].tolist() == [5] * length
        known.append(machine.programs.compiled)
    assert known[0] == known[1] == known[2]


def test_small_batches_are_refilled_before_they_are_done(engine, monkeypatch):
    machine, parameters = engine
    free, read = [], BatchSlots._read

    def watched(slots, new, empty):
        free.append((len(empty), len(slots._requests)))
        return read(slots, new, empty)

    monkeypatch.setattr(BatchSlots, "_read", watched)
    list(machine.run(parameters, requests(60), dataclasses.replace(BEAM, batch=16, workers=1)))
    assert any(count < size for count, size in free)


def test_a_model_of_few_positions_searches():
    graph, parameters = split(create(tiny(width=8, max_length=9), V, V, 3))
    machine = Engine(builder(graph), parallel.make_mesh(Mesh(1)), 9)
    todo = [
        request._replace(source=[*request.source[:-1][:8], 3], max_length=min(request.max_length, 9))
        for request in requests(40)
    ]
    assert len(list(machine.run(parameters, todo, Decoding(beam=2, batch=16)))) == 40
