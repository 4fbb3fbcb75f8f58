"""Requests to stop a training, and the agreement of a job's processes after each update."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from transformer.distributed import sharding as parallel
from transformer.training.config import Training

log = logging.getLogger(__name__)


class StopRequest:
    """True once Ctrl-C or SIGTERM came."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked


@contextmanager
def stop_requests(message: str = "stopping after this update ...") -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request to stop after the update.

    A second SIGINT stops at once. A second SIGTERM does not: schedulers send one to every process of a job, and a
    study's runner also forwards its own, so two of them mean no more than one.

    Args:
        message: logged at the first signal.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not request.asked:
            log.warning("\n%s", message)
        request.asked = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopFlags(NamedTuple):
    """What a process of the job requests of all processes after an update."""

    stop: bool = False
    """End: it was asked to."""
    late: bool = False
    """End: the time limit is reached."""
    save: bool = False
    """Save: the last checkpoint is old."""


class StopProtocol:
    """Makes all processes of a job end or save after the same update.

    Each update takes the flags of every process as input, and returns their sums with its metrics. A single process
    acts on its own flags at once.
    """

    def __init__(self, training: Training, request: StopRequest, mesh: Mesh, minutes: float) -> None:
        """`minutes` of training so far, when the last checkpoint was started."""
        self._training, self._request, self._mesh = training, request, mesh
        self._saved = minutes
        self._own = self.agreed = self._flags(minutes)
        self.flags = put_flags(mesh, self._own)
        """[N, 3] on the devices: this process' flags for the next update."""

    def _flags(self, minutes: float) -> StopFlags:
        training = self._training
        late = 0 < training.minutes <= minutes
        return StopFlags(bool(self._request), late, 0 < training.save_minutes <= minutes - self._saved)

    def update(self, minutes: float, heard: StopFlags) -> StopFlags:
        """What to do after an update: `minutes` of training so far, and the flags that any process had at an update
        before. They are the same in all processes."""
        self._refresh(minutes)
        self.agreed = self._own if jax.process_count() == 1 else heard
        return self.agreed

    def saved(self, minutes: float) -> None:
        """A checkpoint was started."""
        self._saved = minutes
        self._refresh(minutes)

    def _refresh(self, minutes: float) -> None:
        if self._own != (own := self._flags(minutes)):
            self._own, self.flags = own, put_flags(self._mesh, own)


def put_flags(mesh: Mesh, own: StopFlags) -> Array:
    """[N, 3] on the devices, a row for each: the flags of its process."""
    flags: Array = parallel.put_per_device(mesh, np.array(own, np.float32))
    return flags
