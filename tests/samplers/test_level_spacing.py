"""Spacings of noise levels; quantiles of the beta distribution against their integral."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pydiff.errors import ConfigError
from pydiff.samplers.level_spacing import beta, beta_quantile, exponential, karras


@pytest.mark.parametrize("spacing", [karras, exponential, beta])
def test_both_ends_are_exact(spacing) -> None:
    for low, high in ((0.002, 80.0), (0.03, 14.6), (1.0, 1.0 + 1e-9)):
        levels = spacing(low, high, 7)
        assert levels[0] == high and levels[-1] == low and (np.diff(levels) < 0).all()
        assert spacing(low, high, 1).tolist() == [high]


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2.0, 1.0), (1.0, 3.0), (0.5, 0.5)])
def test_quantiles_in_closed_form(a: float, b: float) -> None:
    """I_x = x, x^2, 1 - (1 - x)^3 and, for the arcsine distribution, 2/pi asin(sqrt(x))."""
    p = np.linspace(0.0, 1.0, 33)
    expected = {
        (1.0, 1.0): p,
        (2.0, 1.0): np.sqrt(p),
        (1.0, 3.0): 1.0 - np.cbrt(1.0 - p),
        (0.5, 0.5): np.sin(0.5 * math.pi * p) ** 2,
    }[a, b]
    np.testing.assert_allclose(beta_quantile(p, a, b), expected, rtol=1e-13, atol=1e-15)


def test_quantiles_invert_the_integral_of_the_density() -> None:
    """At a = b = 0.6, by the substitution x = sin(angle)^2, which has no poles at the ends."""
    a = 0.6
    constant = 2.0 * math.gamma(2 * a) / math.gamma(a) ** 2
    for p, x in zip((0.02, 0.3, 0.5, 0.9), beta_quantile(np.array([0.02, 0.3, 0.5, 0.9]), a, a),
                    strict=True):  # fmt: skip
        top = math.asin(math.sqrt(x))
        # the density in the angle ~ angle^0.2 at 0: a power of the variable makes it smooth
        u = (np.arange(20_000) + 0.5) / 20_000
        angle = top * u**5
        density = constant * (np.sin(angle) * np.cos(angle)) ** (2 * a - 1)
        assert np.mean(density * top * 5 * u**4) == pytest.approx(p, rel=1e-7)


def test_refused_parameters() -> None:
    with pytest.raises(ConfigError, match="allowed"):
        beta(0.1, 1.0, 3, alpha=0.0)
