"""Log-likelihood by the change of density along the probability-flow ODE.

Song et al. 2021, "Score-Based Generative Modeling through SDEs" (arXiv 2011.13456), appendix D.2,
with the angle phi = atan2(sigma, alpha) as the time and u = x_t / r, r = hypot(alpha, sigma), as
the state, which makes every schedule variance preserving:

    du / dphi = cos(phi) eps - sin(phi) x_0 = (cos(phi) u - x_0) / sin(phi)
    log p(u at phi_0) = log p(u at phi_1) + integral of div(du / dphi) from phi_0 to phi_1
    div(du / dphi) = (D cos(phi) - r tr(d x_0 / d x_t)) / sin(phi)

It is finite at alpha = 0, and needs no drift and diffusion of the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import random
from ..checks import check_choice, check_count
from ..errors import ConfigError, NonFiniteError, ShapeError
from .denoiser import Denoiser, Pullback
from .noise_schedule import NoiseSchedule
from .runge_kutta import integrate
from .statistics import checked_images, standard_error

EXACT_UP_TO = 32  # dimensions whose trace is taken exactly by default
TRACES = ("auto", "exact", "rademacher", "gaussian")
JACOBIANS = ("auto", "vjp", "difference")


class LogLikelihood(NamedTuple):
    """log p(x_0) in nats, for each image.

    log_prob (N,): the mean over the probes; probe_error (N,): its standard error, 0 for the exact
    trace, NaN for a single probe. prior (N,): log p of `latents` (N, ...), the x at the end of the
    flow; the rest of log_prob is the change of volume. evaluations: of the field, for the batch.
    """

    log_prob: np.ndarray
    probe_error: np.ndarray
    prior: np.ndarray
    latents: np.ndarray
    evaluations: int

    @property
    def mean(self) -> float:
        """The mean over the images, nats."""
        return float(self.log_prob.mean())

    @property
    def standard_error(self) -> float:
        """Of `mean`, from the spread over images, which holds that of the probes; NaN if N = 1."""
        return float(standard_error(self.log_prob))

    @property
    def bits_per_dim(self) -> np.ndarray:
        """-log2 p per dimension (N,), of the density in the coordinates of x_0.

        See `likelihood.bits_per_dim` for images with levels.
        """
        return -self.log_prob / (math.prod(self.latents.shape[1:]) * math.log(2.0))


def ode_log_likelihood(
    denoiser: Denoiser,
    x0: np.ndarray,
    *,
    trace: str = "auto",
    probes: int = 1,
    jacobian: str = "auto",
    prior: Callable[[np.ndarray], np.ndarray] | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    seed: int = 0,
    difference: float = 1e-4,
    max_evaluations: int = 100_000,
) -> LogLikelihood:
    """log p(x0) of the model whose samples the probability-flow ODE draws.

    denoiser: on any schedule; its thresholding has no part (it has no density). x0 (N, ...): in
    its dtype the model is asked, the rest is float64. rtol, atol: of the ODE solver (Dormand-Prince
    5(4), one step size for the batch).

    What is computed is the density of x_0 + (sigma / alpha) eps at the first level `t_first` of
    the schedule: the noise below it is no part of the model, and neither is the shrinkage by alpha.

    trace: "exact", by D products with the Jacobian at each evaluation; "rademacher" or "gaussian":
    Hutchinson's estimate from that many `probes` per image, fixed along the flow and keyed by
    (seed, image, probe); "auto": exact up to 32 dimensions, else rademacher.
    jacobian: "vjp", by `denoiser.linearize`; "difference": central differences of the denoiser, of
    step `difference` sigma, for any callable: the default suits models that compute in float64,
    for float32 ones take 1e-2; "auto": vjp where it can be had.

    prior: log-density of the state at `t_last`, (N, ...) -> (N,), nats; by default that of
    N(0, prior_std^2 I), from which samples start. Where the schedule does not end in noise, data
    off the origin are less likely under it than under the true q(x_T).

    Raises ConfigError for unknown options and if max_evaluations do not suffice, NonFiniteError
    where x0 or the model is not finite.
    """
    x0 = checked_images(x0)
    products = _products(denoiser, x0, jacobian, difference)
    vectors, exact = _vectors(trace, probes, seed, x0)
    flow = _Flow(denoiser, products, vectors, exact, x0)
    phi_0, phi_1 = flow.angles()
    count, dimension = len(x0), math.prod(x0.shape[1:])
    state = np.zeros((count, dimension + (1 if exact else len(vectors))))
    state[:, :dimension] = math.cos(phi_0) * x0.reshape(count, -1)
    state, used = integrate(flow.field, state, phi_0, phi_1, rtol, atol, max_evaluations)
    u, change = state[:, :dimension], state[:, dimension:]
    schedule = denoiser.schedule
    scale = math.hypot(schedule.alpha(schedule.t_last), schedule.sigma(schedule.t_last))
    latents = (scale * u).reshape(x0.shape)
    start = _log_prior(latents, schedule, prior)
    volume = dimension * (math.log(scale) + math.log(math.cos(phi_0)))
    values = (start + volume)[:, None] + change
    error = np.zeros(count) if exact else standard_error(values, axis=1)
    return LogLikelihood(values.mean(1), error, start, latents, used)


def _log_prior(
    x: np.ndarray, schedule: NoiseSchedule, prior: Callable[[np.ndarray], np.ndarray] | None
) -> np.ndarray:
    prior = schedule.prior().log_density if prior is None else prior
    logs = np.asarray(prior(x), np.float64)
    if logs.shape != (len(x),):
        raise ShapeError(f"prior returned shape {logs.shape} for x of shape {x.shape}")
    return logs


Products = Callable[[np.ndarray, float], tuple[np.ndarray, Pullback]]


class _Flow(NamedTuple):
    """The ODE of (u, one integral of the divergence per probe)."""

    denoiser: Denoiser
    products: Products
    vectors: list[np.ndarray]
    exact: bool
    x0: np.ndarray

    def angles(self) -> tuple[float, float]:
        schedule = self.denoiser.schedule
        first, last = (
            math.atan2(schedule.sigma(t), schedule.alpha(t))
            for t in (schedule.t_first, schedule.t_last)
        )
        return first, last

    def field(self, phi: float, state: np.ndarray) -> np.ndarray:
        count, dimension = len(self.x0), math.prod(self.x0.shape[1:])
        schedule = self.denoiser.schedule
        t = time_of_angle(schedule, phi)
        scale = math.hypot(schedule.alpha(t), schedule.sigma(t))
        u, sin, cos = state[:, :dimension], math.sin(phi), math.cos(phi)
        x0, product = self.products((scale * u).reshape(self.x0.shape).astype(self.x0.dtype), t)
        traces = [(v * product(v)).reshape(count, -1).sum(1, np.float64) for v in self.vectors]
        # v . v is D for Rademacher probes, but only on average for Gaussian ones: its noise and
        # that of v . J v cancel where J is near a multiple of the identity
        sizes = [(v * v).reshape(count, -1).sum(1, np.float64) for v in self.vectors]
        if self.exact:
            traces, sizes = [sum(traces)], [sum(sizes)]
        slope = np.empty_like(state)
        slope[:, :dimension] = (cos * u - x0.reshape(count, -1)) / sin
        for i, (trace, size) in enumerate(zip(traces, sizes, strict=True)):
            slope[:, dimension + i] = (cos * size - scale * trace) / sin
        if not np.isfinite(slope).all():
            raise NonFiniteError(f"ode_log_likelihood: the model is not finite at t = {t:g}")
        return slope


def time_of_angle(schedule: NoiseSchedule, phi: float) -> float:
    """The time at which atan2(sigma, alpha) is phi, within the schedule."""
    first, last = schedule.log_snr(schedule.t_first), schedule.log_snr(schedule.t_last)
    log_snr = 2.0 * math.log(math.cos(phi) / math.sin(phi)) if phi < 0.5 * math.pi else -math.inf
    if log_snr <= last:
        return schedule.t_last
    return schedule.t_first if log_snr >= first else schedule.time(log_snr)


def _products(denoiser: Denoiser, x0: np.ndarray, jacobian: str, difference: float) -> Products:
    """(x, t) -> raw x_0 and v -> v^T J, or J v: the quadratic form v^T J v is the same."""
    check_choice("jacobian", jacobian, JACOBIANS)
    if not 0.0 < difference < 1.0:
        raise ConfigError(f"difference = {difference!r}; allowed: 0 < difference < 1")

    def linearized(x: np.ndarray, t: float) -> tuple[np.ndarray, Pullback]:
        prediction, pull = denoiser.linearize(x, t)
        return prediction.raw_x0, pull

    def differenced(x: np.ndarray, t: float) -> tuple[np.ndarray, Pullback]:
        schedule = denoiser.schedule
        h = difference * schedule.sigma(t)

        def product(v: np.ndarray) -> np.ndarray:
            ahead, behind = (denoiser.predict(x + s * v, t).raw_x0 for s in (h, -h))
            return (ahead - behind) / x.dtype.type(2.0 * h)

        return denoiser.predict(x, t).raw_x0, product

    if jacobian == "vjp" or (jacobian == "auto" and _differentiable(denoiser, x0)):
        return linearized
    return differenced


def _differentiable(denoiser: Denoiser, x0: np.ndarray) -> bool:
    try:
        denoiser.linearize(x0[:1], denoiser.schedule.t_first)
    except Exception:  # whatever a callable makes of a Tensor; its own faults show in `predict`
        return False
    return True


def _vectors(trace: str, probes: int, seed: int, x0: np.ndarray) -> tuple[list[np.ndarray], bool]:
    """What the Jacobian is multiplied with, and whether the products make up the exact trace."""
    check_choice("trace", trace, TRACES)
    check_count("probes", probes)
    dimension = math.prod(x0.shape[1:])
    if trace == "exact" or (trace == "auto" and dimension <= EXACT_UP_TO):
        axes = np.eye(dimension, dtype=x0.dtype).reshape(dimension, 1, *x0.shape[1:])
        return [np.broadcast_to(axis, x0.shape) for axis in axes], True
    drawn = [_normal(seed, i, x0) for i in range(probes)]
    return (drawn if trace == "gaussian" else [np.sign(v) for v in drawn]), False


def _normal(seed: int, probe: int, x0: np.ndarray) -> np.ndarray:
    return random.normal(seed, x0.shape, step=probe, stream="sampler", dtype=x0.dtype)
