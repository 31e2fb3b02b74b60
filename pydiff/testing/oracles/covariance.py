"""Covariances C of which alpha^2 C + sigma^2 I is cheap to invert at every noise level.

Points are rows: (N, D) float64. Both classes say the same things; C is never formed but on request.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from ...errors import ConfigError


class Inverse(NamedTuple):
    """Of S = alpha^2 C + sigma^2 I at some points v: S^-1 v (N, D), and log det S."""

    solved: np.ndarray
    log_det: float


class Covariance(Protocol):
    """A symmetric, positive semi-definite C (D, D)."""

    def dense(self) -> np.ndarray:
        """C itself."""

    def multiply(self, points: np.ndarray) -> np.ndarray:
        """C v for each row v."""

    def inverse(self, points: np.ndarray, alpha: float, sigma: float) -> Inverse:
        """S^-1 v for each row v; infinite where S is singular."""

    def gain(self, points: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """C S^-1 v for each row v, sigma > 0: the share of v that is signal, over alpha."""

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """(n, D) draws of N(0, C)."""

    def spectral(self) -> Spectral:
        """C in its eigenbasis."""

    def factored(self) -> Factor | None:
        """C as a factor of low rank and a diagonal, where it has that form."""


class Spectral:
    """C = axes diag(variances) axes^T + rest (I - axes axes^T).

    axes (D, R) orthonormal columns; variances (R,); rest is the variance in all other directions.
    R = D is any covariance, R = 0 an isotropic one, in between lies probabilistic PCA.
    """

    def __init__(self, axes: np.ndarray, variances: np.ndarray, rest: float = 0.0) -> None:
        lowest, highest = min(variances.min(initial=rest), rest), variances.max(initial=rest)
        if lowest < -1e-12 * max(highest, 1.0):
            raise ConfigError(f"a covariance has the negative eigenvalue {lowest}")
        self.axes, self.variances, self.rest = axes, np.maximum(variances, 0.0), max(rest, 0.0)

    @classmethod
    def of(cls, matrix: np.ndarray) -> Spectral:
        """From C (D, D)."""
        variances, axes = np.linalg.eigh(matrix)
        return cls(axes, variances)

    @classmethod
    def of_factor(cls, factor: np.ndarray, noise: float) -> Spectral:
        """From C = factor factor^T + noise I; factor (D, R)."""
        axes, singular, _ = np.linalg.svd(factor, full_matrices=False)
        return cls(axes, singular**2 + noise, noise)

    def apply(self, points: np.ndarray, along: np.ndarray, across: float) -> np.ndarray:
        """Each row scaled by along (R,) in the axes and by across in all other directions."""
        if len(along) == len(self.axes):
            return ((points @ self.axes) * along) @ self.axes.T
        return across * points + ((points @ self.axes) * (along - across)) @ self.axes.T

    def dense(self) -> np.ndarray:
        return self.multiply(np.eye(len(self.axes)))

    def multiply(self, points: np.ndarray) -> np.ndarray:
        return self.apply(points, self.variances, self.rest)

    def inverse(self, points: np.ndarray, alpha: float, sigma: float) -> Inverse:
        along, across = self.at(alpha, sigma)
        others = len(self.axes) - len(along)
        _check_invertible(min(along.min(initial=np.inf), across if others else np.inf))
        log_det = float(np.log(along).sum()) + (others * float(np.log(across)) if others else 0.0)
        return Inverse(self.apply(points, 1.0 / along, 1.0 / across if others else 0.0), log_det)

    def gain(self, points: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        along, across = self.at(alpha, sigma)
        return self.apply(points, self.variances / along, self.rest / across)

    def at(self, alpha: float, sigma: float) -> tuple[np.ndarray, float]:
        """The variances of alpha^2 C + sigma^2 I along the axes and across them."""
        a, s = alpha * alpha, sigma * sigma
        return a * self.variances + s, a * self.rest + s

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        z = generator.standard_normal((n, len(self.axes)))
        return self.apply(z, np.sqrt(self.variances), float(np.sqrt(self.rest)))

    def spectral(self) -> Spectral:
        return self

    def factored(self) -> Factor | None:
        """The same as a Factor, where that is of lower rank than D."""
        if len(self.variances) == len(self.axes) or (self.variances < self.rest).any():
            return None
        noise = np.full(len(self.axes), self.rest)
        return Factor(self.axes * np.sqrt(self.variances - self.rest), noise)


class Factor:
    """C = factor factor^T + diag(noise): factor analysis. factor (D, R), noise (D,) >= 0.

    Inverses by Woodbury's identity cost O(D R^2) per level and O(D R) per point.
    """

    def __init__(self, factor: np.ndarray, noise: np.ndarray) -> None:
        if noise.min() < 0.0:
            raise ConfigError(f"the noise of a factor covariance is negative: {noise.min()}")
        self.factor, self.noise = factor, noise

    def dense(self) -> np.ndarray:
        return self.factor @ self.factor.T + np.diag(self.noise)

    def multiply(self, points: np.ndarray) -> np.ndarray:
        return (points @ self.factor) @ self.factor.T + points * self.noise

    def inverse(self, points: np.ndarray, alpha: float, sigma: float) -> Inverse:
        diagonal = alpha * alpha * self.noise + sigma * sigma
        _check_invertible(diagonal.min())
        scaled = alpha * self.factor / diagonal[:, None]
        core = np.eye(self.factor.shape[1]) + alpha * self.factor.T @ scaled
        hidden = np.linalg.solve(core, (points @ scaled).T).T
        log_det = float(np.log(diagonal).sum()) + float(np.linalg.slogdet(core)[1])
        return Inverse(points / diagonal - hidden @ scaled.T, log_det)

    def gain(self, points: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        return self.multiply(self.inverse(points, alpha, sigma).solved)

    def sample(self, n: int, generator: np.random.Generator) -> np.ndarray:
        z = generator.standard_normal((n, self.factor.shape[1]))
        own = generator.standard_normal((n, len(self.noise)))
        return z @ self.factor.T + own * np.sqrt(self.noise)

    def spectral(self) -> Spectral:
        return Spectral.of(self.dense())

    def factored(self) -> Factor:
        return self


def _check_invertible(lowest: float) -> None:
    if not lowest > 0.0:
        raise ConfigError(
            "there is no density here: sigma = 0 and a covariance is singular; ask at sigma > 0"
        )
