from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pydiff import Denoiser, sample, schedules
from pydiff.checks import (
    check_choice,
    check_count,
    check_finite,
    check_flag,
    check_number,
    check_positive,
)
from pydiff.errors import ConfigError
from pydiff.samplers import DDIM


@pytest.mark.parametrize(
    "check, value, kept",
    [
        (check_count, np.int64(3), 3),
        (check_number, np.float32(0.5), 0.5),
        (check_number, np.int8(2), 2.0),
        (check_positive, 1, 1.0),
        (check_finite, -1.5, -1.5),
        (check_flag, False, False),
    ],
)
def test_good_values_come_back_as_pythons_own(check: Callable[..., Any], value: Any, kept: Any):
    found = check("x", value)
    assert found == kept and type(found) is type(kept)


@pytest.mark.parametrize(
    "check, bad",
    [
        (check_count, (0, 1.0, True, "1", None, np.bool_(True))),
        (check_number, (-1, math.nan, True, "1", None, 1j)),
        (check_positive, (0, -1, math.inf, math.nan, True, None)),
        (check_finite, (math.inf, math.nan, False, "1")),
        (check_flag, (0, 1, None, "True")),
    ],
)
def test_bad_values_are_named(check: Callable[..., Any], bad: tuple[Any, ...]):
    for value in bad:
        with pytest.raises(ConfigError, match=r"^x = .*; allowed: "):
            check("x", value)


def test_bounds_are_in_the_message():
    with pytest.raises(ConfigError, match=r"x = 9; allowed: an integer in 2 \.\. 8"):
        check_count("x", 9, 2, 8)
    with pytest.raises(ConfigError, match=r"x = 2.5; allowed: a number in \[0, 1\]"):
        check_number("x", 2.5, high=1.0)
    with pytest.raises(ConfigError, match="x = 'c'; allowed: a, b"):
        check_choice("x", "c", ("a", "b"))


def test_options_may_be_numpys():
    denoiser = Denoiser(lambda x, t: 0.1 * x, schedules.linear())
    x = np.ones((2, 3), np.float32)
    a, b = (
        sample(denoiser, x_init=x, sampler=DDIM(eta=eta), steps=steps)
        for eta, steps in ((np.float32(0.5), np.int64(5)), (0.5, 5))
    )
    np.testing.assert_allclose(a, b, rtol=1e-5)
