"""A model function for torch and NumPy alike, fixed inputs, and the runs held in golden files."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from pydiff.diffusion import Denoiser, NoiseSchedule, schedules
from pydiff.samplers import DDIM, DDPM, Sampler, sample

SHAPE = (2, 4, 4, 3)
STEPS = 50
KEPT = [0, 25, 48]  # the steps whose states are stored
TOLERANCE = 1e-4
PREDICTIONS = ("epsilon", "sample", "v_prediction")


class Case(NamedTuple):
    """One run; the schedule is linear(1000)."""

    sampler: Sampler
    spacing: str
    prediction: str
    clip: float | None

    @property
    def name(self) -> str:
        return f"{self.sampler}-{self.spacing}-{self.prediction}-{self.clip}"


SAMPLERS = (DDPM("fixed_small"), DDPM("fixed_large"), DDIM(0.0), DDIM(0.5), DDIM(1.0))
CASES = [
    Case(*options)
    for options in product(SAMPLERS, ("leading", "trailing", "linspace"), PREDICTIONS, (None, 1.0))
    if not (isinstance(options[0], DDIM) and options[1] == "linspace")  # see test_peers
]


def model(x: Any, t: Any) -> Any:
    """Smooth, bounded, of both x and t; x an ndarray or a torch tensor."""
    if isinstance(x, np.ndarray):
        return 0.8 * np.tanh(1.3 * x + 0.0007 * float(t)) - 0.2 * x
    return 0.8 * (1.3 * x + 0.0007 * float(t)).tanh() - 0.2 * x


def inputs(steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """x_T and the noise of each step, float64."""
    generator = np.random.default_rng(7)
    return generator.standard_normal(SHAPE), generator.standard_normal((steps, *SHAPE))


def run(
    sampler: Sampler,
    prediction: str,
    clip: float | None,
    schedule: NoiseSchedule | None = None,
    steps: int = STEPS,
    dtype: Any = np.float64,
    **options: Any,
) -> list[np.ndarray]:
    """The states after each step, from the fixed inputs."""
    x, z = inputs(steps)
    trajectory: list[np.ndarray] = []
    sample(
        Denoiser(model, schedule or schedules.linear(), prediction, clip),
        sampler=sampler,
        steps=steps,
        x_init=x.astype(dtype),
        noise=lambda step, shape: z[step],
        callback=lambda step, t, x, x0: trajectory.append(x),
        **options,
    )
    return trajectory


def assert_same(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Each state to 1e-4 of its largest value."""
    for step, (mine, other) in enumerate(zip(actual, expected, strict=True)):
        error = np.abs(mine - other).max() / max(1.0, np.abs(other).max())
        assert error <= TOLERANCE, f"step {step}: {error}"
