"""The sampling loop, once for all samplers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, random
from ..checks import is_integer
from ..diffusion.denoiser import Pullback
from ..diffusion.guidance import linearize
from ..diffusion.noise_schedule import NOISY_ENOUGH, NoiseSchedule, as_float
from ..diffusion.prediction import Prediction
from ..errors import ConfigError, NonFiniteError, ShapeError
from .base import Predictor, Sampler
from .grids import Spacing, make_grid
from .registry import make_sampler

Callback = Callable[[int, Any, np.ndarray, np.ndarray], Any]
NoiseFunction = Callable[[int, "tuple[int, ...]"], np.ndarray]


def sample(
    denoiser: Predictor,
    shape: Sequence[int] | None = None,
    sampler: str | Sampler = "ddim",
    steps: int = 50,
    spacing: str | Spacing | None = None,
    grid: Sequence[float] | np.ndarray | None = None,
    seed: int = 0,
    x_init: np.ndarray | None = None,
    noise: NoiseFunction | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    first_image: int = 0,
) -> np.ndarray:
    """Run a sampler from noise to data and return x_0, (N, ...) as in `shape`.

    An inverse sampler (ddim_inverse) runs from the data x_init to noise, over the same grid.

    denoiser: a `Denoiser` (or a guidance wrapper of one).
    shape: (N, ...), usually (N, H, W, C); may be left out with x_init.
    sampler: a name in `samplers.SAMPLERS`, or an object such as `samplers.DDIM(eta=0.5)`.
    steps, spacing: the number of grid times and a name in `samplers.GRIDS`, or a callable
        (schedule, steps) -> decreasing times, e.g. `partial(grids.leading, offset=1)`; by default
        "leading" for a chain of timesteps, else the schedule's `usual_spacing`.
    grid: explicit decreasing times, the last one is where it ends (-1 is the clean data of a
        discrete schedule); replaces steps and spacing.
    seed, first_image: 0 <= seed < 2**64. All noise is keyed by (seed, image index, step, element),
        so image i is the same drawn alone (first_image=i) and in any batch.
    x_init: the array to start from, taken as it is, never changed. float64 stays float64
        throughout; anything else, and a run without x_init, is float32.
    noise: callable (step, shape) -> array, called for each draw after x_init in place of the
        generator, only where the sampler needs noise.
    callback: callable (step, t, x, x0) after each step (of an adaptive sampler: each attempt): its
        number from 0, the time at which the model was asked, the new state, and the x_0 predicted
        at t. Returning False stops the run: `sample` then returns that x. The arrays may be kept.
    progress: a tqdm bar on stderr, if that is a terminal.

    Raises ConfigError for an unknown name, a grid that does not decrease or leaves the schedule;
    ShapeError for shapes that do not fit; NonFiniteError, naming step, t and sampler, as soon as
    the model returns a NaN or an infinity. Warns where it starts from pure noise at a time whose
    SNR is above 0.01. Interrupting it (Ctrl-C) leaves nothing behind: all state is its own.
    """
    if not isinstance(getattr(denoiser, "schedule", None), NoiseSchedule):
        raise ConfigError(
            f"sample needs a Denoiser, got {type(denoiser).__name__}; wrap a model as "
            "pydiff.Denoiser(model, schedule, prediction)"
        )
    chosen = make_sampler(sampler)
    times = make_grid(denoiser.schedule, steps, spacing, grid)
    if chosen.adaptive and grid is None:
        times = [times[0], times[-1]]
    if chosen.inverse:
        times.reverse()
        if x_init is None:
            raise ConfigError(f"{chosen.name} goes from data to noise; pass the data as x_init")
    if callback is not None and not callable(callback):
        raise ConfigError(f"callback must be callable, got {type(callback).__name__}")
    x = _initial(denoiser.schedule, times[0], shape, x_init, seed, first_image)
    source = _NoiseSource(noise, seed, first_image, x)
    guarded = _Guarded(denoiser, chosen, watched=callback is not None)
    state = chosen.start(times)
    bar = _progress_bar(len(times) - 1, chosen.name, progress)
    step, passed, t = 0, 0, times[0]
    try:
        while passed < len(times) - 1:
            source.step, source.draw = step, 0
            guarded.begin(step)
            x, said, state, reached = chosen.step(guarded, x, t, times[passed + 1], state, source)
            if reached is None or reached == times[passed + 1]:
                passed, reached = passed + 1, times[passed + 1]
                if bar is not None:
                    bar.update()
            if callback is not None and callback(step, t, x, _x0(said)) is False:
                return x
            step, t = step + 1, reached
    finally:
        if bar is not None:
            bar.close()
    _check_finite(x, "the result", chosen, step - 1, times[-2])
    return x


class _Guarded:
    """The denoiser of one run: checks that each prediction is finite before it is used.

    watched: a callback will read the step's prediction, so it must outlive the step's other ones.
    """

    def __init__(self, denoiser: Predictor, sampler: Sampler, watched: bool) -> None:
        self.schedule = denoiser.schedule
        self._denoiser, self._sampler, self._watched = denoiser, sampler, watched
        self.begin(0)

    def begin(self, step: int) -> None:
        self._step = step
        self._last: Prediction | None = None

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        if self._last is not None:
            self._last.settled()
        return self._checked(self._denoiser.predict(x, t), t)

    def linearize(self, x: np.ndarray, t: float) -> tuple[Prediction, Pullback]:
        if self._last is not None:
            self._last.settled()
        prediction, pull = linearize(self._denoiser, x, t)
        return self._checked(prediction, t), pull

    def _checked(self, prediction: Prediction, t: float) -> Prediction:
        _check_finite(prediction.source, "the model's prediction", self._sampler, self._step, t)
        if self._watched:
            self._last = prediction
        return prediction


class _NoiseSource:
    """noise() of one run: the generator keyed by step and draw, or the caller's function."""

    def __init__(
        self, given: NoiseFunction | None, seed: int, first_image: int, like: np.ndarray
    ) -> None:
        self.step = self.draw = 0
        self._given = given
        self._numbers = random.Numbers(seed, like.shape, "sampler", first_image, like.dtype)

    def __call__(self) -> np.ndarray:
        if self._given is None:
            self.draw += 1
            return self._numbers.normal(self.step, self.draw - 1)
        shape = self._numbers.shape
        z = np.asarray(self._given(self.step, shape))
        if z.shape != shape:
            raise ShapeError(f"noise(step={self.step}, shape={shape}) returned shape {z.shape}")
        return z.astype(self._numbers.dtype, copy=False)


def _initial(
    schedule: NoiseSchedule,
    t: float,
    shape: Sequence[int] | None,
    x_init: np.ndarray | None,
    seed: int,
    first_image: int,
) -> np.ndarray:
    if x_init is not None:
        x = as_float(x_init, "x_init")
        if x.ndim == 0 or x.size == 0 or (shape is not None and tuple(shape) != x.shape):
            raise ShapeError(f"x_init has shape {x.shape}, shape is {shape}; it must be (N, ...)")
        if not np.isfinite(x).all():
            raise NonFiniteError("x_init holds NaN or infinity")
        return x
    if shape is None:
        raise ConfigError("pass shape = (N, ...), or the array to start from as x_init")
    wanted = tuple(shape)
    if not wanted or not all(is_integer(n) and n > 0 for n in wanted):
        raise ShapeError(f"shape = {wanted}; it must be (N, ...), positive integers")
    snr = math.exp(min(schedule.log_snr(t), 700.0))
    if snr > NOISY_ENOUGH:
        warnings.warn(
            f"sampling starts from pure noise at t = {t}, where the SNR is {snr:.3g}: the result "
            "is biased; start later (spacing='trailing') or pass x_init",
            stacklevel=3,
        )
    x = random.normal(seed, wanted, stream="init", first_image=first_image, dtype=np.float32)
    if schedule.prior_std == 1.0:
        return x
    # prior_std belongs to t_last; a grid that starts below it starts with that much less noise
    return x * (schedule.prior_std * (schedule.sigma(t) / schedule.sigma(schedule.t_last)))


def _x0(said: Prediction | np.ndarray) -> np.ndarray:
    return said if isinstance(said, np.ndarray) else said.x0


def _check_finite(x: np.ndarray, what: str, sampler: Sampler, step: int, t: float) -> None:
    if math.isfinite(backend.sum_of_squares([x])):  # one pass that writes nothing
        return
    bad = x.size - int(np.isfinite(x).sum())
    if bad:
        raise NonFiniteError(
            f"{what} holds {bad} NaN or infinite values of {x.size} at step {step}, t = {t}, "
            f"sampler {sampler.name}"
        )


def _progress_bar(total: int, name: str, wanted: bool) -> Any:
    if not wanted:
        return None
    from tqdm import tqdm

    return tqdm(total=total, desc=name, unit="step", disable=None)
