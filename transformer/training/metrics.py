"""Running means over the updates since the last line of the log, read one update behind the device."""

import math
import resource
import time
from collections import deque
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from transformer.data.batching.epochs import Place
from transformer.errors import TransformerError

MEANS = ("loss", "nll", "guiding")
"""Metrics that are means over tokens; the others are means over updates."""


class Wishes(NamedTuple):
    """What a process of the job would have all of them do after an update."""

    stop: bool = False
    """End: it was asked to."""
    late: bool = False
    """End: the time is over."""
    save: bool = False
    """Save: the last checkpoint is old."""


class NonFiniteLossError(TransformerError):
    """The loss or the gradient is no number any more."""

    def __init__(self, place: Place, values: dict[str, float]):
        super().__init__(
            f"batch {place.position + 1} of epoch {place.epoch + 1}: loss {values['loss']}, "
            f"gradient norm {values['grad_norm']}"
        )
        self.place = place


class Meter:
    """Adds up what `step` returns. Values are awaited one update late, so that the device never waits."""

    def __init__(self, devices: int = 1, peak: float | None = None) -> None:
        """`devices` of the whole job; `peak`: operations a second that one of them can do, where that is known."""
        self._devices, self._peak = devices, peak
        self._unread: deque[tuple[Place, dict[str, Array]]] = deque()
        self.wishes = Wishes()
        """What any process wished at an update that was read, the same in all of them."""
        self._restart()

    def pause(self, seconds: float) -> None:
        """Leave so much time out of the speed: a validation and its compilation, a save."""
        self._start += seconds
        self._last += seconds

    def _restart(self) -> None:
        self._start = self._last = time.perf_counter()
        self._sums: dict[str, float] = {}
        self._updates = self._tokens = self._waited = self._flops = 0.0
        self._each: list[float] = []

    def add(self, place: Place, metrics: dict[str, Array], waited: float = 0.0, flops: float = 0.0) -> None:
        """Take the metrics of an update on the batch of a place, the seconds that it waited for it, and the useful
        operations that each device did. Raises NonFiniteLossError for the update before."""
        self._unread.append((place, metrics))
        self._read(leave=1)
        now = time.perf_counter()
        self._each.append(now - self._last)
        self._last, self._waited, self._flops = now, self._waited + waited, self._flops + flops

    def settle(self) -> None:
        """Wait for all updates. Raises NonFiniteLossError: nothing that is not finite gets past here."""
        self._read(leave=0)

    def saved(self) -> None:
        """A checkpoint was begun: wishes for one are fulfilled."""
        self.wishes = self.wishes._replace(save=False)

    def close(self) -> dict[str, float]:
        """Means over the line; real target tokens a second, of the job and of each device; the share of the time that
        updates waited for their batches; milliseconds an update (the median, and what 19 of 20 stay below); memory; and
        the share of the peak, where that is known. Pauses are left out. Begins a new line."""
        self.settle()
        now = time.perf_counter()
        self._each[-1] += now - self._last  # the last update was waited for just now
        seconds = max(now - self._start, 1e-9)
        means = {name: v / (self._tokens if name in MEANS else self._updates) for name, v in self._sums.items()}
        speed = self._tokens / seconds
        means |= {
            "tokens_per_s": speed,
            "tokens_per_s_per_device": speed / self._devices,
            "input_wait": self._waited / seconds,
            "step_ms_p50": 1e3 * float(np.quantile(self._each, 0.5)),
            "step_ms_p95": 1e3 * float(np.quantile(self._each, 0.95)),
            "memory_gib": _memory() / 2**30,
        }
        if self._peak is not None:
            means["mfu"] = self._flops / seconds / self._peak
        self._restart()
        return means

    def _read(self, leave: int) -> None:
        while len(self._unread) > leave:
            place, arrays = self._unread.popleft()
            values = {name: float(value) for name, value in arrays.items()}
            if not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])):
                raise NonFiniteLossError(place, values)
            tokens = values.pop("tokens")
            wished = [values.pop(name) > 0 for name in Wishes._fields]
            self.wishes = Wishes(*(old or new for old, new in zip(self.wishes, wished, strict=True)))
            for name, value in values.items():
                weight = tokens if name in MEANS else 1.0
                self._sums[name] = self._sums.get(name, 0.0) + value * weight
            self._updates, self._tokens = self._updates + 1, self._tokens + tokens


def _memory() -> float:
    """Bytes at most so far: of one device, or of this process where the device is the CPU."""
    known = jax.local_devices()[0].memory_stats()
    if known and "peak_bytes_in_use" in known:
        return float(known["peak_bytes_in_use"])
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
