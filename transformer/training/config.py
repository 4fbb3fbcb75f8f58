"""Settings of training: the optimizer, its schedule, how long to train and what to keep.

Times are minutes.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from transformer.errors import UsageError


@dataclass(frozen=True)
class Optimizer:
    """The optimizer, which turns gradients into updates."""

    name: Literal["adam", "adamw", "sgd", "adadelta", "muon", "schedule_free"] = "adam"
    """Optimizer, whose rate is the schedule's. sgd: the gradient times the rate (Luong 2015: rate 1, clip 5). adadelta:
    Zeiler 2012 (Bahdanau 2015: rate 1, clip 1). muon: the matrices of a Transformer's layers move by their
    orthogonalised momentum (Jordan 2024), scaled to the size of Adam's updates (Liu 2025), everything else by Adam with
    Nesterov's momentum. schedule_free: AdamW at an average of its iterates instead of a falling rate (Defazio 2024),
    for --schedule.name=constant; validation, translation and all else that reads a run use the average."""
    b1: Annotated[float, Interval(ge=0, le=0.9999999)] = 0.9
    """Decay of the mean gradient; for adam, adamw and what muon leaves to Adam. Of schedule_free the share of the
    average in the point where the gradient is taken (0.9 to 0.98)."""
    b2: Annotated[float, Interval(ge=0, le=0.9999999)] = 0.98
    """Decay of the mean squared gradient; for adam, adamw, schedule_free and what muon leaves to Adam."""
    momentum: Annotated[float, Interval(ge=0, le=0.9999999)] = 0.95
    """Decay of the mean gradient of muon's matrices."""
    epsilon: Annotated[float, Ge(0)] = 1e-9
    """Number that is added to the root of the mean squared gradient; for adam, adamw, schedule_free and muon."""
    rho: Annotated[float, Interval(ge=0, le=0.9999999)] = 0.95
    """Decay of the mean squared gradient and of the mean squared update; for adadelta."""
    epsilon_root: Annotated[float, Ge(1e-30)] = 1e-6
    """Number that is added to both of these means, under their roots; for adadelta."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Weight decay of matrices (no biases, no norms); for adamw and schedule_free, and for the matrices of muon."""
    clip: Annotated[float, Ge(0)] = 1.0
    """Largest global norm of the gradient; 0 turns clipping off."""

    def check(self) -> None:
        """Raises UsageError for settings that cannot work together."""
        if self.weight_decay and self.name not in ("adamw", "muon", "schedule_free"):
            raise UsageError(f"--optimizer.weight-decay needs --optimizer.name=adamw: {self.name} has no weight decay")
        if self.name == "schedule_free" and self.b1 == 0:
            raise UsageError("--optimizer.b1=0: --optimizer.name=schedule_free needs a share above 0, such as 0.9")

    @property
    def averages(self) -> bool:
        """Whether the optimizer has an average of the parameters of its own."""
        return self.name == "schedule_free"


@dataclass(frozen=True)
class Schedule:
    """Learning rate by update. Every schedule first rises linearly to `peak` over `warmup` updates."""

    name: Literal["inverse_sqrt", "noam", "cosine", "constant", "halving"] = "inverse_sqrt"
    """Course of the rate after the warm-up. inverse_sqrt: peak * sqrt(warmup / step). noam: the same with peak =
    width^-0.5 * warmup^-0.5 (paper, section 5.3), times `peak` as a factor. cosine: to `final` of the peak at the last
    update. halving: the peak for `hold` updates, then halved, and halved again after every `every` updates (Luong 2015,
    section 4.1)."""
    peak: Annotated[float, Ge(0)] = 2e-3
    """Highest learning rate, reached at the end of the warm-up; for noam a factor."""
    warmup: Annotated[int, Ge(0)] = 1_000
    """Updates of the warm-up; 0: start at the peak (constant, cosine, halving)."""
    final: Annotated[float, Interval(ge=0, le=1)] = 0.01
    """Last learning rate of cosine, as a share of the peak."""
    hold: Annotated[int, Ge(0)] = 10_000
    """Updates before the first halving of the rate, the warm-up included. Luong 2015: those of 5 epochs, or of 8 with
    dropout."""
    every: Annotated[int, Ge(1)] = 2_000
    """Updates of each lower rate of halving. Luong 2015: those of an epoch."""

    def check(self) -> None:
        """Raises UsageError for settings that cannot work together."""
        if self.name in ("inverse_sqrt", "noam") and self.warmup == 0:
            raise UsageError(
                f"--schedule.warmup=0: --schedule.name={self.name} falls with the square root of it; give at least 1, "
                "or --schedule.name=constant"
            )
        if self.name == "halving" and self.hold < self.warmup:
            raise UsageError(
                f"--schedule.hold={self.hold}: the rate would be halved within --schedule.warmup={self.warmup}; raise "
                "the one or lower the other"
            )


@dataclass(frozen=True)
class Training:
    """How long to train, how to save memory, and which checkpoints to keep."""

    steps: Annotated[int, Ge(1)] = 10_000
    """Number of updates."""
    minutes: Annotated[float, Ge(0)] = 0.0
    """Stop after this much training time, all sessions together, and save; 0: no limit."""
    accumulate: Annotated[int, Ge(1)] = 1
    """Pieces into which the rows of each batch are divided, to fit memory. Batches and dropout masks are the same for
    any number, and sums differ by rounding; a resumed run may change it."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Floating-point type of the updates. bfloat16: matrix products and activations use it; parameters, optimizer, sums
    and norms stay float32, and so do validation and search."""
    remat: Literal["none", "cheap", "all"] = "none"
    """What the backward pass recomputes instead of storing, to save memory. cheap: everything but the products with
    weights. all: each layer of a Transformer, each step of a recurrence, from its input. Results are mathematically the
    same."""
    ema: Annotated[float, Interval(ge=0, le=0.9999999)] = 0.0
    """Decay of an exponential moving average of the parameters, at most (1 + step) / (10 + step); 0: none. Validation,
    translation and everything else that reads a run then use the average."""
    loss_chunk: Annotated[int, Ge(1)] = 256
    """Tokens whose logits are held at once; the loss is computed in such pieces."""
    log_every: Annotated[int, Ge(1)] = 50
    """Updates between two lines of metrics.jsonl."""
    validate_every: Annotated[int, Ge(1)] = 500
    """Updates between two validations; each one also saves a checkpoint."""
    save_minutes: Annotated[float, Ge(0)] = 10.0
    """Save a checkpoint when the last one is this old, even between validations; 0: only with validations."""
    patience: Annotated[int, Ge(0)] = 0
    """Stop after this many validations without a better metric; 0 never stops early."""
    keep_last: Annotated[int, Ge(1)] = 1
    """Newest validated checkpoints kept. The two newest of all are always kept too, in case one is damaged."""
    keep_best: Annotated[int, Ge(1)] = 1
    """Best checkpoints kept."""
    average: Literal["none", "last", "best"] = "none"
    """Average the parameters of the kept checkpoints (the newest or the best ones) when training ends."""

    def check(self) -> None:
        """Raises UsageError for settings that cannot work together."""
        kept = {"none": 2, "last": self.keep_last, "best": self.keep_best}[self.average]
        if kept < 2:
            flag = f"--training.keep-{self.average}"
            raise UsageError(
                f"--training.average={self.average} averages what {flag} keeps: give at least 2, not {kept}"
            )
