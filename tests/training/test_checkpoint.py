"""What is kept of a run, and that none of it is lost: damaged files, full disks, unreadable storage."""

import errno
import logging
import pickle
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer import api, config
from transformer.config import Mesh, Training
from transformer.distributed import sharding as parallel
from transformer.errors import TransformerError
from transformer.storage import checksums
from transformer.training.checkpoint import Checkpoints
from transformer.training.stored import StoredCheckpoints

MESH = parallel.make_mesh(Mesh(data=1))
TRAINING = Training(keep_last=1, keep_best=1)


def state(step):
    weights = {"w": jnp.arange(12.0).reshape(3, 4) * step, "b": jnp.full(4, float(step))}
    return {"step": jnp.int32(step), "parameters": weights, "optimizer": {"mean": weights}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Three checkpoints, each better than those before."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    checkpoints = Checkpoints(folder, TRAINING)
    for step in (1, 2, 3):
        checkpoints.save(state(step), {"minutes": float(step)}, quality=float(step))
    checkpoints.close()
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run" / "checkpoints")
    return tmp_path / "run" / "checkpoints"


def resume(folder):
    """(step, host's data) that a job would resume from."""
    checkpoints = Checkpoints(folder, TRAINING)
    try:
        found = checkpoints.resume(state(0), MESH)
    finally:
        checkpoints.close()
    if found is None:
        return None
    step = int(found[0]["step"])
    jax.tree.map(np.testing.assert_array_equal, found[0], state(step))
    return step, found[1]


def kept(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def test_the_two_newest_are_kept_although_one_is_requested(saved):
    assert kept(saved) == [2, 3]
    assert sorted(path.stem for path in (saved / "checksums").iterdir()) == ["2", "3"]


def test_training_resumes_from_the_newest(folder):
    assert resume(folder) == (3, {"minutes": 3.0})


def flipped(file):
    content = file.read_bytes()
    if not content:
        return False
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return True


def truncated(file):
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.truncate(size // 2)
    return size > 0


def missing(file):
    file.unlink()
    return True


@pytest.mark.parametrize("damage", [flipped, truncated, missing])
def test_damage_to_any_file_is_named_and_training_resumes_from_the_previous_checkpoint(folder, damage, caplog):
    names = sorted(path.relative_to(folder / "3") for path in (folder / "3").rglob("*") if path.is_file())
    assert len(names) > 10
    for name in names:
        run = folder.with_name(f"run-{str(name).replace('/', '-')}") / "checkpoints"
        shutil.copytree(folder, run)
        if not damage(run / "3" / name):
            continue
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert resume(run) == (2, {"minutes": 2.0}), name
        assert f"the checkpoint of step 3 is damaged ({name}" in caplog.text
        assert (run.parent / "damaged" / "3-1").is_dir(), "nothing is thrown away"
        assert kept(run) == [2]


def test_when_all_are_damaged_nothing_is_restarted(folder):
    for step in ("2", "3"):
        missing(folder / step / "_CHECKPOINT_METADATA")
    for _ in range(2):
        with pytest.raises(TransformerError, match=r"every checkpoint of .* is damaged; they are in .*damaged"):
            resume(folder)
    assert sorted(path.name for path in (folder.parent / "damaged").iterdir()) == ["2-1", "3-1"]


def test_killed_before_its_checksums_were_saved(folder):
    (folder / "checksums" / "3.json").unlink()
    assert resume(folder) == (3, {"minutes": 3.0})
    assert checksums.find_damage(folder / "3", folder / "checksums" / "3.json") is None
    assert (folder / "checksums" / "3.json").is_file(), "they are taken when it was read"


def test_without_checksums_a_truncated_file_is_still_noticed(folder):
    (folder / "checksums" / "3.json").unlink()
    largest = max((folder / "3" / "optimizer").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    truncated(largest)
    assert resume(folder) == (2, {"minutes": 2.0})


def test_unreadable_storage_is_not_damage(folder, monkeypatch):
    def fail(file):
        raise OSError(errno.EIO, "Input/output error", str(file))

    monkeypatch.setattr(checksums, "_hash", fail)
    with pytest.raises(TransformerError, match=r"cannot be read .Input/output error.*nothing was changed"):
        resume(folder)
    assert kept(folder) == [2, 3]


@pytest.mark.parametrize("sealed", [True, False])
def test_full_memory_is_not_damage(folder, monkeypatch, sealed):
    if not sealed:
        (folder / "checksums" / "3.json").unlink()
    checkpoints = Checkpoints(folder, TRAINING)

    def fail(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(checkpoints._manager, "restore", fail)
    with pytest.raises(TransformerError, match=r"cannot be read .RESOURCE_EXHAUSTED"):
        checkpoints.resume(state(0), MESH)
    checkpoints.close()
    assert kept(folder) == [2, 3]


def test_a_damaged_quality_record_affects_no_other_checkpoint(folder):
    truncated(folder / "3" / "host" / "metadata")
    checkpoints = Checkpoints(folder, TRAINING)
    checkpoints.save(state(4), {}, quality=0.0)
    checkpoints.save(state(5), {}, quality=0.0)
    checkpoints.close()
    assert kept(folder) == [2, 3, 4, 5], "3 may be the best"
    checkpoints = StoredCheckpoints(folder, TRAINING)
    assert checkpoints.ranked() == [2, 4, 5]
    assert checkpoints.choose("best") == 2
    like = state(0)["parameters"]
    jax.tree.map(np.testing.assert_array_equal, checkpoints.parameters(2, like, MESH), state(2)["parameters"])


def test_parameters_of_another_shape_or_that_are_missing_are_refused(folder):
    checkpoints, like = StoredCheckpoints(folder, TRAINING), state(0)["parameters"]
    for wrong, message in (({"w": jnp.zeros((4, 3))}, r"w is \(3, 4\), not \(4, 3\)"), ({"v": like["b"]}, "v")):
        with pytest.raises(TransformerError, match=rf"cannot be read \(.*{message}.*; other checkpoints: 2"):
            checkpoints.parameters(3, {**like, **wrong}, MESH)


@pytest.mark.parametrize("sealed", [True, False])
def test_parameters_that_are_cut_short_are_never_used(folder, sealed):
    for file in (folder / "3" / "parameters").rglob("d/*"):  # the arrays
        assert truncated(file)
    if not sealed:
        (folder / "checksums" / "3.json").unlink()
    with pytest.raises(TransformerError, match="is damaged" if sealed else "cannot be read"):
        StoredCheckpoints(folder, TRAINING).parameters(3, state(0)["parameters"], MESH)


def test_runs_of_the_first_version_have_their_qualities(folder):
    for step in (2, 3):
        (folder / str(step) / "host" / "metadata").write_text("{}")
        (folder / str(step) / "metrics").mkdir()
        (folder / str(step) / "metrics" / "metrics").write_text(f'{{"quality": {-step}.5}}')
    checkpoints = StoredCheckpoints(folder, TRAINING)
    assert checkpoints.ranked() == [2, 3]


def test_orbax_write_errors_take_one_line_and_leave_earlier_checkpoints(folder):
    """A file may be no larger than a few kilobytes, which nobody can know before."""
    checkpoints, before = Checkpoints(folder, TRAINING), resource.getrlimit(resource.RLIMIT_FSIZE)
    large = {"w": jax.random.normal(jax.random.key(1), (100_000,))}
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        checkpoints.save({**state(4), "parameters": large}, {}, quality=4.0)
        for finish in (checkpoints.settle, checkpoints.close):
            with pytest.raises(TransformerError, match=r"step 4 cannot be written .*last good one is step 3"):
                finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert kept(folder) == [2, 3]


def test_a_failed_write_leaves_earlier_checkpoints(folder, monkeypatch):
    checkpoints = Checkpoints(folder, TRAINING)

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checksums, "write", fail)
    checkpoints.save(state(4), {}, quality=4.0)
    with pytest.raises(TransformerError, match=r"step 4 cannot be written .*No space left.*last good one is step"):
        checkpoints.settle()
    monkeypatch.undo()
    with pytest.raises(TransformerError):
        checkpoints.close()
    assert set(kept(folder)) >= {3}


def test_a_full_disk_is_noticed_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 100, 100))
    checkpoints = Checkpoints(folder, TRAINING)
    with pytest.raises(TransformerError, match=r"No space left on device: [\d,]+ bytes are needed, 100 are free"):
        checkpoints.save(state(4), {}, quality=4.0)
    checkpoints.close()
    assert kept(folder) == [2, 3]


def test_reading_a_run_executes_none_of_it(settings, tmp_path, monkeypatch):
    from tests.conftest import untrained

    run = untrained(settings, tmp_path / "run")

    def never(*_, **__):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    assert isinstance(api.load(run).settings, config.Config)
