"""Means over the updates since the last line of the log, read 1 update after the device has computed them."""

import math
import resource
import time
from collections import deque
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from transformer.data.batching.epochs import DataPosition
from transformer.errors import TransformerError
from transformer.training.signals import StopFlags


class Metrics(NamedTuple):
    """What an update returns in addition to the new state; sums and counts are over all devices."""

    means: dict[str, dict[str, Array]]
    """Means over each count, such as `{"tokens": {"loss": ..., "nll": ...}}`."""
    counts: dict[str, Array]
    """Denominators by name."""
    grad_norm: Array
    """Global norm of the gradient before clipping."""
    flags: Array
    """[3] how many devices' processes have each of the `StopFlags`."""

    def values(self) -> dict[str, Array]:
        """All means and the gradient's norm, by name."""
        return {name: mean for part in self.means.values() for name, mean in part.items()} | {
            "grad_norm": self.grad_norm
        }


class NonFiniteLossError(TransformerError):
    """The loss or the gradient is not finite."""

    def __init__(self, position: DataPosition, values: dict[str, float]):
        super().__init__(
            f"batch {position.batch + 1} of epoch {position.epoch + 1}: loss {values['loss']}, "
            f"gradient norm {values['grad_norm']}"
        )
        self.position = position


class MetricAverager:
    """Averages what updates return. Values are awaited 1 update late, so that the device never waits."""

    def __init__(self, unit: str = "tokens", devices: int = 1, peak: float | None = None) -> None:
        """
        Args:
            unit: of the speed.
            devices: of the whole job.
            peak: operations per second of a device, if known.
        """
        self._unit, self._devices, self._peak = unit, devices, peak
        self._unread: deque[tuple[DataPosition, Metrics]] = deque()
        self.flags = StopFlags()
        """What any process requested at an update whose metrics were read; the same in all processes."""
        self._restart()

    def pause(self, seconds: float) -> None:
        """Exclude these seconds from the speed: a validation and its compilation, a save."""
        self._start += seconds
        self._last += seconds

    def _restart(self) -> None:
        self._start = self._last = time.perf_counter()
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._units = self._waited = self._operations = 0.0
        self._seconds: list[float] = []

    def add(self, position: DataPosition, metrics: Metrics, waited: float = 0.0, operations: float = 0.0) -> None:
        """Take the metrics of an update.

        Args:
            position: of its batch.
            metrics: what it returned.
            waited: seconds that it waited for the batch.
            operations: useful ones on each device.

        Raises NonFiniteLossError for the update before.
        """
        self._unread.append((position, metrics))
        self._read(leave=1)
        now = time.perf_counter()
        self._seconds.append(now - self._last)
        self._last, self._waited = now, self._waited + waited
        self._operations += operations

    def settle(self) -> None:
        """Wait for all updates. Raises NonFiniteLossError, so that no non-finite value passes."""
        self._read(leave=0)

    def saved(self) -> None:
        """A checkpoint was started: requests for one are fulfilled."""
        self.flags = self.flags._replace(save=False)

    def close(self) -> dict[str, float]:
        """The values of a log line, without pauses; starts the next line.

        Means over the updates; real units (tokens) per second, of the job and of each device; the share of the time
        that updates waited for their batches; milliseconds per update (median and 95th percentile); memory; and the
        share of the peak, if known.
        """
        self.settle()
        now = time.perf_counter()
        self._seconds[-1] += now - self._last  # the last update was waited for just now
        seconds = max(now - self._start, 1e-9)
        means = {name: total / self._weights[name] for name, total in self._sums.items()}
        speed = self._units / seconds
        means |= {
            f"{self._unit}_per_s": speed,
            f"{self._unit}_per_s_per_device": speed / self._devices,
            "input_wait": self._waited / seconds,
            "step_ms_p50": 1e3 * float(np.quantile(self._seconds, 0.5)),
            "step_ms_p95": 1e3 * float(np.quantile(self._seconds, 0.95)),
            "memory_gib": _memory() / 2**30,
        }
        if self._peak is not None:
            means["mfu"] = self._operations / seconds / self._peak
        self._restart()
        return means

    def _read(self, leave: int) -> None:
        while len(self._unread) > leave:
            position, arrays = self._unread.popleft()
            read: Any = jax.tree.map(np.asarray, arrays)
            counts = {name: float(count) for name, count in read.counts.items()}
            weighted = [
                (name, float(mean), counts[count]) for count, part in read.means.items() for name, mean in part.items()
            ]
            weighted.append(("grad_norm", float(read.grad_norm), 1.0))
            values = {name: value for name, value, _ in weighted}
            if not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])):
                raise NonFiniteLossError(position, values)
            self.flags = StopFlags(*(old or new > 0 for old, new in zip(self.flags, read.flags.tolist(), strict=True)))
            for name, value, weight in weighted:
                self._sums[name] = self._sums.get(name, 0.0) + value * weight
                self._weights[name] = self._weights.get(name, 0.0) + weight
            self._units += counts[self._unit]


def _memory() -> float:
    """Peak memory in bytes so far: of one device, or of this process if the device is the CPU."""
    known = jax.local_devices()[0].memory_stats()
    if known and "peak_bytes_in_use" in known:
        return float(known["peak_bytes_in_use"])
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
