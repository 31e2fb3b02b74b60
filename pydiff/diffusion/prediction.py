"""What a model says at one point: x_0, the noise, and combinations of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .parameterization import combine

Threshold = Callable[[np.ndarray], np.ndarray]

# Below this sigma x_t equals x_0 to double precision, and no noise can be seen in it.
_NO_NOISE = 1e-12


class Prediction:
    """What a model says at x_t = alpha raw_x0 + sigma eps.

    x0 is what a threshold makes of raw_x0; both (N, ...) like x. Where the model's output is known,
    raw_x0 = c_x x + c_output output, they are computed when they are first read: samplers that
    only `mix` them make one pass over memory.

    variance: the second half of the output of a network that learned its variance, like x; None
    for all others. other_eps: a noise that samplers shall take instead of the one that raw_x0
    implies (CFG++).
    """

    __slots__ = ("_linear", "_raw", "_threshold", "_x0", "alpha", "other_eps", "sigma", "variance",
                 "x")  # fmt: skip

    def __init__(
        self,
        x: np.ndarray,
        x0: np.ndarray | None,
        raw_x0: np.ndarray | None,
        alpha: float,
        sigma: float,
        variance: np.ndarray | None = None,
        other_eps: np.ndarray | None = None,
    ) -> None:
        self.x, self.alpha, self.sigma = x, alpha, sigma
        self.variance, self.other_eps = variance, other_eps
        self._x0, self._raw = x0, raw_x0
        self._threshold: Threshold | None = None
        self._linear: tuple[float, float, np.ndarray] | None = None

    @classmethod
    def of_output(
        cls,
        x: np.ndarray,
        output: np.ndarray,
        coefficients: tuple[float, float],
        levels: tuple[float, float],
        threshold: Threshold | None = None,
        variance: np.ndarray | None = None,
    ) -> Prediction:
        """raw_x0 = c_x x + c_output output; levels: (alpha, sigma)."""
        prediction = cls(x, None, None, *levels, variance)
        prediction._linear, prediction._threshold = (*coefficients, output), threshold
        return prediction

    def replace(self, **changes: Any) -> Prediction:
        """A copy with other values of the constructor's arguments."""
        names = ("x", "x0", "raw_x0", "alpha", "sigma", "variance", "other_eps")
        kept = {name: getattr(self, name) for name in names if name not in changes}
        return Prediction(**kept, **changes)

    @property
    def raw_x0(self) -> np.ndarray:
        """x_0 as the model has it."""
        if self._raw is None:
            assert self._linear is not None
            c_x, c_output, output = self._linear
            self._raw = combine((c_x, c_output), (self.x, output))
        return self._raw

    @property
    def x0(self) -> np.ndarray:
        """x_0 after thresholding."""
        if self._x0 is None:
            self._x0 = self.raw_x0 if self._threshold is None else self._threshold(self.raw_x0)
        return self._x0

    @property
    def eps(self) -> np.ndarray:
        """The noise, of the raw x_0: x_t = alpha raw_x0 + sigma eps."""
        return self.noise_for(self.raw_x0) if self.other_eps is None else self.other_eps

    @property
    def thresholded(self) -> bool:
        """Whether x0 may differ from raw_x0."""
        return self._threshold is not None or (self._linear is None and self.x0 is not self.raw_x0)

    @property
    def source(self) -> np.ndarray:
        """The array that all others follow from: finite if and only if they are."""
        return self.raw_x0 if self._linear is None else self._linear[2]

    def settled(self) -> Prediction:
        """Itself, with copies of what the model returned: the model may write over that when it is
        asked again. Whoever asks a second time and reads this one afterwards needs it."""
        if self._linear is not None:
            c_x, c_output, output = self._linear
            self._linear = c_x, c_output, output.copy()
        if self.variance is not None:
            self.variance = self.variance.copy()
        return self

    def noise_for(self, x0: np.ndarray) -> np.ndarray:
        """The noise that makes x_t out of this x_0; 0 where x_t holds none."""
        if self.sigma < _NO_NOISE:
            return np.zeros_like(self.x)
        return combine((1.0 / self.sigma, -self.alpha / self.sigma), (self.x, x0))

    def mix(self, from_x0: float, from_eps: float, *more: tuple[float, np.ndarray]) -> np.ndarray:
        """from_x0 x0 + from_eps eps + the sum of c array over `more`."""
        if self._linear is None or self._threshold is not None or self.other_eps is not None:
            factors, arrays = [from_x0], [self.x0]
            if from_eps != 0.0:
                factors, arrays = [from_x0, from_eps], [self.x0, self.eps]
        else:
            c_x, c_output, output = self._linear
            kept = 0.0 if self.sigma < _NO_NOISE else from_eps / self.sigma
            from_raw = from_x0 - kept * self.alpha
            factors, arrays = [kept + from_raw * c_x, from_raw * c_output], [self.x, output]
        for factor, array in more:
            factors.append(factor)
            arrays.append(array)
        return combine(factors, arrays)
