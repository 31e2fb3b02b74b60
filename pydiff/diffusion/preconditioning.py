"""The preconditioning of EDM: a network that sees and predicts numbers of unit size at all levels.

Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models"
(arXiv 2206.00364), eq. 7 and the last column of table 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor
from ..checks import check_positive
from ..errors import ConfigError
from .denoiser import Denoiser
from .noise_schedule import NoiseSchedule, per_image

_LOG_SNR_LIMIT = 60.0  # c_noise stays finite at alpha = 0 and at sigma = 0


class Preconditioning(NamedTuple):
    """D(x_t) = c_skip x_t + c_out F(c_in x_t, c_noise); each a float, or float64 (N,)."""

    c_skip: Any
    c_out: Any
    c_in: Any
    c_noise: Any


def edm_preconditioning(
    alpha: Any, sigma: Any, log_snr: Any, sigma_data: float = 0.5
) -> Preconditioning:
    """The coefficients at x_t = alpha x_0 + sigma eps, for data of standard deviation sigma_data.

    Table 1 is for x_t / alpha = x_0 + (sigma / alpha) eps; alpha is multiplied in, so that nothing
    is infinite at alpha = 0. c_in makes the input, and c_skip and c_out the target of F, of unit
    variance (appendix B.6); c_noise = log(sigma / alpha) / 4.
    """
    size = np.sqrt(sigma * sigma + (alpha * sigma_data) ** 2)
    half = np.clip(log_snr, -_LOG_SNR_LIMIT, _LOG_SNR_LIMIT)
    coefficients = (
        alpha * sigma_data**2 / size**2,
        sigma * sigma_data / size,
        1.0 / size,
        -0.125 * half,
    )
    number = np.ndim(size) == 0
    return Preconditioning(*(float(c) if number else c for c in coefficients))


class Preconditioned:
    """A model of prediction type "sample" made of a raw network F(x, c_noise).

    network: callable (x, c_noise, **inputs) -> array or Tensor like x (N, ...); c_noise is a
        number where t is one, else (N,).
    schedule: any NoiseSchedule; EDM's own has alpha = 1 and sigma = t.
    sigma_data: the standard deviation of the data, > 0.

    It is called as model(x, t), t a number or (N,), by a Denoiser (`denoiser`), and in training by
    `Loss(prediction="sample", weight="edm", times="lognormal")`, which weighs F's error by 1.
    A Tensor stays one, with its gradient. Raises ConfigError for a bad sigma_data.
    """

    def __init__(
        self, network: Callable[..., Any], schedule: NoiseSchedule, sigma_data: float = 0.5
    ) -> None:
        if not callable(network):
            raise ConfigError(f"network must be callable, got {type(network).__name__}")
        self.network, self.schedule = network, schedule
        self.sigma_data = check_positive("sigma_data", sigma_data)

    def __call__(self, x: Any, t: Any, **inputs: Any) -> Any:
        """x_0 (N, ...) from x_t (N, ...) at t, in the dtype of x."""
        schedule = self.schedule
        c = edm_preconditioning(
            schedule.alpha(t), schedule.sigma(t), schedule.log_snr(t), self.sigma_data
        )
        like = x.data if isinstance(x, Tensor) else x
        skip, out, into = (per_image(value, like) for value in c[:3])
        output = self.network(x * into, c.c_noise, **inputs)
        if not isinstance(output, (Tensor, np.ndarray)) and hasattr(output, "numpy"):
            output = output.numpy()
        return output * out + x * skip

    def denoiser(self, clip: Any = None) -> Denoiser:
        """The Denoiser to sample with."""
        return Denoiser(self, self.schedule, "sample", clip)
