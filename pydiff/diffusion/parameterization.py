"""What a network predicts, and how x_0 follows from it.

With x_t = alpha x_0 + sigma eps, every prediction type is three linear formulas: x_0 and eps from
x_t and the output, and the target from x_0 and eps.

epsilon       the noise (Ho et al. 2020, arXiv 2006.11239)
sample        x_0 itself
v_prediction  v = alpha eps - sigma x_0 (Salimans & Ho 2022, arXiv 2202.00512, appendix D)
score         the gradient of log q(x_t | x_0) = -eps / sigma (Song et al. 2021, arXiv 2011.13456)
flow          the velocity eps - x_0 (Lipman et al. 2023, arXiv 2210.02747)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..backend.spec.checks import are_alike
from ..errors import ConfigError
from .noise_schedule import per_image


class Parameterization(NamedTuple):
    """Functions of (alpha, sigma), floats or float64 arrays."""

    x0: Callable[[Any, Any], tuple[Any, Any]]  # x_0 = c_x x_t + c_out output: (c_x, c_out)
    eps: Callable[[Any, Any], tuple[Any, Any]]  # eps = c_x x_t + c_out output: (c_x, c_out)
    target: Callable[[Any, Any], tuple[Any, Any]]  # c_x0 x_0 + c_eps eps: (c_x0, c_eps)


PREDICTIONS: dict[str, Parameterization] = {
    "epsilon": Parameterization(
        lambda a, s: (1.0 / a, -s / a), lambda a, s: (0.0, 1.0), lambda a, s: (0.0, 1.0)
    ),
    "sample": Parameterization(
        lambda a, s: (0.0, 1.0), lambda a, s: (1.0 / s, -a / s), lambda a, s: (1.0, 0.0)
    ),
    "v_prediction": Parameterization(
        lambda a, s: (a / (a * a + s * s), -s / (a * a + s * s)),
        lambda a, s: (s / (a * a + s * s), a / (a * a + s * s)),
        lambda a, s: (-s, a),
    ),
    "score": Parameterization(
        lambda a, s: (1.0 / a, s * s / a), lambda a, s: (0.0, -s), lambda a, s: (0.0, -1.0 / s)
    ),
    "flow": Parameterization(
        lambda a, s: (1.0 / (a + s), -s / (a + s)),
        lambda a, s: (1.0 / (a + s), a / (a + s)),
        lambda a, s: (-1.0, 1.0),
    ),
}


def check_prediction(prediction: str) -> str:
    """The name itself, or a ConfigError that lists the known ones."""
    if not isinstance(prediction, str) or prediction not in PREDICTIONS:
        raise ConfigError(f"prediction = {prediction!r}; known: {', '.join(PREDICTIONS)}")
    return prediction


def to_x0(prediction: str, output: np.ndarray, x: np.ndarray, alpha: Any, sigma: Any) -> np.ndarray:
    """x_0 from the output of a network at x_t; a new array of x's dtype.

    output and x (N, ...) of one shape; alpha and sigma floats, or (N,) with one level per image.
    Raises ConfigError where the output says nothing about x_0: epsilon and score at alpha = 0.
    """
    return combine(x0_coefficients(prediction, alpha, sigma), (x, output))


def x0_coefficients(prediction: str, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """(c_x, c_out) of x_0 = c_x x_t + c_out output; alpha, sigma and errors as in `to_x0`."""
    rule = PREDICTIONS[check_prediction(prediction)]
    if prediction in ("epsilon", "score") and _any_zero(alpha):
        raise ConfigError(
            f"alpha = 0 (zero terminal SNR): a prediction of {prediction!r} leaves x_0 undetermined"
            " there; use a v_prediction or sample model, or start at an earlier time"
        )
    return rule.x0(alpha, sigma)


def target(prediction: str, x0: np.ndarray, eps: np.ndarray, alpha: Any, sigma: Any) -> np.ndarray:
    """What a network of this prediction type should return at x_t = alpha x_0 + sigma eps.

    x0 and eps (N, ...) of one shape; alpha and sigma floats or (N,). Raises ConfigError for the
    score at sigma = 0, where it is infinite.
    """
    rule = PREDICTIONS[check_prediction(prediction)]
    if prediction == "score" and _any_zero(sigma):
        raise ConfigError("the score is infinite at sigma = 0 (clean data)")
    return combine(rule.target(alpha, sigma), (x0, eps))


def combine(coefficients: Sequence[Any], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """sum_i c_i array_i in the dtype of the first array, as a new array; zero terms are skipped.

    Each c_i is a float or an (N,) array. The sum is taken in float64 and rounded once.
    """
    numbers = [c for c in coefficients if type(c) is float]
    if len(numbers) == len(arrays) and are_alike(*arrays) and any(numbers):  # what steps mostly ask
        if 0.0 in numbers:
            arrays = [array for c, array in zip(numbers, arrays, strict=True) if c != 0.0]
            numbers = [c for c in numbers if c != 0.0]
        return backend.linear_combination(numbers, arrays)
    like = arrays[0]
    coefficients = [float(c) if np.ndim(c) == 0 else c for c in coefficients]  # also NumPy's
    terms = [
        (c, array.astype(like.dtype, casting="same_kind", copy=False))
        for c, array in zip(coefficients, arrays, strict=True)
        if not isinstance(c, float) or c != 0.0
    ]
    if not terms:
        return np.zeros_like(like)
    used = [array for _, array in terms]
    if all(isinstance(c, float) for c, _ in terms):
        return backend.linear_combination([float(c) for c, _ in terms], used)
    rows = [np.broadcast_to(_row(c, like), like.shape[0]) for c, _ in terms]
    return backend.linear_combination(np.stack(rows), used)


def _row(c: Any, x: np.ndarray) -> Any:
    if isinstance(c, float):
        return c
    per_image(c, x)  # raises where the shapes do not fit
    return np.asarray(c, np.float64)


def _any_zero(values: Any) -> bool:
    return values == 0.0 if isinstance(values, float) else bool((values == 0.0).any())
