"""Gaussian priors: what sampling starts from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import random
from ..errors import ConfigError, NonFiniteError, ShapeError


class GaussianPrior:
    """N(mean, diag(std^2)) or N(mean, covariance) over images of one shape.

    mean, std: a number, or an array of an image's shape (H, W, C); covariance: (D, D) over the D
    numbers of an image in C order, symmetric, positive semi-definite, in place of std. Computed in
    float64. Raises ConfigError, ShapeError and NonFiniteError. Immutable: threads may share it.
    """

    def __init__(self, mean: Any = 0.0, std: Any = None, covariance: Any = None) -> None:
        if (std is None) == (covariance is None):
            raise ConfigError("a prior takes either std or covariance")
        self.mean = _numbers("mean", mean)
        if covariance is None:
            self._axes = None
            self.std = _numbers("std", std)
            if not (self.std >= 0.0).all():
                raise ConfigError(f"std must be >= 0, got {self.std.min():g}")
        else:
            self._axes, self.std = _eigenbasis(_numbers("covariance", covariance))
        self._check_shapes()

    @property
    def covariance(self) -> np.ndarray:
        """(D, D); without it, where mean and std are numbers, (1, 1)."""
        if self._axes is not None:
            return (self._axes * self.std**2) @ self._axes.T
        return np.diag(
            np.broadcast_to(self.std, np.broadcast(self.mean, self.std).shape).ravel() ** 2
        )

    def sample(
        self,
        shape: Sequence[int],
        seed: int = 0,
        first_image: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> np.ndarray:
        """Draws of shape (N, ...), float32 or float64, from the stream that `sample` starts from.

        Keyed by (seed, image index, element): image i is the same alone (first_image = i) and in
        any batch.
        """
        shape = tuple(shape)
        self._check_image(shape)
        z = random.normal(seed, shape, stream="init", first_image=first_image, dtype=dtype)
        if self._axes is None:
            return np.asarray(self.mean + self.std * z, z.dtype)
        flat = (z.reshape(shape[0], -1) * self.std) @ self._axes.T
        return np.asarray(self.mean + flat.reshape(shape), z.dtype)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """log p(x) in nats, (N,) float64, for x (N, ...); ConfigError if a direction has std 0."""
        x = np.asarray(x, np.float64)
        self._check_image(x.shape)
        if not (self.std > 0.0).all():
            raise ConfigError("a prior without noise in some direction has no density")
        offset = x - self.mean
        if self._axes is not None:
            offset = offset.reshape(len(x), -1) @ self._axes
        scaled = (offset / self.std).reshape(len(x), -1)
        logs = np.broadcast_to(np.log(self.std), offset.shape[1:]).sum()
        return -0.5 * (scaled**2).sum(1) - logs - 0.5 * scaled.shape[1] * math.log(2.0 * math.pi)

    def diffused(self, alpha: float, sigma: float) -> GaussianPrior:
        """The distribution of alpha x + sigma eps, eps ~ N(0, I) independent of x."""
        result = object.__new__(GaussianPrior)
        result.mean, result._axes = alpha * self.mean, self._axes
        result.std = np.hypot(alpha * self.std, sigma)
        return result

    def _check_shapes(self) -> None:
        if self._axes is not None:
            if self.mean.ndim and self.mean.size != len(self.std):
                raise ShapeError(
                    f"mean has {self.mean.size} numbers, covariance {(len(self.std),) * 2}"
                )
        elif self.mean.ndim and self.std.ndim and self.mean.shape != self.std.shape:
            raise ShapeError(f"mean has shape {self.mean.shape}, std {self.std.shape}")

    def _check_image(self, shape: tuple[int, ...]) -> None:
        parts = [self.mean] if self._axes is not None else [self.mean, self.std]
        fits = all(part.ndim == 0 or part.shape == shape[1:] for part in parts)
        if self._axes is not None:
            fits = fits and math.prod(shape[1:]) == len(self.std)
        if not shape or not fits:
            wanted = next((part.shape for part in parts if part.ndim), self.std.shape)
            raise ShapeError(
                f"shape {shape} does not fit a prior over {wanted}: it must be (N, ...)"
            )


def _numbers(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{name} must hold real numbers, got {value!r:.80}")
    if not np.isfinite(array).all():
        raise NonFiniteError(f"{name} holds NaN or infinity")
    return array.astype(np.float64)


def _eigenbasis(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal axes as columns (D, D), and the standard deviations along them (D,)."""
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ShapeError(f"covariance has shape {covariance.shape}; it must be (D, D)")
    scale = np.abs(covariance).max(initial=0.0)
    if not np.allclose(covariance, covariance.T, rtol=0.0, atol=1e-6 * scale):
        raise ConfigError("covariance must be symmetric")
    values, axes = np.linalg.eigh(covariance)
    if values.min(initial=0.0) < -1e-6 * scale:
        raise ConfigError(f"covariance has the negative eigenvalue {values.min():g}")
    return axes, np.sqrt(np.maximum(values, 0.0))
