"""Which modes of a known mixture a set of samples has, and how many samples in each."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..checks import is_number
from ..errors import ConfigError
from .points import as_pair, neighbours


class Modes(NamedTuple):
    """weights (K,): the share of the samples nearest to each mode, of sum 1.

    covered: modes with at least one sample within the radius. quality: the share of samples within
    the radius of some mode. Without a radius every sample counts as within.
    """

    weights: np.ndarray
    covered: int
    quality: float


def modes(samples: Any, means: Any, radius: float | None = None) -> Modes:
    """Weights and coverage of the modes at means (K, ...) in samples (N, ...).

    A sample is its nearest mean's, and of high quality within `radius`, usually three standard
    deviations (Srivastava et al. 2017, VEEGAN, arXiv 1705.07761, section 4.1; Metz et al. 2017).
    The weights are those of the mixture up to the mass that lies nearer to another mean.
    Raises ConfigError, ShapeError, NonFiniteError.
    """
    points, centres = as_pair(samples, means, ("samples", "means"))
    reach = math.inf if radius is None else radius
    if not is_number(reach) or not reach > 0.0:
        raise ConfigError(f"radius = {radius!r}; allowed: a number > 0, or None")
    distance, index = (part[:, 0] for part in neighbours(points, centres, 1))
    weights = np.bincount(index, minlength=len(centres)) / len(points)
    near = distance <= reach
    return Modes(weights, len(np.unique(index[near])), float(near.mean()))
