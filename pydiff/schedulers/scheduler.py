"""A scheduler of a model folder: schedule, sampler and grid, as its config has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..diffusion import NoiseSchedule
from ..diffusion.noise_schedule import as_float
from ..errors import ConfigError
from ..samplers import DPMppSDE, Sampler, sample
from ..samplers.base import Predictor
from ..samplers.loop import Callback, NoiseFunction
from .family import Model, Parts, Told
from .sigmas import Course


@dataclass(frozen=True)
class Scheduler:
    """What a `scheduler_config.json` amounts to; made by `from_config`.

    class_name: the class of diffusers. options: every option of that class. schedule: alpha and
    sigma in the coordinates of the states, which are diffusers' own. sampler: the method.
    Immutable: threads may share one.
    """

    class_name: str
    options: Mapping[str, Any]
    schedule: NoiseSchedule
    sampler: Sampler
    _parts: Parts = field(repr=False)

    def grid(self, steps: int = 50, mu: float | None = None) -> list[Any]:
        """The times of a run, from the first to where it ends: whole numbers on a discrete chain,
        else noise levels. mu: the dynamic shift, for classes with use_dynamic_shifting.

        Raises ConfigError for steps that the config cannot give.
        """
        return self._course(steps, mu).times.tolist()

    def timesteps(self, steps: int = 50, mu: float | None = None) -> list[Any]:
        """What the model is told at the times of the grid but the last."""
        return self._course(steps, mu).timesteps.tolist()

    def initial_std(self, steps: int = 50, mu: float | None = None) -> float:
        """The standard deviation of the state at the start (init_noise_sigma of diffusers)."""
        return float(self._course(steps, mu).scale)

    def mu(self, tokens: int) -> float:
        """The dynamic shift of FlowMatchEulerDiscrete for images of so many tokens (Flux, Stable
        Diffusion 3: one per 2 x 2 pixels of the latent): from base_shift to max_shift on a line.
        """
        keys = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        low, high, base, most = (self.options.get(key, math.nan) for key in keys)
        if math.isnan(low) or base is None or most is None or low == high:
            raise ConfigError(f"{self.class_name}: no base_shift and max_shift; choose mu yourself")
        return float(base + (most - base) * (tokens - low) / (high - low))

    def denoiser(self, model: Model, steps: int = 50, mu: float | None = None) -> Predictor:
        """x_0 from a model(x, timestep) that was trained with this config.

        It is asked with diffusers' timesteps at the times of `grid(steps)`; at any other time with
        the timestep of that level.
        """
        course = self._course(steps, mu)
        return self._parts.predictor(model, _told(course, self._parts.told))

    def sample(
        self,
        model: Model,
        x_init: np.ndarray,
        steps: int = 50,
        noise: NoiseFunction | None = None,
        seed: int = 0,
        callback: Callback | None = None,
        mu: float | None = None,
    ) -> np.ndarray:
        """Run the sampler and return x_0, like x_init.

        model: any callable (x, timestep) -> array; it gets what diffusers would hand it, the scaled
        input and the timestep. x_init: (N, ...) unit normal noise, float32 or float64, which is
        scaled by `initial_std` here (for DDIMInverse: the data).
        noise: (step, shape) -> array, for each draw in the order of diffusers, in place of the
            generator with `seed` (and of the noise_sampler of DPMSolverSDE).
        callback: (step, t, x, x0) after each step; x is the prev_sample of diffusers, t a time of
            `grid`; False stops the run.
        mu: the dynamic shift, for classes with use_dynamic_shifting.

        Raises what `samplers.sample` raises.
        """
        x = as_float(x_init, "x_init")
        scale = self.initial_std(steps, mu)
        return sample(
            self.denoiser(model, steps, mu),
            sampler=self.sampler if noise is None else _drawn(self.sampler),
            grid=self.grid(steps, mu),
            x_init=x if scale == 1.0 else x * x.dtype.type(scale),
            noise=noise,
            seed=seed,
            callback=callback,
        )

    def to_config(self) -> dict[str, Any]:
        """A config for `from_config` and for diffusers, with every option that JSON can hold."""
        values = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in self.options.items()
            if value != -np.inf  # a default that JSON does not have
        }
        return {"_class_name": self.class_name, **values}

    def _course(self, steps: int, mu: float | None) -> Course:
        return self._parts.course(steps, mu)


def _drawn(sampler: Sampler) -> Sampler:
    """The sampler that takes each given draw as it is, as diffusers does with its noise_sampler."""
    return replace(sampler, brownian=False) if isinstance(sampler, DPMppSDE) else sampler


def _told(course: Course, between: Told) -> Told:
    known = dict(zip(course.times.tolist(), course.timesteps.tolist(), strict=False))
    return lambda t: known[t] if t in known else between(t)
