"""Linear observations y = A x: masks, pooling, channel means, blurs, matrices.

An operator acts on batches: x (N, ...) and y (N, ...), float32 or float64, which stays. It knows
its transpose exactly, and how to solve with A A^T, which gives its pseudo-inverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import check_count, is_integer
from ..errors import ConfigError, NonFiniteError, ShapeError
from .noise_schedule import as_float

# Frequencies that a blur damps more than this, relative to the best, count as not observed.
_CUTOFF = 1e-4


class Operator:
    """Base of the operators. Subclasses give apply, transpose and, where it is cheap, solve."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        """A x for x (N, ...). Raises ShapeError where x does not fit."""
        raise NotImplementedError

    def transpose(self, y: np.ndarray) -> np.ndarray:
        """A^T y for y (N, ...) as `apply` returns it."""
        raise NotImplementedError

    def solve(self, y: np.ndarray, a: float, b: float) -> np.ndarray:
        """(a A A^T + b I)^-1 y for a > 0, b >= 0; the pseudo-inverse where that is singular.

        By conjugate gradients; operators whose A A^T is known in closed form do it directly.
        """
        return conjugate_gradients(
            lambda v: a * self.apply(self.transpose(v)) + b * v, y, iterations=500, tolerance=1e-9
        )

    def pseudo_inverse(self, y: np.ndarray) -> np.ndarray:
        """A^+ y, the smallest x with A x = y."""
        return self.transpose(self.solve(y, 1.0, 0.0))

    def impose(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The x nearest to the given one with A x = y: x + A^+ (y - A x)."""
        return x + self.pseudo_inverse(y - self.apply(x))

    def observed(self, y: Any) -> np.ndarray:
        """y as a finite float array; NonFiniteError otherwise."""
        array = as_float(y, "y")
        if not np.isfinite(array).all():
            raise NonFiniteError("the observation y holds NaN or infinity")
        return array

    def matrix(self, shape: tuple[int, ...]) -> np.ndarray:
        """A as (M, D) float64 for x of this shape without the batch, D numbers: for small sizes."""
        size = math.prod(shape)
        columns = self.apply(np.eye(size).reshape(size, *shape))
        return columns.reshape(size, -1).T


class Mask(Operator):
    """Inpainting and missing data: the elements where mask is True are observed.

    mask: bool, broadcast against one x without its batch: (H, W, 1), (H, W, C), (D,). y has the
    shape of x; what it holds elsewhere is not read, so missing data may be NaN there.
    """

    def __init__(self, mask: Any) -> None:
        self.mask = np.asarray(mask)
        if self.mask.dtype != bool or self.mask.ndim == 0:
            raise ConfigError(f"mask must be an array of bool, got {self.mask.dtype}")

    def apply(self, x: np.ndarray) -> np.ndarray:
        """x where observed, 0 elsewhere."""
        try:
            fits = np.broadcast_shapes(self.mask.shape, x.shape[1:]) == x.shape[1:]
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"mask of shape {self.mask.shape} does not fit x of shape {x.shape}")
        return np.where(self.mask, x, np.zeros((), x.dtype))

    def transpose(self, y: np.ndarray) -> np.ndarray:
        """y where observed, 0 elsewhere."""
        return self.apply(y)

    def solve(self, y: np.ndarray, a: float, b: float) -> np.ndarray:
        """y / (a + b) where observed, 0 elsewhere."""
        return self.apply(y) / (a + b)

    def impose(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """y where observed, bit for bit, and x elsewhere."""
        self.apply(x)
        return np.where(self.mask, y.astype(x.dtype, copy=False), x)

    def observed(self, y: Any) -> np.ndarray:
        """y with 0 where nothing was observed."""
        return super().observed(self.apply(as_float(y, "y")))


class AveragePool(Operator):
    """Super-resolution: means over blocks of factor x factor pixels, x (N, H, W, C)."""

    def __init__(self, factor: int) -> None:
        self.factor = check_count("factor", factor)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """(N, H / factor, W / factor, C)."""
        f = self.factor
        if x.ndim != 4 or x.shape[1] % f or x.shape[2] % f:
            raise ShapeError(
                f"x has shape {x.shape}; needed (N, H, W, C), H and W multiples of {f}"
            )
        n, h, w, c = x.shape
        return x.reshape(n, h // f, f, w // f, f, c).mean(axis=(2, 4), dtype=x.dtype)

    def transpose(self, y: np.ndarray) -> np.ndarray:
        """Each value spread over its block, by 1 / factor^2."""
        return (y / self.factor**2).repeat(self.factor, axis=1).repeat(self.factor, axis=2)

    def solve(self, y: np.ndarray, a: float, b: float) -> np.ndarray:
        """A A^T = I / factor^2."""
        return y / (a / self.factor**2 + b)


class ChannelMean(Operator):
    """Colourisation: a weighted sum of the channels, (N, ..., C) -> (N, ..., 1).

    weights: one per channel; an integer C means 1 / C each. (Rec. 601 luma: 0.299, 0.587, 0.114.)
    """

    def __init__(self, weights: Any = 3) -> None:
        if is_integer(weights) and weights > 0:
            weights = np.full(weights, 1.0 / weights)
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1 or not np.isfinite(self.weights).all() or not self.weights.any():
            raise ConfigError(f"weights = {weights!r}; allowed: C finite numbers, not all 0")

    def apply(self, x: np.ndarray) -> np.ndarray:
        """(N, ..., 1)."""
        if x.shape[-1] != len(self.weights):
            raise ShapeError(
                f"x has shape {x.shape}; there are {len(self.weights)} channel weights"
            )
        return (x @ self.weights.astype(x.dtype))[..., None]

    def transpose(self, y: np.ndarray) -> np.ndarray:
        """Each value times the weights."""
        return y * self.weights.astype(y.dtype)

    def solve(self, y: np.ndarray, a: float, b: float) -> np.ndarray:
        """A A^T = |weights|^2 I."""
        return y / (a * float(self.weights @ self.weights) + b)


class Blur(Operator):
    """Deblurring: each channel correlated with a kernel, x (N, H, W, C) -> the same shape.

    y[i, j] = sum_uv kernel[u, v] x[i + u - kh // 2, j + v - kw // 2]. kernel (kh, kw), odd sizes.
    boundary: "circular", solved by Fourier transforms, or "zero" outside, solved iteratively.
    """

    def __init__(self, kernel: Any, boundary: str = "circular") -> None:
        self.kernel = np.asarray(kernel, np.float64)
        odd = self.kernel.ndim == 2 and all(n % 2 for n in self.kernel.shape)
        if not odd or not np.isfinite(self.kernel).all() or not self.kernel.any():
            raise ConfigError(f"kernel has shape {self.kernel.shape}; needed (odd, odd), not all 0")
        if boundary not in ("circular", "zero"):
            raise ConfigError(f"boundary = {boundary!r}; allowed: circular, zero")
        self.boundary = boundary

    def apply(self, x: np.ndarray) -> np.ndarray:
        """The blurred x."""
        return self._correlate(x, self.kernel)

    def transpose(self, y: np.ndarray) -> np.ndarray:
        """Correlation with the kernel turned by half a circle."""
        return self._correlate(y, self.kernel[::-1, ::-1])

    def solve(self, y: np.ndarray, a: float, b: float) -> np.ndarray:
        """Circular: A A^T is diagonal in frequencies, |K|^2."""
        if self.boundary == "zero":
            return super().solve(y, a, b)
        delta = np.zeros((1, *y.shape[1:3], 1))
        delta[0, 0, 0, 0] = 1.0
        power = np.abs(np.fft.rfft2(self.apply(delta), axes=(1, 2))) ** 2
        power[power < _CUTOFF**2 * power.max()] = 0.0
        denominator = a * power + b
        gain = np.divide(1.0, denominator, out=np.zeros_like(power), where=denominator > 0.0)
        frequencies = np.fft.rfft2(y, axes=(1, 2)) * gain
        return np.fft.irfft2(frequencies, s=y.shape[1:3], axes=(1, 2)).astype(y.dtype)

    def _correlate(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        if x.ndim != 4 or x.shape[1] < kernel.shape[0] or x.shape[2] < kernel.shape[1]:
            raise ShapeError(
                f"x has shape {x.shape}; needed (N, H, W, C), at least as large as the kernel "
                f"{kernel.shape}"
            )
        up, left = kernel.shape[0] // 2, kernel.shape[1] // 2
        mode: Any = "wrap" if self.boundary == "circular" else "constant"
        padded = np.pad(x, ((0, 0), (up, up), (left, left), (0, 0)), mode)
        total = np.zeros_like(x)
        for (u, v), weight in np.ndenumerate(kernel):
            if weight:
                total += x.dtype.type(weight) * padded[:, u : u + x.shape[1], v : v + x.shape[2]]
        return total


class Matrix(Operator):
    """Any A given as a matrix: x (N, ...) with D numbers each -> y (N, M).

    a: (M, D). shape: of one x without its batch, D numbers; by default (D,).
    """

    def __init__(self, a: Any, shape: tuple[int, ...] | None = None) -> None:
        self.a = np.asarray(a, np.float64)
        if self.a.ndim != 2 or not np.isfinite(self.a).all():
            raise ConfigError(f"a must be a finite matrix (M, D), got shape {self.a.shape}")
        self.shape = (self.a.shape[1],) if shape is None else tuple(shape)
        if math.prod(self.shape) != self.a.shape[1]:
            raise ShapeError(f"a has shape {self.a.shape}, which does not fit x of {self.shape}")
        values, self._axes = np.linalg.eigh(self.a @ self.a.T)
        self._values = np.where(values > 1e-12 * values.max(initial=0.0), values, 0.0)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """(N, M)."""
        if x.shape[1:] != self.shape:
            raise ShapeError(f"x has shape {x.shape}; needed (N, *{self.shape})")
        return x.reshape(len(x), -1) @ self.a.T.astype(x.dtype)

    def transpose(self, y: np.ndarray) -> np.ndarray:
        """(N, *shape)."""
        return (y @ self.a.astype(y.dtype)).reshape(len(y), *self.shape)

    def solve(self, y: np.ndarray, a: float, b: float) -> np.ndarray:
        """In the eigenbasis of A A^T."""
        values = a * self._values + b
        gain = np.divide(1.0, values, out=np.zeros_like(values), where=values > 0.0)
        return (((y @ self._axes) * gain) @ self._axes.T).astype(y.dtype)


def inner_products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """<a, b> for each image, (N, ...) -> (N,) float64."""
    return (a.reshape(len(a), -1) * b.reshape(len(b), -1)).sum(1, dtype=np.float64)


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    y: np.ndarray,
    iterations: int,
    tolerance: float,
) -> np.ndarray:
    """Solves product(v) = y for each image of y (N, ...) by itself; product is linear, v -> S v.

    S symmetric, positive semi-definite. An image is done at |y - S v| <= tolerance |y|, or where
    p^T S p <= 0 shows that S is not what it should be, with what was found so far.
    Hestenes & Stiefel 1952.
    """

    def inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return inner_products(a, b).reshape(-1, *(1,) * (y.ndim - 1))

    v, residual, direction = np.zeros_like(y), y, y
    square = inner(y, y)
    goal = tolerance**2 * square
    for _ in range(iterations):
        curved = product(direction)
        curvature = inner(direction, curved)
        going = (square > goal) & (curvature > 0.0)
        if not going.any():
            break
        step = np.divide(square, curvature, out=np.zeros_like(square), where=going).astype(y.dtype)
        v, residual = v + step * direction, residual - step * curved
        fresh = inner(residual, residual)
        turn = np.divide(fresh, square, out=np.zeros_like(fresh), where=going)
        direction, square = residual + turn.astype(y.dtype) * direction, np.where(going, fresh, 0.0)
    return v
