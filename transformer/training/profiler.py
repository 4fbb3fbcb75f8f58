"""What XLA and the devices do while a run trains: compilations, and traces for TensorBoard's profiler."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from transformer.plurals import counted

log = logging.getLogger(__name__)


@contextmanager
def compilations() -> Iterator[list[float]]:
    """Seconds of each XLA compilation while the context lasts; programs read from the cache count too."""
    seconds: list[float] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


class Trace:
    """A trace of a few updates for TensorBoard's profiler, some time after the start."""

    FIRST, UPDATES = 10, 5

    def __init__(self, folder: Path | None, step: int) -> None:
        """`folder` to write to; None: no trace is written."""
        self._folder, self._from = folder, step + self.FIRST
        self._traced: int | None = None
        """Updates since it began."""
        self._done = folder is None

    def after(self, step: int) -> None:
        """To be called after each update."""
        if self._done:
            return
        if step == self._from:
            jax.profiler.start_trace(str(self._folder))
            self._traced = 0
        elif self._traced is not None:
            self._traced += 1
            if self._traced == self.UPDATES:
                self.close()

    def close(self) -> None:
        """Write the trace, once."""
        if self._done:
            return
        self._done = True
        if self._traced is None:
            log.warning("no trace was written: training ended before update %d", self._from)
        else:
            jax.profiler.stop_trace()
            traced = counted(self._traced, "update")
            log.info("a trace of %s is in %s: tensorboard --logdir %s", traced, *[self._folder] * 2)
            self._traced = None
