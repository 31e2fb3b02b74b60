"""Dynamic thresholding of a predicted x_0, for `Denoiser(clip=...)`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import ConfigError


def dynamic(ratio: float = 0.995, max_value: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """x_0 -> x_0 clipped to [-s, s] and divided by s, s >= 1 the `ratio`-quantile of each image.

    Saharia et al. 2022, "Photorealistic Text-to-Image Diffusion Models with Deep Language
    Understanding" (Imagen), arXiv 2205.11487, section 2.3. max_value >= 1 bounds s, as diffusers'
    sample_max_value does: at its default of 1 this is plain clipping to [-1, 1]. 0 <= ratio <= 1.
    Raises ConfigError. x_0 (N, ...) of any dtype; the result has it too.
    """
    if not _is_number(ratio) or not 0.0 <= ratio <= 1.0:
        raise ConfigError(f"ratio = {ratio!r}; allowed: 0 .. 1")
    if not _is_number(max_value) or not max_value >= 1.0:
        raise ConfigError(f"max_value = {max_value!r}; allowed: >= 1")

    def threshold(x0: np.ndarray) -> np.ndarray:
        size = np.quantile(np.abs(x0).reshape(len(x0), -1), ratio, axis=1)
        s = size.clip(1.0, max_value).astype(x0.dtype).reshape((-1,) + (1,) * (x0.ndim - 1))
        return np.clip(x0, -s, s) / s

    return threshold


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
