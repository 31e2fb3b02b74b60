"""DPM-Solver-12 and -23: steps chosen by the difference of two orders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..checks import check_count, check_number, check_positive
from ..diffusion.parameterization import combine
from ..diffusion.prediction import Prediction
from ..diffusion.runge_kutta import check_budget, check_progress
from .base import Noise, Predictor, Step
from .euler_ancestral import Ancestral
from .levels import as_clean, level, level_at
from .moves import ancestral, implied_noise, level_before, move

_EARLIEST = -7.0  # lambda: from alpha = 0 to here, a step of Euler errs by exp(-14), 1e-6


class _State(NamedTuple):
    """h: the next step in lambda. inverse: 1 / error of the last two good attempts. lower: the last
    good result of the lower order, in the size of a variance preserving schedule. p: the prediction
    at x, after a bad attempt. evaluations: so far."""

    h: float
    inverse: tuple[float, ...] = ()
    lower: np.ndarray | None = None
    p: Prediction | None = None
    evaluations: int = 0


@dataclass(frozen=True)
class DPMAdaptive(Ancestral):
    """DPM-Solver of two orders on y = x / alpha; their difference sets the steps in lambda.

    solver_order: 2 or 3, of the better of the two, which is the one kept. An attempt is good if its
    error, the root mean square over the batch of the difference in units of
    max(atol, rtol |x|), lets the PID controller (pcoeff, icoeff, dcoeff) keep the step at
    accept_safety of its size. h_init: the first step. eta, s_noise: see Ancestral; without noise
    by default. Steps chosen for a batch make an image depend, within the tolerance, on the batch.
    max_evaluations: beyond them it is a ConfigError.
    Onto clean data it goes by x_0 from the least noisy level that the model sees.
    """

    eta: float = 0.0
    solver_order: int = 3
    rtol: float = 0.05
    atol: float = 0.0078
    h_init: float = 0.05
    pcoeff: float = 0.0
    icoeff: float = 1.0
    dcoeff: float = 0.0
    accept_safety: float = 0.81
    max_evaluations: int = 10_000

    name: ClassVar[str] = "dpm_adaptive"
    paper: ClassVar[str] = (
        "Lu et al. 2022, DPM-Solver, arXiv 2206.00927, appendix C and Algorithms 1, 2; PID control "
        "of Crowson 2022, k-diffusion, sample_dpm_adaptive"
    )
    adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("solver_order", self.solver_order, 2, 3)
        for name in ("rtol", "atol", "h_init"):
            check_positive(name, getattr(self, name))
        for name in ("pcoeff", "icoeff", "dcoeff"):
            check_number(name, getattr(self, name), -math.inf)
        check_number("accept_safety", self.accept_safety, high=1.0)
        check_count("max_evaluations", self.max_evaluations)

    @property
    def order(self) -> int:
        """That of the better solver."""
        return self.solver_order

    @property
    def evaluations(self) -> int:
        """As many as the order."""
        return self.solver_order

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """One attempt; if its error is too large, x stays and the next one is shorter."""
        schedule = denoiser.schedule
        state = _State(self.h_init) if state is None else state
        start, last = level(schedule, t), level_before(schedule, t_next)
        p = denoiser.predict(x, t) if state.p is None else state.p
        if as_clean(start, last):  # as noisy as the last level: x_0 is next
            return Step(p.mix(schedule.alpha(t_next), 0.0), p, state)
        if start.alpha == 0.0:
            early = last if last.half_log_snr <= _EARLIEST else level_at(schedule, _EARLIEST)
            return Step(move(p, early.alpha, early.sigma), p, state, early.t)
        used = state.evaluations + self.solver_order
        check_budget(used, self.max_evaluations, t)
        check_progress(start.half_log_snr, state.h)
        half = start.half_log_snr + state.h
        end = level_at(schedule, half) if half < last.half_log_snr else last
        lowest = end.alpha * last.ratio  # the ancestral step down goes no lower than the run
        down = math.log(end.alpha / max(ancestral(start, end, self.eta)[0], lowest))
        y = combine((1.0 / start.alpha,), (x,))
        low, high = self._both(denoiser, y, implied_noise(p), start.half_log_snr, down)
        shrink = 1.0 / math.hypot(1.0, end.ratio)
        before = combine((1.0 / math.hypot(1.0, start.ratio),), (y,))
        good, after = self._judge(
            state, before, combine((shrink,), (low,)), combine((shrink,), (high,))
        )
        after = after._replace(evaluations=used)
        if not good:
            return Step(x, p, after._replace(p=p), t)
        up = end.alpha * math.sqrt(max(end.ratio**2 - math.exp(-2.0 * down), 0.0))
        factors, arrays = zip((end.alpha, high), *self.fresh(up, noise), strict=True)
        return Step(combine(factors, arrays), p, after, end.t)

    def _both(
        self, denoiser: Predictor, y: np.ndarray, eps: np.ndarray, start: float, end: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """y at lambda = end by the two solvers (DPM-Solver-1 and -2, or -2 and -3)."""

        def turn(y: np.ndarray, half_log_snr: float) -> np.ndarray:
            """How far the noise at y is from that at the start."""
            at = level_at(denoiser.schedule, half_log_snr)
            p = denoiser.predict(combine((at.alpha,), (y,)), at.t)
            return combine((1.0, -1.0), (implied_noise(p), eps))

        def fall(share: float) -> float:
            """The fall of sigma / alpha over the first part of the step."""
            return math.exp(-start) - math.exp(-start - share * h)

        h = end - start
        r1 = 1.0 / self.solver_order
        first = turn(combine((1.0, -fall(r1)), (y, eps)), start + r1 * h)
        lower = combine((1.0, -fall(1.0)), (y, eps))
        second = combine((1.0, -fall(1.0) / (2.0 * r1)), (lower, first))
        if self.solver_order == 2:
            return lower, second
        r2 = 2.0 / 3.0
        bend = (fall(r2) / (r2 * h) - math.exp(-start - r2 * h)) * r2 / r1
        inner = combine((1.0, -fall(r2), -bend), (y, eps, first))
        bend = (fall(1.0) / h - math.exp(-end)) / r2
        return second, combine((1.0, -bend), (lower, turn(inner, start + r2 * h)))

    def _judge(
        self, state: _State, before: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> tuple[bool, _State]:
        """Whether the attempt is good, and the state after it (k-diffusion's PID controller).

        The states come in the size that they have on a variance preserving schedule, as in the
        paper. In k-diffusion's own size they shrink with sigma, and a tolerance relative to where a
        step began lets the first ones jump over the data.
        """
        before = before if state.lower is None else state.lower
        scale = np.maximum(self.atol, self.rtol * np.maximum(np.abs(low), np.abs(before)))
        error = math.sqrt(float(np.mean(np.square((low - high) / scale, dtype=np.float64))))
        inverse = 1.0 / (min(error, 1e12) + 1e-8) if math.isfinite(error) else 1e-12
        past = state.inverse or (inverse, inverse)
        powers = (
            self.pcoeff + self.icoeff + self.dcoeff,
            -(self.pcoeff + 2.0 * self.dcoeff),
            self.dcoeff,
        )
        order = 1.5 if self.eta else self.solver_order
        pairs = zip((inverse, *past), powers, strict=True)
        factor = math.prod(base ** (power / order) for base, power in pairs)
        factor = 1.0 + math.atan(factor - 1.0)
        h = state.h * factor
        if factor < self.accept_safety:
            return False, state._replace(h=h)
        return True, _State(h, (inverse, past[0]), low)
