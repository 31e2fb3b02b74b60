"""The problem that samplers are graded on, and what each of them needs for it.

The data are a mixture of three Gaussians in the plane, whose denoiser is known, so whatever is
wrong with the samples is the sampler's. In y = x / alpha as a function of r = sigma / alpha the
probability flow is the same for every schedule, dy / d log r = y - E[x_0 | y, r]; solved to
rounding, it says where each starting point should end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..diffusion import schedules
from ..diffusion.denoiser import Denoiser
from ..diffusion.noise_schedule import NoiseSchedule
from ..diffusion.runge_kutta import integrate
from .oracles import GaussianMixture

PLANE = GaussianMixture([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]], [0.05, 0.1, 0.02], [0.5, 0.3, 0.2])
LINE = GaussianMixture([[0.3]], [0.25])  # for the laws of stochastic samplers
END = 4.0  # log-SNR at which convergence is measured: the modes are still broad
_NOISE = -14.0  # log-SNR that is noise to seven digits; where alpha ends at 0 it is -inf
_CLEAN = 1e-3  # sigma / alpha from which E[x_0 | x_t] is the end of the path to five digits


@dataclass(frozen=True)
class Setting:
    """How one sampler is run. Most need nothing; the exceptions are the rows of SETTINGS.

    options: of the sampler. measured: further ones while its error is measured, which give a method
    that chooses its steps those of the grid. counts: evaluations at which it is measured.
    schedule: a name in SCHEDULES. consistency: its model is a consistency function, so it is given
    the exact one, and evaluations are calls of that. converges: whether the error falls with the
    number of steps. time: it samples x_t at this time in place of the data. evaluations: of the run
    whose samples are compared with the truth. exact: whether so many are enough to pass there.
    note: what a reader must know.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    counts: tuple[int, ...] = (10, 20, 50, 100, 200, 400)
    schedule: str = "linear"
    consistency: bool = False
    converges: bool = True
    time: float | None = None
    evaluations: int = 200
    note: str = ""


_CONSISTENT: dict[str, Any] = {
    "consistency": True,
    "converges": False,
    "counts": (10, 20, 50),
    "evaluations": 4,
    "note": "evaluations are calls of the exact consistency function, any number of which is exact;"
    " four of them drew the samples",
}
_OWN_STEPS = "order and errors are those of fixed steps; it chooses its own by a tolerance"

SETTINGS: dict[str, Setting] = {
    "ode": Setting(
        measured={"rtol": 1e9, "atol": 1e9}, counts=(50, 100, 200, 400, 800), note=_OWN_STEPS
    ),
    "dpm_adaptive": Setting(measured={"rtol": 1e9, "atol": 1e9, "h_init": 100.0}, note=_OWN_STEPS),
    "consistency": Setting({"sigma_min": 0.0}, **_CONSISTENT),
    "lcm": Setting(**_CONSISTENT),
    "ddim_inverse": Setting(
        note="from data to noise; the exact flow carried its noise back, to be compared with data"
    ),
    "tcd": Setting({"eta": 0.0}, note="at eta = 0, which is DDIM: more is for distilled models"),
    "langevin": Setting(
        {"step_size": 0.02, "t": 400},
        converges=False,
        time=400,
        note="a chain at one noise level, compared with x_t there; biased by its step size",
    ),
    "annealed_langevin": Setting(
        schedule="ve",
        converges=False,
        evaluations=199,  # the last step has one more
        note="on ve(0.05, 12). With consistent=False 200 updates leave the weights of modes 2 % "
        "off. Each update has a bias of its size, which more steps do not remove",
    ),
    "predictor_corrector": Setting(
        converges=False,
        note="each correction has a bias of its size, snr^2, which more steps do not remove",
    ),
}


def setting(name: str) -> Setting:
    """The row of SETTINGS, or what all others take."""
    return SETTINGS.get(name, Setting())


SCHEDULES: dict[str, Callable[[], NoiseSchedule]] = {
    "linear": schedules.linear,
    "ve": partial(schedules.ve, sigma_min=0.05, sigma_max=12.0),  # from below the modes to beyond
}


def make_schedule(name: str) -> NoiseSchedule:
    """The schedule of that name in SCHEDULES."""
    return SCHEDULES[name]()


def grid(schedule: NoiseSchedule, steps: int, end: float) -> np.ndarray:
    """steps + 1 times, even in log-SNR from the noisiest to `end`."""
    start = max(schedule.log_snr(schedule.t_last), _NOISE)
    times = schedule.time(np.linspace(start, end, steps + 1))
    times[0] = schedule.t_last
    return times


def grid_to_data(schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """steps + 1 times, even in log-SNR to the least noisy level, then the data."""
    noisy = grid(schedule, max(1, steps - 1), schedule.log_snr(schedule.t_first))
    noisy[-1] = schedule.t_first  # not a rounding before it, from which a solver would step
    return np.append(noisy[:steps], schedule.t_clean)


def flow(
    data: GaussianMixture, x: np.ndarray, levels: tuple[float, float], tolerance: float
) -> np.ndarray:
    """y (N, D) carried along the probability flow between two values of log(sigma / alpha)."""
    return integrate(
        lambda u, y: y - data.denoise(y, 1.0, math.exp(u)), x, *levels, tolerance, tolerance, 10**6
    )[0]


def log_ratio(schedule: NoiseSchedule, t: float) -> float:
    """log(sigma / alpha)."""
    return -0.5 * float(schedule.log_snr(t))


def exact_flow(x: np.ndarray, schedule: NoiseSchedule, t: float, s: float) -> np.ndarray:
    """x (N, 2) float64 carried from time t to s on PLANE's flow, to 1e-12."""
    levels = log_ratio(schedule, t), log_ratio(schedule, s)
    return schedule.alpha(s) * flow(PLANE, x / schedule.alpha(t), levels, 1e-12)


def consistency_function(
    data: GaussianMixture, schedule: NoiseSchedule, tolerance: float
) -> Denoiser:
    """A Denoiser whose x_0 is the end of the path through x_t, as consistency models learn it."""

    def model(x: np.ndarray, t: float) -> np.ndarray:
        levels = log_ratio(schedule, t), math.log(_CLEAN)
        y = flow(data, x.astype(np.float64) / schedule.alpha(t), levels, tolerance)
        return data.denoise(y, 1.0, _CLEAN).astype(x.dtype)

    return Denoiser(model, schedule, "sample")
