"""Points in the plane whose density is known: data on which a network learns in seconds.

Each function takes (n, seed) and returns (n, 2) float32; point i depends on (seed, i) alone. Mean
0 and variance 1 per coordinate, but for `two_pixels`, whose points are images in [-1, 1].
`density(name, points)` is their exact density.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import random
from ..checks import check_count
from ..errors import ConfigError, ShapeError

Array = np.ndarray
_NODES = 1024  # on a curve: far closer to each other than its noise is wide


def two_pixels(n: int, seed: int = 0) -> Array:
    """Grey images of two neighbouring pixels (left, right), as points of the square [-1, 1]^2.

    Left is uniform; right differs from it by a Laplace variable of scale 0.1 that keeps it in
    range. So they lie near the diagonal, as neighbours in photographs do, whose differences are
    small and heavy-tailed (Ruderman 1994, "The statistics of natural images", Network 5).
    """
    u = _uniform(n, seed, 2)
    left = 2.0 * u[:, 0] - 1.0
    low, high = _laplace(-1.0 - left), _laplace(1.0 - left)
    v = low + u[:, 1] * (high - low)
    tail = np.log(2.0 * np.minimum(v, 1.0 - v))
    return _points(left, left + _CONTRAST * np.where(v < 0.5, tail, -tail))


def eight_gaussians(n: int, seed: int = 0) -> Array:
    """Eight Gaussians of equal weight on a circle, an eighth of its radius wide."""
    k = np.floor(8.0 * _uniform(n, seed, 1)[:, 0]).astype(np.int64)
    return _points(*(_CENTRES[k] + _CIRCLE / 8.0 * _normal(n, seed)).T)


def checkerboard(n: int, seed: int = 0) -> Array:
    """Uniform on the eight dark squares of a board of 4 x 4."""
    u = _uniform(n, seed, 3)
    column, row = np.floor(4.0 * u[:, 0]), np.floor(2.0 * u[:, 1])
    across, up = 4.0 * u[:, 0], 2.0 * row + column % 2.0 + u[:, 2]
    return _points(*((axis / 2.0 - 1.0) * _BOARD for axis in (across, up)))


def swiss_roll(n: int, seed: int = 0) -> Array:
    """A spiral of one and a half turns."""
    return _on_curve(_SWISS_ROLL, n, seed)


def moons(n: int, seed: int = 0) -> Array:
    """Two interleaved half circles."""
    return _on_curve(_MOONS, n, seed)


def pinwheel(n: int, seed: int = 0) -> Array:
    """Five arms: Gaussians along a ray, turned by an angle that grows with the radius."""
    arm = np.floor(5.0 * _uniform(n, seed, 1)[:, 0])
    straight = _normal(n, seed) * _ARM_STD + (1.0, 0.0)
    angle = 2.0 * math.pi / 5.0 * arm + _TWIST * np.linalg.norm(straight, axis=1)
    return _points(*(_turned(straight, angle) / _PINWHEEL).T)


def density(name: str, points: Any) -> Array:
    """The density (N,) float64 of the toy set of that name at points (N, 2).

    Raises ConfigError for an unknown name, ShapeError.
    """
    x = np.asarray(points, np.float64)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ShapeError(f"points have shape {x.shape}; (N, 2) is needed")
    return toy(name).density(x)


# ---------------------------------------------------------------- densities

_CONTRAST = 0.1  # of two_pixels
_CIRCLE = (0.5 + 1.0 / 64.0) ** -0.5  # radius^2 / 2 + width^2 = 1
_TURN = np.arange(8) * (math.pi / 4.0)
_CENTRES = _CIRCLE * np.stack((np.cos(_TURN), np.sin(_TURN)), axis=1)
_BOARD = math.sqrt(3.0)  # half its side: a uniform variable of variance 1
_ARM_STD = np.array([0.3, 0.1])  # along the ray and across
_TWIST = 1.2
_PINWHEEL = math.sqrt(0.5 * (1.0 + (_ARM_STD**2).sum()))


def _two_pixels_density(x: Array) -> Array:
    left, right = x.T
    within = _laplace(1.0 - left) - _laplace(-1.0 - left)
    value = np.exp(-np.abs(right - left) / _CONTRAST) / (4.0 * _CONTRAST * within)
    return np.where((np.abs(x) <= 1.0).all(axis=1), value, 0.0)


def _checkerboard_density(x: Array) -> Array:
    cell = np.floor((x / _BOARD + 1.0) * 2.0)
    dark = (cell.sum(axis=1) % 2.0 == 0.0) & (np.abs(x) < _BOARD).all(axis=1)
    return np.where(dark, 0.5 / _BOARD**2, 0.0)


def _pinwheel_density(x: Array) -> Array:
    """Turning by an angle that depends on the radius alone keeps areas."""
    y, total = x * _PINWHEEL, np.zeros(len(x))
    back = -_TWIST * np.linalg.norm(y, axis=1)
    for arm in range(5):
        straight = (_turned(y, back - 2.0 * math.pi / 5.0 * arm) - (1.0, 0.0)) / _ARM_STD
        total += np.exp(-0.5 * (straight**2).sum(axis=1))
    return total * _PINWHEEL**2 / (5.0 * 2.0 * math.pi * _ARM_STD.prod())


def _mixture_density(x: Array, centres: Array, std: float) -> Array:
    """Of Gaussians of equal weight."""
    total = np.zeros(len(x))
    for centre in centres:
        total += np.exp(-0.5 / std**2 * ((x - centre) ** 2).sum(axis=1))
    return total / (2.0 * math.pi * std**2 * len(centres))


def _laplace(z: Array) -> Array:
    """The distribution function of the Laplace distribution of scale _CONTRAST."""
    tail = 0.5 * np.exp(-np.abs(z) / _CONTRAST)
    return np.where(z < 0.0, tail, 1.0 - tail)


# ---------------------------------------------------------------- curves


class _Curve(NamedTuple):
    """c(u) + noise, u uniform in (0, 1), standardised: (c - mean) / scale + std z."""

    at: Callable[[Array], Array]
    mean: Array
    scale: Array
    std: float

    def points(self, u: Array) -> Array:
        """(N, 2) on the curve."""
        return (self.at(u) - self.mean) / self.scale


def _curve(at: Callable[[Array], Array], std: float) -> _Curve:
    nodes = at((np.arange(_NODES) + 0.5) / _NODES)
    return _Curve(at, nodes.mean(axis=0), nodes.std(axis=0) / math.sqrt(1.0 - std**2), std)


def _spiral(u: Array) -> Array:
    turn = 1.5 * math.pi * (1.0 + 2.0 * u)
    return np.stack((turn * np.cos(turn), turn * np.sin(turn)), axis=1)


def _half_circles(u: Array) -> Array:
    lower, turn = u >= 0.5, 2.0 * math.pi * (u % 0.5)
    upper = np.stack((np.cos(turn), np.sin(turn)), axis=1)
    return np.where(lower[:, None], (1.0, 0.5) - upper, upper)


_SWISS_ROLL, _MOONS = _curve(_spiral, 0.06), _curve(_half_circles, 0.1)


def _on_curve(curve: _Curve, n: int, seed: int) -> Array:
    points = curve.points(_uniform(n, seed, 1)[:, 0]) + curve.std * _normal(n, seed)
    return points.astype(np.float32)


def _curve_density(x: Array, curve: _Curve) -> Array:
    nodes = curve.points((np.arange(_NODES) + 0.5) / _NODES)
    return _mixture_density(x, nodes, curve.std)


# ---------------------------------------------------------------- shared


def _uniform(n: int, seed: int, columns: int) -> Array:
    return random.uniform(seed, (check_count("n", n), columns), stream="data", dtype=np.float64)


def _normal(n: int, seed: int) -> Array:
    return random.normal(seed, (check_count("n", n), 2), step=1, stream="data", dtype=np.float64)


def _points(x: Array, y: Array) -> Array:
    return np.stack((x, y), axis=1).astype(np.float32)


def _turned(x: Array, angle: Array) -> Array:
    """Each point (N, 2) turned by its angle (N,)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack((c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]), axis=1)


class Toy(NamedTuple):
    """sample(n, seed) -> (n, 2) float32; density(points (N, 2) float64) -> (N,)."""

    sample: Callable[[int, int], Array]
    density: Callable[[Array], Array]


TOYS: dict[str, Toy] = {
    "two_pixels": Toy(two_pixels, _two_pixels_density),
    "eight_gaussians": Toy(eight_gaussians, lambda x: _mixture_density(x, _CENTRES, _CIRCLE / 8.0)),
    "checkerboard": Toy(checkerboard, _checkerboard_density),
    "swiss_roll": Toy(swiss_roll, lambda x: _curve_density(x, _SWISS_ROLL)),
    "moons": Toy(moons, lambda x: _curve_density(x, _MOONS)),
    "pinwheel": Toy(pinwheel, _pinwheel_density),
}


def toy(name: str) -> Toy:
    """The toy set of that name; ConfigError that lists the names."""
    if name not in TOYS:
        raise ConfigError(f"toy set {name!r}; known: {', '.join(TOYS)}")
    return TOYS[name]
