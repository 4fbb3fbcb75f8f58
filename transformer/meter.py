"""Running means over the updates since the last line of the log, read one update behind the device."""

import math
import time
from collections import deque
from typing import NamedTuple

from jaxtyping import Array

from transformer.errors import TransformerError

MEANS = ("loss", "nll", "guiding")
"""Metrics that are means over tokens; the others are means over updates."""


class Wishes(NamedTuple):
    """Why a process may want to end training before its last update."""

    stop: bool
    """It was asked to."""
    late: bool
    """Its time is over."""


class NonFiniteLossError(TransformerError):
    """The loss or the gradient is no number any more."""

    def __init__(self, batch: int, values: dict[str, float]):
        super().__init__(f"batch {batch}: loss {values['loss']}, gradient norm {values['grad_norm']}")
        self.batch = batch


class Meter:
    """Adds up what `step` returns. Values are awaited one update late, so that the device never waits."""

    def __init__(self) -> None:
        self._unread: deque[tuple[int, dict[str, Array]]] = deque()
        self.wishes = Wishes(False, False)
        """What any process wished at an update that was read, the same in all of them."""
        self._restart()

    def pause(self, seconds: float) -> None:
        """Leave so much time out of the speed: a validation and its compilation, a save."""
        self._start += seconds

    def _restart(self) -> None:
        self._start = time.perf_counter()
        self._sums: dict[str, float] = {}
        self._updates = self._tokens = 0.0

    def add(self, batch: int, metrics: dict[str, Array]) -> None:
        """Take the metrics of an update. Raises NonFiniteLossError for the update before."""
        self._unread.append((batch, metrics))
        self._read(leave=1)

    def settle(self) -> None:
        """Wait for all updates. Raises NonFiniteLossError: nothing that is not finite gets past here."""
        self._read(leave=0)

    def close(self) -> dict[str, float]:
        """Means over the line, and real target tokens a second, pauses left out; begins a new line."""
        self.settle()
        seconds = time.perf_counter() - self._start
        means = {name: v / (self._tokens if name in MEANS else self._updates) for name, v in self._sums.items()}
        means["tokens_per_s"] = self._tokens / max(seconds, 1e-9)
        self._restart()
        return means

    def _read(self, leave: int) -> None:
        while len(self._unread) > leave:
            batch, arrays = self._unread.popleft()
            values = {name: float(value) for name, value in arrays.items()}
            if not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])):
                raise NonFiniteLossError(batch, values)
            tokens = values.pop("tokens")
            wished = [values.pop(name) > 0 for name in Wishes._fields]
            self.wishes = Wishes(*(old or new for old, new in zip(self.wishes, wished, strict=True)))
            for name, value in values.items():
                weight = tokens if name in MEANS else 1.0
                self._sums[name] = self._sums.get(name, 0.0) + value * weight
            self._updates, self._tokens = self._updates + 1, self._tokens + tokens
