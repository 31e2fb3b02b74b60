"""The variational bound of Ho et al. 2020 (arXiv 2006.11239, eq. 5), term by term.

-log p(x_0) <= L_T + sum_t L_t + L_0, with L_T = KL(q(x_T | x_0) || p(x_T)), the prior,
L_t = KL(q(x_s | x_t, x_0) || p(x_s | x_t)) for the times s < t of a chain, and
L_0 = -log p(x_0 | x_first), the decoder. The formulas are ops, so that they can be evaluated and
trained (Nichol & Dhariwal 2021, arXiv 2102.09672, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops, random
from ..autograd import Tensor, no_grad
from ..checks import check_count
from ..errors import ConfigError
from .denoiser import Denoiser
from .discrete_schedule import DiscreteSchedule
from .noise_schedule import NoiseSchedule, per_image
from .process import posterior, transition
from .statistics import check_bins, checked_images, standard_error
from .variance import check_variance, given_variance, interpolate

DECODERS = ("discretized", "gaussian")


class Chain(NamedTuple):
    """The reverse steps of a chain of n times; each array is (n,) float64, index 0 the decoder.

    The mean of q(x_s | x_t, x_0) is from_x x_t + from_x0 x_0; log_small is its log-variance, at
    index 0, where that is 0, the one of index 1; log_large is that of q(x_t | x_s).
    """

    times: list[Any]
    from_x: np.ndarray
    from_x0: np.ndarray
    log_small: np.ndarray
    log_large: np.ndarray


def chain(schedule: NoiseSchedule, times: Sequence[Any] | None = None) -> Chain:
    """The chain over increasing times, by default all of a discrete schedule.

    Raises ConfigError unless there are two or more of them, increasing, after the clean data.
    """
    if times is None:
        if not isinstance(schedule, DiscreteSchedule):
            raise ConfigError("this schedule is continuous: give the times of the chain")
        times = range(schedule.num_train_timesteps)
    ends = list(times)
    starts = [schedule.t_clean, *ends[:-1]]
    if len(ends) < 2 or any(not s < t for s, t in zip(starts, ends, strict=True)):
        raise ConfigError("times must be two or more, increasing, after the clean data")
    back = [posterior(schedule, s, t) for s, t in zip(starts, ends, strict=True)]
    small = np.array([step.variance for step in back])
    small[0] = small[1]
    steps = zip(starts, ends, strict=True)
    large = np.array([transition(schedule, s, t).variance for s, t in steps])
    return Chain(
        ends,
        np.array([step.from_x for step in back]),
        np.array([step.from_x0 for step in back]),
        np.log(small),
        np.log(large),
    )


def model_log_variance(kind: str, steps: Chain, index: Any, like: Any, learned: Any) -> Any:
    """log-variance of p(x_s | x_t) at steps `index`, a number or (N,) with one for each image.

    learned: what the network gave, an array or a Tensor (N, ...); like: x_t (N, ...). The result is
    an array or a Tensor that broadcasts against x_t. fixed_large takes log_small in the decoder, as
    Nichol & Dhariwal do.
    """
    small, large = steps.log_small[index], steps.log_large[index]
    if kind == "fixed_small":
        return _spread(small, like)
    if kind == "fixed_large":
        return _spread(np.where(np.equal(index, 0), small, large), like)
    if kind == "learned":
        return ops.log(given_variance(kind, learned))
    return interpolate(given_variance(kind, learned), _spread(small, like), _spread(large, like))


def _spread(values: Any, like: Any) -> np.ndarray:
    """A number or (N,) as an array of the dtype of `like` (N, ...) that broadcasts against it."""
    return per_image(np.atleast_1d(values), like)


def step_bits(x0: Any, x0_hat: Any, log_p: Any, steps: Chain, index: Any) -> Tensor:
    """KL(q(x_s | x_t, x_0) || p(x_s | x_t)), bits per dimension: (N,); see `chain` for index > 0.

    x0 and x0_hat (N, ...): the truth and what the model says; log_p: `model_log_variance`.
    """
    gap = ops.subtract(_spread(steps.log_small[index], x0), log_p)
    distance = ops.subtract(x0, x0_hat) * _spread(steps.from_x0[index], x0)
    precision = ops.exp(ops.negative(log_p))
    nats = (ops.exp(gap) - gap - 1.0 + ops.square(distance) * precision) * 0.5
    return _bits(ops.broadcast_to(nats, x0.shape))


def decoder_bits(x0: Any, x0_hat: Any, log_p: Any, decoder: str, bins: int = 256) -> Tensor:
    """-log p(x_0 | x_first) in bits per dimension, (N,), for p = N(x0_hat, exp(log_p)).

    gaussian: its density. discretized: the mass that it puts into the cell of x_0, one of `bins`
    even levels in [-1, 1] whose first and last cell reach to infinity (Ho et al. 2020, eq. 13).
    """
    offset = ops.subtract(x0, x0_hat)
    if decoder == "gaussian":
        precision = ops.exp(ops.negative(log_p))
        nats = (ops.square(offset) * precision + log_p + math.log(2.0 * math.pi)) * 0.5
        return _bits(ops.broadcast_to(nats, x0.shape))
    half = 1.0 / (bins - 1)
    scale = ops.exp(ops.multiply(log_p, -0.5))
    upper, lower = _half_logit((offset + half) * scale), _half_logit((offset - half) * scale)
    lowest, highest = (edge.astype(x0.dtype) for edge in (x0 < half - 1.0, x0 > 1.0 - half))
    first, last = _softplus(upper * -2.0) * lowest, _softplus(lower * 2.0) * highest
    return _bits(_log_mass(upper, lower) * (lowest + highest - 1.0) + first + last)


def _half_logit(z: Tensor) -> Tensor:
    """c with Phi(z) = (1 + tanh c) / 2 to 2e-4 (Page 1977), the form of Nichol & Dhariwal's code.

    It is a distribution function itself, so the masses of the cells still add up to 1.
    """
    return (z + ops.square(z) * z * 0.044715) * math.sqrt(2.0 / math.pi)


def _log_mass(upper: Tensor, lower: Tensor) -> Tensor:
    """log((tanh u - tanh l) / 2) = log(sinh(u - l) / (2 cosh u cosh l)): no difference is lost."""
    gap = upper - lower
    log_sinh = gap + ops.log(ops.exp(gap * -2.0) * -1.0 + 1.0)
    # log cosh c = softplus(2c) - c - log 2, and log 2 cancels but for one of sinh and one of 1/2
    log_cosh = _softplus(upper * 2.0) - upper + _softplus(lower * 2.0) - lower
    return log_sinh - log_cosh


def _softplus(z: Tensor) -> Tensor:
    """log(1 + exp z)."""
    magnitude = ops.relu(z) + ops.relu(-z)
    return ops.relu(z) + ops.log(ops.exp(-magnitude) + 1.0)


def _bits(nats: Tensor) -> Tensor:
    return ops.mean(nats, axis=tuple(range(1, nats.ndim))) * (1.0 / math.log(2.0))


class VariationalBound(NamedTuple):
    """An upper bound of -log2 p(x_0) per dimension, for each image, and its parts.

    total (N,) = prior (N,) + the sum of terms (N, n) over the n times of the chain; column 0 is the
    decoder. draw_error (N,): the standard error of `total` from the draws of noise; NaN for a
    single draw. times: those of the chain.
    """

    total: np.ndarray
    prior: np.ndarray
    terms: np.ndarray
    draw_error: np.ndarray
    times: list[Any]

    @property
    def mean(self) -> float:
        """The mean of `total` over the images, bits per dimension."""
        return float(self.total.mean())

    @property
    def standard_error(self) -> float:
        """Of `mean`, from the spread over images, which holds that of the draws; NaN if N = 1."""
        return float(standard_error(self.total))


@no_grad()
def vlb(
    denoiser: Denoiser,
    x0: np.ndarray,
    *,
    variance: str = "fixed_small",
    decoder: str = "discretized",
    times: Sequence[Any] | None = None,
    draws: int = 1,
    bins: int = 256,
    seed: int = 0,
) -> VariationalBound:
    """The variational bound of -log2 p(x0) per dimension (Ho et al. 2020, eq. 5).

    denoiser: its x_0 after thresholding sets the means. x0 (N, ...) float32 or float64.
    variance: of the reverse steps: fixed_small, fixed_large, learned or learned_range (see
    `variance.reverse_std`). decoder: "discretized", the probability of images of `bins` levels in
    [-1, 1]; "gaussian", a density, for other data (bits can then be negative).
    times: the increasing times of the chain; by default all of a discrete schedule. One evaluation
    for each time and draw. draws: of x_t for each term, keyed by (seed, image, time).

    Raises ConfigError for unknown options and a learned variance that the model does not give.
    """
    x0 = checked_images(x0)
    check_variance(variance)
    if decoder not in DECODERS:
        raise ConfigError(f"decoder = {decoder!r}; allowed: {', '.join(DECODERS)}")
    draws, bins = check_count("draws", draws), check_bins(bins)
    steps, exact = chain(denoiser.schedule, times), x0.astype(np.float64)
    terms = np.empty((draws, len(x0), len(steps.times)))
    for draw in range(draws):
        for i, t in enumerate(steps.times):
            key = draw * len(steps.times) + i
            eps = random.normal(seed, x0.shape, step=key, stream="sampler", dtype=x0.dtype)
            p = denoiser.predict(denoiser.schedule.add_noise(x0, eps, t), t)
            learned = None if p.variance is None else p.variance.astype(np.float64)
            log_p = model_log_variance(variance, steps, i, exact, learned)
            if i:
                bits = step_bits(exact, p.x0.astype(np.float64), log_p, steps, i)
            else:
                bits = decoder_bits(exact, p.x0.astype(np.float64), log_p, decoder, bins)
            terms[draw, :, i] = bits.data
    prior = prior_bits(x0, denoiser.schedule, steps.times[-1])
    totals = prior + terms.sum(2)
    return VariationalBound(
        totals.mean(0), prior, terms.mean(0), standard_error(totals), steps.times
    )


def prior_bits(x0: np.ndarray, schedule: NoiseSchedule, t: Any) -> np.ndarray:
    """KL(q(x_t | x_0) || N(0, prior_std^2 I)), bits per dimension: (N,) float64."""
    ratio = (schedule.sigma(t) / schedule.prior_std) ** 2
    means = (schedule.alpha(t) / schedule.prior_std * x0.astype(np.float64)).reshape(len(x0), -1)
    return 0.5 * (ratio - 1.0 - math.log(ratio) + (means**2).mean(1)) / math.log(2.0)
