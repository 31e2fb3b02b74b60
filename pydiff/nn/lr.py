"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError

KINDS = ("constant", "cosine", "linear")


@dataclass(frozen=True)
class LearningRate:
    """`peak` after a linear warm-up over `warmup` steps, then constant or falling to `final`.

    "cosine" is Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5 without restarts, "linear" a
    straight line; both end at step `steps`, the total number. Calling it with the step 0, 1, ...
    gives the rate of that step: a value, so that there is no state to save.
    """

    peak: float
    kind: str = "constant"
    steps: int = 0
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"LearningRate: kind = {self.kind!r}; allowed: {', '.join(KINDS)}")
        for name in ("peak", "final"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"LearningRate: {name} = {value!r}; allowed: a number >= 0")
        if self.warmup < 0 or (self.kind != "constant" and self.steps <= self.warmup):
            raise ConfigError(
                f"LearningRate: warmup = {self.warmup}, steps = {self.steps}; allowed: "
                "0 <= warmup, and warmup < steps unless kind is 'constant'"
            )

    def __call__(self, step: int) -> float:
        """The rate for update number `step`, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        if self.kind == "constant":
            return self.peak
        progress = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        fall = 1 - progress if self.kind == "linear" else (1 + math.cos(math.pi * progress)) / 2
        return self.final + (self.peak - self.final) * fall
