"""Everything that decides a training run, as one value that is checked once and stored as JSON."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

from ..checks import is_integer, is_number
from ..diffusion import (
    OBJECTIVES,
    PREDICTIONS,
    TIMES,
    WEIGHTS,
    Loss,
    LossHistory,
    NoiseSchedule,
    edm_weights,
)
from ..errors import ConfigError

RESAMPLED = "resampled"
LR_SCHEDULES = ("constant", "cosine", "linear")

# Changing one of these in the middle of a run moves no bit of the weights.
CADENCE = ("checkpoint_every", "sample_every", "log_every", "num_samples", "sample_steps")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of a :class:`Trainer`. The same config, data and model give the same bits.

    steps: optimiser steps in all (a resumed run counts from the start, not from the resumption).
    batch_size: images per forward pass; an optimiser step sees batch_size * grad_accumulation.
    prediction: what the model predicts: epsilon, sample (x_0), v_prediction, score or flow.
    objective, loss_weight, times: of `diffusion.Loss`: mse, sliced, or hybrid or vlb for a model of
        twice the output channels; simple, min_snr, p2, ncsn, edm or likelihood; how t is drawn, a
        key of TIMES or "resampled" (in proportion to past losses: `LossHistory`).
    sigma_data: the standard deviation of the data, for EDM's preconditioning of the network
        (`Preconditioned`; prediction = "sample"; loss_weight = "edm" takes it too), which the large
        states of the ve and edm schedules need; None: without.
    lr, warmup_steps, lr_schedule: the rate climbs linearly over warmup_steps, then stays
        (constant) or falls to zero at `steps` (cosine, linear).
    max_grad_norm: gradients are scaled down to this global 2-norm; None leaves them alone.
    ema_decay: decay of the averaged weights per step, in [0, 1); it warms up (see `nn.EMA`).
    class_conditional: give the model the labels (its config needs num_class_embeds).
    horizontal_flip: mirror each image with probability 1/2.
    log_every, checkpoint_every, sample_every: in steps; 0 means never.

    Raises ConfigError naming key, value and what is allowed.
    """

    steps: int = 1000
    batch_size: int = 128
    prediction: str = "epsilon"
    objective: str = "mse"
    loss_weight: str = "simple"
    times: str = "uniform"
    sigma_data: float | None = None
    lr: float = 1e-3
    warmup_steps: int = 100
    lr_schedule: str = "constant"
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    ema_decay: float = 0.995
    grad_accumulation: int = 1
    max_grad_norm: float | None = 1.0
    seed: int = 0
    horizontal_flip: bool = False
    class_conditional: bool = False
    log_every: int = 10
    checkpoint_every: int = 500
    sample_every: int = 0
    num_samples: int = 16
    sample_steps: int = 50

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "grad_accumulation", "num_samples", "sample_steps"):
            self._check_int(key, 1, 2**31 - 1)
        for key in ("warmup_steps", "log_every", "checkpoint_every", "sample_every"):
            self._check_int(key, 0, 2**31 - 1)
        self._check_int("seed", 0, 2**64 - 1)
        self._check_number("lr", 0.0, 1e3)
        self._check_number("weight_decay", 0.0, 1e3)
        for key in ("beta1", "beta2", "ema_decay"):
            self._check_number(key, 0.0, 1.0, open_above=True)
        if self.max_grad_norm is not None:
            self._check_number("max_grad_norm", 1e-12, 1e12)
        self._check_choice("prediction", tuple(PREDICTIONS))
        self._check_choice("objective", tuple(OBJECTIVES))
        self._check_choice("loss_weight", tuple(WEIGHTS))
        self._check_choice("times", (*TIMES, RESAMPLED))
        self._check_loss()
        self._check_choice("lr_schedule", LR_SCHEDULES)
        self._check_choice("horizontal_flip", (False, True))
        self._check_choice("class_conditional", (False, True))
        if self.lr_schedule != "constant" and self.warmup_steps >= self.steps:
            raise ConfigError(
                f"training config: warmup_steps = {self.warmup_steps}; below steps = {self.steps} "
                f"with lr_schedule = {self.lr_schedule!r}"
            )

    @property
    def learns_variance(self) -> bool:
        """Whether the model must return twice the channels."""
        return Loss(objective=self.objective).learns_variance

    def loss(self, schedule: NoiseSchedule) -> Loss:
        """What the model is trained to do; its `times` of "resampled" start with no history.

        Raises ConfigError where the settings and the schedule do not go together.
        """
        times = LossHistory(schedule) if self.times == RESAMPLED else self.times
        weight: Any = self.loss_weight
        if weight == "edm" and self.sigma_data is not None:
            weight = partial(edm_weights, sigma_data=self.sigma_data)
        loss = Loss(self.prediction, self.objective, weight, times)
        loss.check(schedule)
        return loss

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The config that `to_dict` described. Raises ConfigError for an unknown key."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"training config: unknown key {unknown[0]!r}; known: {known}")
        return cls(**values)

    def conflicts(self, other: TrainConfig) -> list[str]:
        """Settings in which a run under `other` cannot continue one under this config bitwise."""
        free = set(CADENCE)
        if self.lr_schedule == "constant":
            free.add("steps")
        mine, theirs = self.to_dict(), other.to_dict()
        return [
            f"{key}: the checkpoint has {mine[key]!r}, this run {theirs[key]!r}"
            for key in mine
            if key not in free and mine[key] != theirs[key]
        ]

    def _check_loss(self) -> None:
        Loss(self.prediction, self.objective, self.loss_weight)  # raises for what cannot be
        if self.sigma_data is None:
            return
        self._check_number("sigma_data", 1e-6, 1e6)
        if self.prediction != "sample" or self.learns_variance:
            raise ConfigError(
                f"training config: sigma_data = {self.sigma_data} with prediction = "
                f"{self.prediction!r} and objective = {self.objective!r}; a preconditioned network "
                "predicts the sample, and no variance"
            )

    def _check_int(self, key: str, low: int, high: int) -> None:
        value = getattr(self, key)
        if not is_integer(value) or not low <= value <= high:
            raise ConfigError(f"training config: {key} = {value!r}; an integer in [{low}, {high}]")

    def _check_number(self, key: str, low: float, high: float, open_above: bool = False) -> None:
        value = getattr(self, key)
        if not is_number(value) or not math.isfinite(value) or not low <= value <= high:
            raise ConfigError(f"training config: {key} = {value!r}; a number in [{low}, {high}]")
        if open_above and value == high:
            raise ConfigError(f"training config: {key} = {value!r}; must be below {high}")

    def _check_choice(self, key: str, allowed: tuple[Any, ...]) -> None:
        value = getattr(self, key)
        if not any(
            value is choice or (value == choice and isinstance(value, str)) for choice in allowed
        ):
            raise ConfigError(f"training config: {key} = {value!r}; one of {list(allowed)}")
