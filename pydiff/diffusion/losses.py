"""Training targets, loss weights and random times; the loss itself is built from ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import random
from ..errors import ConfigError, ShapeError
from .discrete_schedule import DiscreteSchedule
from .noise_schedule import NoiseSchedule, as_float
from .parameterization import check_prediction, target


def training_target(
    prediction: str, x0: np.ndarray, eps: np.ndarray, t: Any, schedule: NoiseSchedule
) -> np.ndarray:
    """What the network should return at x_t = schedule.add_noise(x0, eps, t).

    x0 and eps (N, ...) of one shape; t a number or (N,). The result is a new array of that shape
    and of the dtype of x0 (float64 stays, else float32). The mean squared error against it is
    L_simple of Ho et al. 2020, eq. 14, for prediction = "epsilon".
    """
    x0, eps = as_float(x0, "x0"), as_float(eps, "eps")
    if x0.shape != eps.shape:
        raise ShapeError(f"training_target: x0 has shape {x0.shape}, eps {eps.shape}")
    return target(prediction, x0, eps, schedule.alpha(t), schedule.sigma(t))


def training_times(
    schedule: DiscreteSchedule, seed: int, n: int, step: int = 0, first_image: int = 0
) -> np.ndarray:
    """(n,) int64 times, uniform over 0 .. T-1, keyed by (seed, step, image index)."""
    u = random.uniform(
        seed, (n, 1), step=step, stream="train_time", first_image=first_image, dtype=np.float64
    )
    length = schedule.num_train_timesteps
    return np.minimum((u[:, 0] * length).astype(np.int64), length - 1)


def min_snr_weights(
    prediction: str, t: Any, schedule: NoiseSchedule, gamma: float = 5.0
) -> np.ndarray:
    """Factors for the squared error of each image so that x_0's error weighs min(SNR, gamma).

    Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", section 3.4
    (arXiv 2303.09556). t a number or (N,); the result is float64 of the shape of t. The error of
    epsilon is SNR times that of x_0, the error of v is (SNR + 1) times it.
    """
    snr = np.exp(np.asarray(schedule.log_snr(t), np.float64))
    weight = np.minimum(snr, gamma)
    with np.errstate(divide="ignore", invalid="ignore"):
        if check_prediction(prediction) == "sample":
            return weight
        if prediction == "v_prediction":
            return weight / (snr + 1.0)
        if prediction == "epsilon":
            return np.where(snr > 0.0, weight / snr, 1.0)
    raise ConfigError(f"min-SNR weights are for epsilon, sample and v_prediction, not {prediction}")
