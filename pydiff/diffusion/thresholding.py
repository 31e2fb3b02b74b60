"""Dynamic thresholding of a predicted x_0, for `Denoiser(clip=...)`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..checks import check_number


def dynamic(ratio: float = 0.995, max_value: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """x_0 -> x_0 clipped to [-s, s] and divided by s, s >= 1 the `ratio`-quantile of each image.

    Saharia et al. 2022, "Photorealistic Text-to-Image Diffusion Models with Deep Language
    Understanding" (Imagen), arXiv 2205.11487, section 2.3. max_value >= 1 bounds s, as diffusers'
    sample_max_value does: at its default of 1 this is plain clipping to [-1, 1]. 0 <= ratio <= 1.
    Raises ConfigError. x_0 (N, ...) of any dtype; the result has it too.
    """
    ratio = check_number("ratio", ratio, high=1.0)
    max_value = check_number("max_value", max_value, low=1.0)

    def threshold(x0: np.ndarray) -> np.ndarray:
        size = np.quantile(np.abs(x0).reshape(len(x0), -1), ratio, axis=1)
        s = size.clip(1.0, max_value).astype(x0.dtype).reshape((-1,) + (1,) * (x0.ndim - 1))
        return np.clip(x0, -s, s) / s

    return threshold
