"""Thresholds of the predicted x_0 that look at each image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import ConfigError


def dynamic(ratio: float = 0.995, max_value: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """Dynamic thresholding: x_0 clipped to [-s, s] and divided by s, for `Denoiser(clip=...)`.

    s is the `ratio` quantile of |x_0| of each image of (N, ...), but at least 1 and at most
    max_value: images whose values go beyond 1 are scaled back in place of being cut off (Saharia et
    al. 2022, Imagen, arXiv 2205.11487, section 2.3; `dynamic_thresholding_ratio` and
    `sample_max_value` of diffusers). The dtype is kept. Raises ConfigError unless 0 <= ratio <= 1
    and max_value > 0.
    """
    if not 0.0 <= ratio <= 1.0:
        raise ConfigError(f"ratio = {ratio!r}; allowed: 0 to 1")
    if not 0.0 < max_value < np.inf:
        raise ConfigError(f"max_value = {max_value!r}; allowed: a number > 0")

    def threshold(x0: np.ndarray) -> np.ndarray:
        rows = x0.reshape(len(x0), -1)
        s = np.quantile(np.abs(rows), ratio, axis=1, keepdims=True)
        s = np.minimum(np.maximum(s, 1.0), max_value).astype(x0.dtype)
        return (np.clip(rows, -s, s) / s).reshape(x0.shape)

    return threshold
