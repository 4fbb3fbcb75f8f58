"""The whole loop on a toy language: exact resume, interruption, accumulation, and what stops it."""

import dataclasses
import gc
import json
import shutil
import signal
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer import api, config
from transformer.config import read_config
from transformer.data.batching import epochs
from transformer.data.batching.pairs import Batch, Segments
from transformer.distributed import sharding as parallel
from transformer.errors import InterruptedRunError, TransformerError, UsageError
from transformer.models.build import create, split
from transformer.storage.run import Run
from transformer.tasks.translation.loss import TranslationLoss
from transformer.tasks.translation.prepare import prepare
from transformer.tasks.translation.prepared import PreparedTranslation
from transformer.training import logger as logbook
from transformer.training import optimizer as optim
from transformer.training import run_directory as rundir
from transformer.training import step as update
from transformer.training.checkpoint import Checkpoints
from transformer.training.run import train

NOTHING = jnp.zeros((1, 3))


def with_training(settings, **changes):
    """The settings with changes to training or to the task."""
    task = {name: changes.pop(name) for name in list(changes) if hasattr(settings.task, name)}
    return dataclasses.replace(
        settings,
        task=dataclasses.replace(settings.task, **task),
        training=dataclasses.replace(settings.training, **changes),
    )


def final(folder: Path):
    return jax.tree.map(np.asarray, api.load(folder, "last").parameters)


def assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def interrupt_at(step, monkeypatch):
    """Ctrl-C while batch `step` (from 0) is fetched."""
    original = epochs.stream

    def stream(source, make, start):
        inner = original(source, make, start)
        size = len(source.epoch(start.epoch)[1])
        try:
            for index, planned in enumerate(inner, start.epoch * size + start.batch):
                if index == step:
                    signal.raise_signal(signal.SIGINT)
                yield planned
        finally:
            inner.close()

    monkeypatch.setattr(epochs, "stream", stream)


@pytest.mark.parametrize("steps", [(0, 5), (6,), *(pytest.param((step,), marks=pytest.mark.slow) for step in (4, 10))])
def test_resume_at_any_step_is_bit_for_bit_the_run_never_stopped(settings, trained, tmp_path, monkeypatch, steps):
    """12 updates of 5 or so batches an epoch: most of these are mid-epoch; 5 is at a validation."""
    folder = tmp_path / "stopped"
    for step in steps:
        with monkeypatch.context() as patch:
            interrupt_at(step, patch)
            with pytest.raises(InterruptedRunError, match=rf"step {step + 1}; .* train .*stopped --resume"):
                train(settings, folder, "toy", resume=folder.exists())
    train(settings, folder, "toy", resume=True)
    assert_identical(final(folder), final(trained))
    before, after = (logbook.read(Run(f).metrics) for f in (trained, folder))
    assert [(r["kind"], r["step"]) for r in after] == [(r["kind"], r["step"]) for r in before]
    validations = [[r["loss"] for r in records if r["kind"] == "validation"] for records in (before, after)]
    assert validations[0] == validations[1]


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, 3])
def test_resume_with_sampled_pieces_and_a_mixture_is_bit_for_bit_too(settings, corpora, tmp_path, monkeypatch, step):
    settings = dataclasses.replace(
        settings,
        data=dataclasses.replace(settings.data, also=(str(corpora / "test"),), weights=(2.0, 1.0)),
        tokenizer=config.Tokenizer(kind="bpe", vocabulary=70, sampling=0.3),
    )
    train(settings, tmp_path / "whole", "toy")
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        with pytest.raises(InterruptedRunError):
            train(settings, tmp_path / "stopped", "toy")
    train(settings, tmp_path / "stopped", "toy", resume=True)
    assert_identical(final(tmp_path / "stopped"), final(tmp_path / "whole"))
    left = [path for path in (Path(settings.data.cache) / "drawn").iterdir() if path.is_dir()]
    assert not left, "what was drawn is not left behind"


@pytest.mark.slow
def test_resume_with_packed_rows_is_bit_for_bit_too(settings, tmp_path, monkeypatch, caplog):
    """In its second epoch. All updates have one shape, and validation has separate buckets."""
    settings = dataclasses.replace(
        settings,
        batching=config.Batching(tokens=256, shapes=1, pack=16),
        model=tiny(encoder_layers=1, decoder_layers=1),
    )
    caplog.set_level("INFO")
    train(settings, tmp_path / "whole", "toy")
    assert "the update compiled for 1 batch shape " in caplog.text
    with monkeypatch.context() as patch:
        interrupt_at(8, patch)
        with pytest.raises(InterruptedRunError):
            train(settings, tmp_path / "stopped", "toy")
    train(settings, tmp_path / "stopped", "toy", resume=True)
    assert_identical(final(tmp_path / "stopped"), final(tmp_path / "whole"))
    records = logbook.read(Run(tmp_path / "whole").metrics)
    assert max(record["epoch"] for record in records if record["kind"] == "train") > 1
    losses = [record["loss"] for record in records if record["kind"] == "validation"]
    assert losses[-1] < losses[0]


def test_patience_and_best_survive_a_resume(settings, tmp_path, monkeypatch):
    """Three validations that never improve, with a stop between the first and the second."""
    settings = with_training(settings, steps=50, validate_every=2, patience=3, metric="loss")
    monkeypatch.setattr(PreparedTranslation, "validation", lambda *_: lambda _: {"loss": 5.0})
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        with pytest.raises(InterruptedRunError):
            train(settings, folder, "toy")
    train(settings, folder, "toy", resume=True)
    steps = [r["step"] for r in logbook.read(Run(folder).metrics) if r["kind"] == "validation"]
    assert steps == [2, 4, 6, 8], "the first is the best, three more are not"
    train(settings, folder, "toy", resume=True)
    assert logbook.read(Run(folder).metrics)[-1]["step"] == 8, "a finished run stays finished"


def test_a_finished_run_may_be_extended(settings, whole):
    train(with_training(settings, steps=14), whole, "toy", resume=True)
    assert logbook.read(Run(whole).metrics)[-1]["step"] == 14


@pytest.mark.slow
def test_it_learns(settings, tmp_path):
    """160 updates on 300 pairs: the loss on what it has seen falls to a fraction."""
    settings = dataclasses.replace(
        with_training(settings, steps=160, log_every=20, validate_every=160, label_smoothing=0.0),
        model=tiny(width=32, feedforward=64, dropout=0.0, attention_dropout=0.0, feedforward_dropout=0.0),
        schedule=config.Schedule(peak=1e-2, warmup=30),
        batching=config.Batching(tokens=512, shapes=1),
    )
    train(settings, tmp_path / "run", "toy")
    losses = [r["nll"] for r in logbook.read(Run(tmp_path / "run").metrics) if r["kind"] == "train"]
    assert losses[-1] < 0.3 * losses[0]


def make_batch(rows, seed=0):
    random = np.random.default_rng(seed)
    source = random.integers(4, 13, (rows, 6)).astype(np.int32)
    target = random.integers(4, 13, (rows, 5)).astype(np.int32)
    for row in range(rows):
        target[row, 1 + random.integers(5) :] = 0
    target_in = np.concatenate([np.full((rows, 1), 2), target[:, :-1]], 1).astype(np.int32)
    return Batch(*map(jnp.asarray, (source, target_in, target)))


def segmented(batch):
    """The same batch with two sentences in every row."""
    sides = np.asarray(batch.source), np.asarray(batch.target_out)
    halves = [(1 + (np.arange(x.shape[1]) >= x.shape[1] // 2)) * (x != 0) for x in sides]
    return batch._replace(segments=Segments(*(half.astype(np.int32) for half in halves)))


@cache
def begun(settings):
    """The compiled step and the first state. Tests of the same settings share both."""
    graph, parameters = split(create(settings.model, 13, 13, 1))
    optimizer = optim.optimizer(settings.optimizer, lambda _: 1e-3)
    state = {"step": jnp.int32(0), "parameters": parameters, "optimizer": optimizer.init(parameters)}
    mesh = parallel.make_mesh(config.Mesh(data=1))
    return jax.jit(update.make_step(graph, TranslationLoss.of(settings), optimizer, settings, mesh)), state


STILL = config.Config(
    model=tiny(dropout=0.0, attention_dropout=0.0, feedforward_dropout=0.0),
    optimizer=config.Optimizer(clip=0.0, epsilon=1e-3),
)
"""Without randomness. Two tests share its programs."""


def one_step(settings, batch):
    step, state = begun(settings)
    state, metrics = step(state, batch, NOTHING)
    return state, metrics.values()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "packed", "rnn"])
@pytest.mark.parametrize("pieces", [2, 3, 4])
def test_accumulation_is_mathematically_the_same(pieces, kind):
    """With every dropout on: masks are those of the whole batch. Lengths differ between pieces, so a mean of means
    would not be the global mean. 8 rows in 3 pieces are padded by an empty one."""
    model = config.Rnn(embedding=8, width=8, bidirectional=True, dropout=0.3) if kind == "rnn" else tiny()
    settings, batch = config.Config(model=model, optimizer=config.Optimizer(epsilon=1e-3)), make_batch(8)
    batch = segmented(batch) if kind == "packed" else batch
    padded = jax.tree.map(lambda x: np.pad(x, ((0, -len(x) % pieces), (0, 0))), batch)
    state, metrics = one_step(settings, batch)
    pieced, pieced_metrics = one_step(with_training(settings, accumulate=pieces), padded)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state, pieced)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), metrics, pieced_metrics)


def test_the_number_of_pieces_changes_no_batch(settings):
    """24 rows of the budget stay 24; they were 16 for 2 pieces of a multiple of 8."""
    settings = dataclasses.replace(settings, batching=config.Batching(tokens=24 * 8, shapes=1))
    plans = [prepare(with_training(settings, accumulate=pieces), None).plan for pieces in (1, 2, 3, 5)]
    assert {plan.buckets for plan in plans} == {plans[0].buckets}
    assert plans[0].buckets[0].rows == 24
    for number in range(len(plans[0])):
        for plan in plans[1:]:
            np.testing.assert_array_equal(plan.batch(number)[1], plans[0].batch(number)[1])


@pytest.mark.slow
def test_a_run_may_resume_with_a_different_accumulation(settings, trained, tmp_path, monkeypatch):
    """Stopped after 5 updates of 1 piece, resumed with 3: the run never stopped, up to rounding."""
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        with pytest.raises(InterruptedRunError):
            train(settings, folder, "toy")
    train(with_training(settings, accumulate=3), folder, "toy", resume=True)
    before, after = (logbook.read(Run(f).metrics) for f in (trained, folder))
    assert [(r["kind"], r["step"]) for r in after] == [(r["kind"], r["step"]) for r in before]
    losses = [[r["loss"] for r in records if r["step"] != 6 or r["kind"] != "train"] for records in (before, after)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)  # at 6 the log is of 1 update, not of 2


def test_rows_of_weight_zero_change_nothing():
    settings, batch = STILL, make_batch(6)
    filled = Batch(*(np.concatenate([x, np.zeros((2, x.shape[1]), np.int32)]) for x in batch[:3]))
    state, metrics = one_step(settings, batch)
    state_filled, metrics_filled = one_step(settings, filled)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state, state_filled)
    np.testing.assert_allclose(metrics["loss"], metrics_filled["loss"], rtol=1e-6)


def test_the_reported_loss_is_the_mean_over_tokens_with_the_gradient_of_it():
    """Against plain jax.grad of the plain loss, and optax applied by hand."""
    settings, batch = STILL, make_batch(8)
    graph, parameters = split(create(settings.model, 13, 13, 1))

    def plain(parameters):
        net = nnx.merge(graph, parameters)
        logp = jax.nn.log_softmax(net.output(net.decode(net.encode(batch.source), batch.target_in)[0]))
        nll = -jnp.take_along_axis(logp, jnp.asarray(batch.target_out)[..., None], -1)[..., 0]
        loss = 0.9 * nll - 0.1 * logp.mean(-1)
        return jnp.sum(loss * (batch.target_out != 0)) / (batch.target_out != 0).sum()

    _, metrics = one_step(settings, batch)
    value, gradient = jax.jit(jax.value_and_grad(plain))(parameters)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    norm = np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_names_the_batch_and_keeps_the_last_good_checkpoint(
    settings, tmp_path, monkeypatch
):
    """From update 5 on the parameters are poisoned; 4 was saved and stays the newest."""
    settings = with_training(settings, validate_every=2)
    original = update.compile_ahead

    def poisoned(*arguments):
        def wrapped(program, state, batch, wishes):
            new, metrics = program(state, batch, wishes)
            if int(new["step"]) == 5:
                new["parameters"] = jax.tree.map(
                    lambda p: jax.device_put(np.full(p.shape, np.nan, p.dtype), p.sharding), new["parameters"]
                )
            return new, metrics

        return {bucket: partial(wrapped, program) for bucket, program in original(*arguments).items()}

    monkeypatch.setattr(update, "compile_ahead", poisoned)
    folder = tmp_path / "run"
    message = r"not finite at batch \d+ of epoch \d+: .* training pairs \d+, .* last good checkpoint is step 4;.*peak"
    with pytest.raises(TransformerError, match=message):
        train(settings, folder, "toy")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final(folder)))
    assert api.load(folder, "last").checkpoint == "step 4"


@pytest.mark.slow
def test_average_of_the_last_checkpoints(settings, tmp_path):
    settings = with_training(settings, validate_every=3, keep_last=2, average="last")
    train(settings, tmp_path / "run", "toy")
    averaged = api.load(tmp_path / "run")
    assert averaged.checkpoint == "average"
    parts = [api.load(tmp_path / "run", step).parameters for step in ("9", "12")]
    expected = jax.tree.map(lambda a, b: (np.asarray(a) + np.asarray(b)) / 2, *parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), averaged.parameters, expected)
    assert json.loads((Run(tmp_path / "run").average / "average.json").read_text())["steps"] == [9, 12]
    train(with_training(settings, steps=14, average="none"), tmp_path / "run", "toy", resume=True)
    assert api.load(tmp_path / "run").checkpoint != "average", "it is of another time now"
    assert api.load(tmp_path / "run", "average").checkpoint == "average", "but still there"


@pytest.mark.slow
def test_an_interruption_changes_no_average(settings, tmp_path, monkeypatch):
    """The checkpoint of an interruption is kept only for resuming."""
    settings = with_training(settings, validate_every=3, keep_last=2, average="last")
    with monkeypatch.context() as patch:
        interrupt_at(9, patch)
        with pytest.raises(InterruptedRunError):
            train(settings, tmp_path / "run", "toy")
    assert {6, 9, 10} <= set(checkpoints_of(tmp_path / "run"))
    train(settings, tmp_path / "run", "toy", resume=True)
    assert json.loads((Run(tmp_path / "run").average / "average.json").read_text())["steps"] == [9, 12]


def checkpoints_of(folder):
    return sorted(int(p.name) for p in Run(folder).checkpoints.iterdir() if p.name.isdigit())


def test_best_and_last_are_kept(settings, tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.5])
    monkeypatch.setattr(PreparedTranslation, "validation", lambda *_: lambda _: {"loss": next(losses)})
    train(with_training(settings, validate_every=3, metric="loss"), tmp_path / "run", "toy")
    assert checkpoints_of(tmp_path / "run") == [6, 9, 12], "the best, the last, and the one before it"
    assert api.load(tmp_path / "run").checkpoint == "step 6"
    assert api.load(tmp_path / "run", "last").checkpoint == "step 12"
    with pytest.raises(UsageError, match="best, last and the steps 6, 9, 12"):
        api.load(tmp_path / "run", "7")


def test_ties_between_checkpoints_go_to_the_earliest(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(PreparedTranslation, "validation", lambda *_: lambda _: {"loss": 5.0})
    train(with_training(settings, validate_every=3, metric="loss"), tmp_path / "run", "toy")
    assert api.load(tmp_path / "run").checkpoint == "step 3"


def test_a_run_directory_is_never_overwritten(settings, trained):
    with pytest.raises(UsageError, match="already holds a run: add --resume"):
        train(settings, trained, "toy")


def test_one_process_at_a_time_trains_in_a_run(settings, whole):
    before = final(whole)
    with rundir.locked(Run(whole)), pytest.raises(UsageError, match="another process is training in"):
        train(settings, whole, "toy", resume=True)
    train(settings, whole, "toy", resume=True)
    assert_identical(final(whole), before)


@pytest.mark.parametrize("there", [[], ["tokenizer"], ["tokenizer", "data"]])
def test_a_run_killed_before_its_config_was_saved_may_restart(settings, tmp_path, there):
    for name in there:
        (tmp_path / name).mkdir()
    if there:
        assert_refused(settings, tmp_path)  # it may be anything
    Run(tmp_path).lock.touch()
    assert rundir.check(tmp_path, settings, resume=False) is None
    (tmp_path / "thesis.txt").touch()
    assert_refused(settings, tmp_path)


def assert_refused(settings, folder):
    with pytest.raises(UsageError, match="is not empty and is not a run directory"):
        rundir.check(folder, settings, resume=False)


@pytest.mark.slow
def test_checkpoints_between_validations_change_nothing(settings, trained, tmp_path):
    settings = with_training(settings, save_minutes=1e-9)
    saves = []
    with pytest.MonkeyPatch.context() as patch:
        save = Checkpoints.save
        patch.setattr(Checkpoints, "save", lambda self, *of: (saves.append(int(of[0]["step"])), save(self, *of)))
        train(settings, tmp_path / "often", "toy")
    assert saves == list(range(1, 13))
    assert_identical(final(tmp_path / "often"), final(trained))
    assert set(checkpoints_of(tmp_path / "often")) <= {6, 11, 12}, "the last two, and the best validated"


@pytest.mark.slow
def test_patience_continues_over_an_interruption(settings, tmp_path, monkeypatch):
    settings = with_training(settings, steps=50, validate_every=2, patience=3, metric="loss")
    losses = iter([3.0, 1.0, 2.0, 2.5, 1.5, 0.5])
    monkeypatch.setattr(PreparedTranslation, "validation", lambda *_: lambda _: {"loss": next(losses)})
    with monkeypatch.context() as patch:
        interrupt_at(6, patch)
        with pytest.raises(InterruptedRunError):
            train(settings, tmp_path / "run", "toy")
    train(settings, tmp_path / "run", "toy", resume=True)
    assert logbook.read(Run(tmp_path / "run").metrics)[-1]["step"] == 10, "4 was the best, three more were not better"


@pytest.mark.slow
def test_a_profile_can_be_opened(settings, tmp_path):
    train(with_training(settings, steps=16, validate_every=16), tmp_path / "run", "toy", profile=True)
    (trace,) = Run(tmp_path / "run").profile.rglob("*.xplane.pb")
    planes = [plane.name for plane in jax.profiler.ProfileData.from_file(str(trace)).planes]
    assert any("host" in name or "device" in name for name in planes)


def test_a_folder_that_is_not_a_run_is_left_alone(settings, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not empty and is not a run directory"):
        train(settings, tmp_path / "precious", "toy")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "precious" / "config.json").write_text('{"name": "another program"}')
    (tmp_path / "precious" / "data").mkdir()
    (tmp_path / "precious" / "data" / "table.csv").write_text("1,2")
    for resume in (False, True):
        with pytest.raises(UsageError, match="not a run directory"):
            train(settings, tmp_path / "precious", "toy", resume=resume)
    assert (tmp_path / "precious" / "config.json").read_text() == '{"name": "another program"}'
    assert (tmp_path / "precious" / "data" / "table.csv").read_text() == "1,2"


def test_a_failed_start_leaves_nothing(settings, tmp_path):
    broken = dataclasses.replace(settings, data=dataclasses.replace(settings.data, train="nowhere/train"))
    with pytest.raises(TransformerError, match="nowhere"):
        train(broken, tmp_path / "run", "toy")
    assert not (tmp_path / "run").exists()


def test_resume_with_other_settings_names_the_flag(settings, trained):
    other = dataclasses.replace(settings, model=dataclasses.replace(settings.model, width=32))
    with pytest.raises(UsageError, match=r"--model\.width=16, not 32"):
        train(other, trained, "toy", resume=True)


def test_a_cosine_schedule_ends_where_it_began_to(settings, tmp_path):
    cosine = dataclasses.replace(settings, schedule=config.Schedule(name="cosine", warmup=2))
    (tmp_path / "run").mkdir()
    rundir.save(Run(tmp_path / "run"), cosine, {"recipe": "toy"})
    with pytest.raises(UsageError, match=r"--training\.steps=12, not 14, and its cosine schedule"):
        train(with_training(cosine, steps=14), tmp_path / "run", "toy", resume=True)


def test_resume_with_another_tokenizer_is_refused(settings, whole):
    other = dataclasses.replace(settings, tokenizer=config.Tokenizer(kind="word", vocabulary=20))
    prepare(other, None).save(whole)
    with pytest.raises(TransformerError, match="not the tokenizer this run was trained with"):
        train(with_training(settings, steps=14), whole, "toy", resume=True)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_resume_with_other_data_is_refused_and_changes_nothing(settings, whole, tmp_path, corpora, split):
    for side in ("xx", "yy"):
        lines = (corpora / f"{split}.{side}").read_text().splitlines(keepends=True)
        (tmp_path / f"{split}.{side}").write_text("".join(reversed(lines)))
    stored = json.loads(Run(whole).config.read_text())
    stored["config"]["data"][split] = str(tmp_path / split)
    Run(whole).config.write_text(json.dumps(stored))
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    with pytest.raises(TransformerError, match=f"{split} data changed"):
        train(with_training(read_config(whole), steps=14), whole, "toy", resume=True)
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_the_first_parameters_of_init_from_survive_a_crash_before_the_first_checkpoint(
    settings, trained, tmp_path, monkeypatch
):
    frozen = dataclasses.replace(
        with_training(settings, steps=1), schedule=config.Schedule(name="constant", peak=1e-12, warmup=1)
    )
    with monkeypatch.context() as patch:
        patch.setattr(epochs, "stream", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError):
            train(frozen, tmp_path / "tuned", "toy", init_from=trained)
    with pytest.raises(UsageError, match=r"started from .*whole, not from"):
        train(frozen, tmp_path / "tuned", "toy", resume=True, init_from=tmp_path)
    train(frozen, tmp_path / "tuned", "toy", resume=True)
    start = jax.tree.map(np.asarray, api.load(trained).parameters)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), final(tmp_path / "tuned"), start)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # orbax leaves futures behind
@pytest.mark.parametrize("damage", ["truncated", "missing", "empty"])
def test_a_damaged_checkpoint_is_named(whole, damage):
    folder = Run(whole).checkpoints / "12"
    if damage == "missing":
        shutil.rmtree(folder / "parameters")
    elif damage == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    else:
        largest = max((p for p in (folder / "parameters").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    with pytest.raises((TransformerError, UsageError), match="12"):
        api.load(whole, "12")
    gc.collect()  # so that orbax's futures are not another test's warning


def test_translating_touches_nothing_in_a_run(whole):
    (Run(whole).checkpoints / "99.orbax-checkpoint-tmp").mkdir()
    before = sorted(whole.rglob("*"))
    api.load(whole).translate(["ba be"])
    assert sorted(whole.rglob("*")) == before


def test_init_from_starts_with_the_other_runs_parameters(settings, trained, tmp_path):
    frozen = dataclasses.replace(
        with_training(settings, steps=1), schedule=config.Schedule(name="constant", peak=1e-12, warmup=1), seed=9
    )
    train(frozen, tmp_path / "tuned", "toy", init_from=trained)
    start = jax.tree.map(np.asarray, api.load(trained).parameters)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), final(tmp_path / "tuned"), start)


def test_init_from_another_tokenizer_or_shape_is_refused(settings, trained, tmp_path):
    characters = dataclasses.replace(settings, tokenizer=config.Tokenizer(kind="char"))
    with pytest.raises(UsageError, match="same --tokenizer settings"):
        train(characters, tmp_path / "a", "toy", init_from=trained)
    shape = dataclasses.replace(settings, model=dataclasses.replace(settings.model, feedforward=48))
    with pytest.raises(UsageError, match=r"feedforward.* same --model settings"):
        train(shape, tmp_path / "b", "toy", init_from=trained)


def test_the_run_directory_has_the_documented_files(trained):
    run = Run(trained)
    stored = json.loads(run.config.read_text())
    assert stored["recipe"] == "toy"
    assert [set(sitting) for sitting in stored["sittings"]] == [{"version", "commit", "started"}]
    assert (run.report / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert list(run.events.iterdir())
    records = logbook.read(run.metrics)
    assert [r["step"] for r in records if r["kind"] == "train"] == [2, 4, 6, 8, 10, 12]
    assert {"loss", "nll", "grad_norm", "lr", "tokens_per_s", "minutes", "epoch"} <= records[0].keys()
    assert records[-1]["compilations"] > 0
