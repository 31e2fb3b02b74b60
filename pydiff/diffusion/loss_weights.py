"""Weights of the noise levels: (prediction, t, schedule) -> factors of each squared error, (N,).

A weight is a statement about the error of eps, or of x_0; the network's own error differs from them
by a factor that depends on what it predicts: the c_out of `parameterization`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .discrete_schedule import DiscreteSchedule
from .noise_schedule import NoiseSchedule
from .parameterization import PREDICTIONS, check_prediction
from .process import posterior


def min_snr_weights(
    prediction: str, t: Any, schedule: NoiseSchedule, gamma: float = 5.0
) -> np.ndarray:
    """Factors so that x_0's squared error weighs min(SNR, gamma).

    Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", section 3.4
    (arXiv 2303.09556). t a number or (N,); the result is float64 of the shape of t.
    """
    snr = _snr(schedule, t)
    with np.errstate(divide="ignore"):
        return np.minimum(1.0, gamma / snr) * _eps_factor(prediction, t, schedule)


def p2_weights(
    prediction: str, t: Any, schedule: NoiseSchedule, k: float = 1.0, gamma: float = 1.0
) -> np.ndarray:
    """Factors so that eps's squared error weighs 1 / (k + SNR)^gamma.

    Choi et al. 2022, "Perception Prioritized Training of Diffusion Models", eq. 7 (arXiv
    2204.00227). t a number or (N,).
    """
    return (k + _snr(schedule, t)) ** -gamma * _eps_factor(prediction, t, schedule)


def ncsn_weights(prediction: str, t: Any, schedule: NoiseSchedule) -> np.ndarray:
    """Factors so that the score's squared error weighs sigma^2, which is eps's error.

    Song & Ermon 2019, "Generative Modeling by Estimating Gradients of the Data Distribution", eq. 6
    (arXiv 1907.05600), without its 1/2, mean over elements. t a number or (N,).
    """
    return _eps_factor(prediction, t, schedule)


def edm_weights(
    prediction: str, t: Any, schedule: NoiseSchedule, sigma_data: float = 0.5
) -> np.ndarray:
    """Factors so that x_0's squared error weighs 1 / sigma_data^2 + SNR.

    That is lambda(sigma) of Karras et al. 2022 (arXiv 2206.00364, table 1), (sigma^2 +
    sigma_data^2) / (sigma sigma_data)^2 with sigma / alpha for its sigma. t a number or (N,).
    """
    in_x0 = _x0_factor(prediction, t, schedule)
    return _eps_factor(prediction, t, schedule) + in_x0 / sigma_data**2


def likelihood_weights(prediction: str, t: Any, schedule: NoiseSchedule) -> np.ndarray:
    """Factors under which the mean over uniform t is the variational bound in nats per dimension.

    x_0's squared error weighs T (SNR(t-1) - SNR(t)) / 2 on a discrete schedule (Kingma et al. 2021,
    arXiv 2107.00630, eq. 13; at t = 0 a Gaussian decoder with the variance of the next step), and
    its derivative, -(t_last - t_first) SNR'(t) / 2, on others (eq. 17): Song et al. 2021's
    g^2-weighted score matching (arXiv 2101.09258). Up to terms without the network. t (N,).
    """
    t = np.asarray(t)
    if not isinstance(schedule, DiscreteSchedule):
        span = schedule.t_last - schedule.t_first
        rate = np.square(schedule.diffusion(t) / schedule.sigma(t))  # -lambda'
        return 0.5 * span * rate * _eps_factor(prediction, t, schedule)
    decoder = np.divide(1.0, posterior(schedule, 0, 1).variance)
    before = np.where(t > 0, _snr(schedule, np.maximum(t - 1, 0)), 0.0)
    gained = np.where(t > 0, before - _snr(schedule, t), decoder)
    half = 0.5 * schedule.num_train_timesteps
    return half * gained * _x0_factor(prediction, t, schedule)


WEIGHTS: dict[str, Callable[[str, Any, NoiseSchedule], np.ndarray] | None] = {
    "simple": None,  # 1, whatever the network predicts
    "min_snr": min_snr_weights,
    "p2": p2_weights,
    "ncsn": ncsn_weights,
    "edm": edm_weights,
    "likelihood": likelihood_weights,
}


def _snr(schedule: NoiseSchedule, t: Any) -> np.ndarray:
    return np.exp(np.asarray(schedule.log_snr(t), np.float64))


def _eps_factor(prediction: str, t: Any, schedule: NoiseSchedule) -> np.ndarray:
    """eps's squared error over the output's."""
    alpha, sigma = _levels(t, schedule)
    factor = PREDICTIONS[check_prediction(prediction)].eps(alpha, sigma)[1]
    return np.square(factor) + 0.0 * alpha


def _x0_factor(prediction: str, t: Any, schedule: NoiseSchedule) -> np.ndarray:
    """x_0's squared error over the output's."""
    alpha, sigma = _levels(t, schedule)
    factor = PREDICTIONS[check_prediction(prediction)].x0(alpha, sigma)[1]
    return np.square(factor) + 0.0 * alpha


def _levels(t: Any, schedule: NoiseSchedule) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(schedule.alpha(t), np.float64), np.asarray(schedule.sigma(t), np.float64)
