"""What happens to a training process from outside its loop: compilations, and requests to stop."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import jax

log = logging.getLogger(__name__)


@contextmanager
def compilations() -> Iterator[list[float]]:
    """Seconds of each XLA compilation while the context lasts (those read from the cache count too)."""
    seconds: list[float] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


class StopRequest:
    """True once Ctrl-C or SIGTERM came."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked


@contextmanager
def stop_requests(told: str = "stopping after this update ...") -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request to stop after the step.

    A second SIGINT stops at once. A second SIGTERM does not: schedulers send one to every process of a job, and a
    study's runner passes on its own besides, so that two of them ask for no more than one.

    Args:
        told: is logged.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not request.asked:
            log.warning("\n%s", told)
        request.asked = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Trace:
    """A trace of a few updates for TensorBoard's profiler, some time after the start."""

    FIRST, UPDATES = 10, 5

    def __init__(self, folder: Path, step: int) -> None:
        self._folder, self._from = folder, step + self.FIRST
        self._traced: int | None = None
        """Updates since it began."""
        self._done = False

    def after(self, step: int) -> None:
        """To be called after each update."""
        if step == self._from:
            jax.profiler.start_trace(str(self._folder))
            self._traced = 0
        elif self._traced is not None:
            self._traced += 1
            if self._traced == self.UPDATES:
                self.close()

    def close(self) -> None:
        """Write what was traced, once."""
        if self._done:
            return
        self._done = True
        if self._traced is None:
            log.warning("no trace was written: training ended before update %d", self._from)
        else:
            jax.profiler.stop_trace()
            log.info("a trace of %d updates is in %s: tensorboard --logdir %s", self._traced, *[self._folder] * 2)
            self._traced = None
