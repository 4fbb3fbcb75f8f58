"""Checkpoints of a run, through orbax: parameters, optimizer state and the host's state, saved together.

Each is a folder `checkpoints/<step>/` that appears complete or not at all, written while training continues. Parameters
are a separate item, and so is their moving average, so that prediction reads no optimizer state. Nothing is pickled.
`checkpoints/checksums/<step>.json` has the checksums of the files.
"""

import errno
import json
import logging
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers as policies
from orbax.checkpoint import multihost

from transformer.distributed import processes as cluster
from transformer.distributed.sharding import Rules, replicated, shardings_for
from transformer.errors import TransformerError
from transformer.storage import checksums
from transformer.training import config
from transformer.training.stored import StoredCheckpoints, first_line, ranked

log = logging.getLogger(__name__)

ITEMS = ("parameters", "optimizer", "ema", "host")


@dataclass(frozen=True)
class KeepNewestAndBest(policies.PreservationPolicy):
    """Keeps the two newest checkpoints, in case the last is damaged; of the validated ones, the newest `last` and the
    best `best`; and those whose quality is unknown. Ties are broken in favour of the earlier step."""

    last: int
    best: int
    quality: Callable[[int], float | None]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Which checkpoints are kept."""
        steps = sorted(c.step for c in checkpoints)
        qualities = {step: self.quality(step) for step in steps}
        best = ranked(qualities)
        unknown = [step for step, quality in qualities.items() if quality is not None and math.isnan(quality)]
        stay = {*steps[-2:], *sorted(best)[-self.last :], *best[: self.best], *unknown}
        return [c.step in stay for c in checkpoints]


class Checkpoints(StoredCheckpoints):
    """The checkpoints of a run in training. One saved between two validations has no quality."""

    def __init__(self, folder: Path, training: config.Training, rules: Rules = ()):
        """Arguments and errors are those of `StoredCheckpoints`."""
        super().__init__(folder, training, rules)
        self._sealer, self._sealing = ThreadPoolExecutor(1), Future[None]()
        self._sealing.set_result(None)
        options = ocp.CheckpointManagerOptions(
            async_options=ocp.options.AsyncOptions(barrier_sync_fn=_meet),
            preservation_policy=KeepNewestAndBest(training.keep_last, training.keep_best, self.quality),
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), item_names=ITEMS, options=options)

    def save(self, state: dict[str, Any], host: dict[str, Any], quality: float | None) -> None:
        """Start saving a state; `quality` (higher is better) is its validation metric, if it was validated.

        Raises TransformerError, now or from `settle`, if it cannot be written; earlier checkpoints are untouched.
        """
        self.settle()
        step = int(state["step"])
        self._qualities[step] = quality
        if jax.default_backend() == "cpu":
            # On a CPU the host's copy would be the device's own buffer, which the next update overwrites.
            state = jax.tree.map(jnp.copy, state)
        with self._writing(step):
            self._see_room(state)
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{name: ocp.args.StandardSave(tree) for name, tree in state.items() if name != "step"},
                    host=ocp.args.JsonSave({**host, "quality": quality}),
                ),
            )
        self._sealing = self._sealer.submit(self._seal, step)

    def _see_room(self, state: dict[str, Any]) -> None:
        """Raise OSError before anything is written if the disk is too full: orbax would fail in many threads, each with
        a traceback. The size is that of the newest checkpoint, or of the arrays if there is none."""
        files = [path for step in self.steps()[-1:] for path in (self.folder / str(step)).rglob("*")]
        needed = sum(path.stat().st_size for path in files) or sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"No space left on device: {needed:,} bytes are needed, {free:,} are free")

    def _seal(self, step: int) -> None:
        """Write the checksums of what was saved, once it is written."""
        with self._writing(step):
            self._manager.wait_until_finished()
            if cluster.is_main_process():
                checksums.write(self.folder / str(step), self._checksums(step))
                for path in self._checksums(step).parent.glob("*.json"):
                    if not (self.folder / path.stem).is_dir():
                        path.unlink()

    def settle(self, *, wait: bool = True) -> None:
        """Whether the saved checkpoint is written; raises the errors of writing it. `wait` blocks until it is."""
        if wait or self._sealing.done():
            self._sealing.result()

    @contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # tensorstore's errors are ValueErrors
            raise TransformerError(
                f"the checkpoint of step {step} cannot be written to {self.folder} ({first_line(error)}); those "
                f"before it are untouched: the last good one is {self.last_good()}"
            ) from error

    def resume(self, like: dict[str, Any], mesh: Mesh) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """State and host's data of the newest good checkpoint; None if there is no checkpoint.

        Damaged checkpoints are named in the log and moved to `damaged/`, next to the folder of checkpoints.

        Raises TransformerError if all are damaged, or one that is not known to be damaged cannot be read.
        """
        steps, known = json.loads(cluster.from_main_process(json.dumps([self.steps(), self._sealed()])))
        for step in reversed(steps):
            sealed = step in known
            damage = cluster.from_main_process((self._damage(step) or "") if cluster.is_main_process() else "")
            if not sealed and jax.process_count() > 1 and any(other in known for other in steps if other < step):
                # Reading would reveal it, but in each process separately, and they would not agree.
                damage = "it has no checksums: the job was killed when it was written"
            if not damage:
                try:
                    found = self.restore(step, like, mesh), self.host(step)
                except TransformerError as error:
                    cause = error.__cause__
                    unread = isinstance(cause, OSError | jax.errors.JaxRuntimeError | MemoryError)
                    if sealed or (unread and not isinstance(cause, FileNotFoundError)):
                        raise
                    damage = first_line(error)
                else:
                    if not sealed:  # killed between writing it and its checksums
                        self._seal(step)
                    return found
            log.warning("the checkpoint of step %d is damaged (%s): resuming from the one before", step, damage)
            self._set_aside(step)
        if steps or self._damaged.is_dir():
            raise TransformerError(
                f"every checkpoint of {self.folder} is damaged; they are in {self._damaged}. Restore one, or start "
                "again with another --run"
            )
        return None

    @property
    def _damaged(self) -> Path:
        return self.folder.with_name("damaged")

    def _set_aside(self, step: int) -> None:
        if cluster.is_main_process():
            self._damaged.mkdir(exist_ok=True)
            number = next(n for n in range(1, 10**6) if not (self._damaged / f"{step}-{n}").exists())
            (self.folder / str(step)).rename(self._damaged / f"{step}-{number}")
            self._checksums(step).unlink(missing_ok=True)
        cluster.barrier(f"set aside {step}")
        self._manager.reload()

    def restore(self, step: int, like: dict[str, Any], mesh: Mesh) -> dict[str, Any]:
        """The state of a checkpoint; `like` is a state of the same shapes, or these alone."""
        trees = {name: tree for name, tree in abstract(like, mesh, self.rules).items() if name != "step"}
        arguments = {name: ocp.args.StandardRestore(tree) for name, tree in trees.items()}
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(**arguments))
            items = {name: found[name] for name in trees}
        except Exception as error:  # orbax raises a bare Exception for an array cut short
            raise TransformerError(
                f"the checkpoint {self.folder / str(step)} cannot be read ({first_line(error)}); {self._others(step)}"
            ) from error
        return {
            "step": jax.device_put(jnp.int32(step), replicated(mesh)),
            **{name: _owned(items, name) for name in trees},
        }

    def close(self) -> None:
        """Wait for pending writes, and stop orbax's threads."""
        try:
            self.settle()
        finally:
            self._sealer.shutdown()
            with suppress(Exception):  # `settle` has reported what orbax raises again here
                self._manager.close()


def _meet(*, key: str, timeout_ms: int) -> None:
    """Wait for the other processes where orbax does, but not while an error is handled: orbax would delay the error
    until the others arrive, but they wait elsewhere."""
    if (error := sys.exception()) is not None:
        raise error
    multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)


def _owned(items: dict[str, Any], name: str) -> Any:
    """A tree of the restored data, copied array by array: the loop donates its state, and must own its
    buffers."""
    leaves, form = jax.tree.flatten(items.pop(name))
    for number in range(len(leaves)):
        leaves[number] = jnp.copy(leaves[number])
    return jax.tree.unflatten(form, leaves)


def abstract(tree: Any, mesh: Mesh, rules: Rules = ()) -> Any:
    """Shapes, types and shardings of the arrays of a tree."""
    shardings = shardings_for(mesh, tree, rules)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)
