"""Images from images: SDEdit, editing by DDIM inversion, interpolation of latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from ..checks import is_number
from ..diffusion.noise_schedule import as_float
from ..errors import ConfigError, ShapeError
from .base import Predictor, Sampler
from .grids import Spacing, make_grid
from .loop import sample


def image_to_image(
    denoiser: Predictor,
    image: np.ndarray,
    strength: float = 0.5,
    sampler: str | Sampler = "ddim",
    steps: int = 50,
    spacing: str | Spacing | None = None,
    grid: Sequence[float] | np.ndarray | None = None,
    seed: int = 0,
    eps: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """SDEdit: noise the image up to an intermediate time, and sample on from there.

    Meng et al. 2022, "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential
    Equations", arXiv 2108.01073, Algorithm 1.

    image: (N, ...), x_0; float64 stays, anything else becomes float32.
    strength: in (0, 1]: the last int(strength * steps) steps of the grid are made, as in diffusers.
        Small values keep the image, 1 starts at the noisiest time of the grid.
    eps: like image, the noise to add; by default drawn from seed, as `sample` draws its start.
    The rest, and `options`, go to `sample`. Raises ConfigError where no step is left.
    """
    x0 = as_float(image, "image")
    times = _shortened(denoiser, strength, steps, spacing, grid)
    if eps is None:
        first = options.get("first_image", 0)
        eps = random.normal(seed, x0.shape, stream="init", first_image=first, dtype=x0.dtype)
    x = denoiser.schedule.add_noise(x0, eps, times[0])
    return sample(denoiser, x_init=x, sampler=sampler, grid=times, seed=seed, **options)


def edit(
    source: Predictor,
    target: Predictor,
    image: np.ndarray,
    strength: float = 1.0,
    inverse: str | Sampler = "ddim_inverse",
    sampler: str | Sampler = "ddim",
    steps: int = 50,
    spacing: str | Spacing | None = None,
    grid: Sequence[float] | np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """The image carried to noise by one denoiser and back by another: what both share is kept.

    Deterministic inversion (Song, Meng, Ermon 2021, DDIM, arXiv 2010.02502, section 4.3) under the
    source, such as the condition that describes the image, then sampling under the target.

    image: (N, ...), x_0. strength: as in `image_to_image`, how far up the grid to go.
    inverse: a sampler that walks from data to noise; `DDIMInverse(iterations=5)` comes back closer.
    options: go to the run of `sample` under the target.
    """
    times = _shortened(source, strength, steps, spacing, grid)
    latent = sample(source, x_init=as_float(image, "image"), sampler=inverse, grid=times)
    return sample(target, x_init=latent, sampler=sampler, grid=times, **options)


def slerp(a: np.ndarray, b: np.ndarray, weight: Any) -> np.ndarray:
    """Spherical interpolation, image by image: a at weight 0, b at weight 1.

    Between two draws of noise this keeps the length that noise has, where the straight line is too
    short (Shoemake 1985; Song, Meng, Ermon 2021, arXiv 2010.02502, appendix D.5). The angle is that
    of the two arrays; where they are parallel the line is straight.

    a, b: (N, ...) of one shape, float32 or float64; weight: a number, or (N,), any finite value.
    Raises ShapeError and ConfigError.
    """
    a, b = as_float(a, "a"), as_float(b, "b")
    weights = np.asarray(weight, np.float64)
    if a.shape != b.shape or a.ndim == 0 or weights.shape not in ((), (len(a),)):
        raise ShapeError(f"slerp: a has shape {a.shape}, b {b.shape}, weight {weights.shape}")
    if not np.isfinite(weights).all():
        raise ConfigError(f"weight = {weight}; allowed: finite numbers")
    flat = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    lengths = np.linalg.norm(flat[0], axis=1) * np.linalg.norm(flat[1], axis=1)
    products = (flat[0] * flat[1]).sum(1)
    cosine = np.divide(products, lengths, out=np.ones_like(lengths), where=lengths > 0.0)
    angle = np.arccos(cosine.clip(-1.0, 1.0))
    sine = np.sin(angle)
    curved = sine > 1e-6
    share = [
        np.where(curved, np.sin(w * angle) / np.where(curved, sine, 1.0), w)
        for w in (1.0 - weights, weights)
    ]
    mixed = share[0][:, None] * flat[0] + share[1][:, None] * flat[1]
    return mixed.reshape(a.shape).astype(a.dtype)


def _shortened(
    denoiser: Predictor,
    strength: float,
    steps: int,
    spacing: str | Spacing | None,
    grid: Sequence[float] | np.ndarray | None,
) -> list[Any]:
    """The last part of the grid."""
    if not is_number(strength) or not 0.0 < strength <= 1.0:
        raise ConfigError(f"strength = {strength!r}; allowed: a number in (0, 1]")
    times = make_grid(denoiser.schedule, steps, spacing, grid)
    kept = math.floor(strength * (len(times) - 1))
    if kept < 1:
        raise ConfigError(
            f"strength = {strength} leaves none of the {len(times) - 1} steps; raise one of them"
        )
    return times[-kept - 1 :]
