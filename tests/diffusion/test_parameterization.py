"""x_0, eps and v convert into each other at every noise level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydiff.diffusion.parameterization import PREDICTIONS, combine, target, to_x0
from pydiff.errors import ConfigError, ShapeError

X0 = np.random.default_rng(0).standard_normal((4, 3, 2))
EPS = np.random.default_rng(1).standard_normal((4, 3, 2))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.floats(0.01, math.pi / 2 - 0.01), st.sampled_from(sorted(PREDICTIONS)))
def test_a_perfect_output_gives_x0_back(angle: float, prediction: str) -> None:
    alpha, sigma = math.cos(angle), math.sin(angle)
    x = alpha * X0 + sigma * EPS
    output = target(prediction, X0, EPS, alpha, sigma)
    np.testing.assert_allclose(to_x0(prediction, output, x, alpha, sigma), X0, atol=1e-11)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_non_variance_preserving_levels_and_one_level_per_image(prediction: str) -> None:
    alpha, sigma = np.array([1.0, 1.0, 0.3, 0.9]), np.array([0.01, 50.0, 0.7, 0.05])
    x = alpha[:, None, None] * X0 + sigma[:, None, None] * EPS
    output = target(prediction, X0, EPS, alpha, sigma)
    np.testing.assert_allclose(to_x0(prediction, output, x, alpha, sigma), X0, atol=1e-11)


def test_targets_are_the_papers() -> None:
    a, s = 0.6, 0.8
    np.testing.assert_array_equal(target("epsilon", X0, EPS, a, s), EPS)
    np.testing.assert_array_equal(target("sample", X0, EPS, a, s), X0)
    np.testing.assert_allclose(target("v_prediction", X0, EPS, a, s), a * EPS - s * X0)
    np.testing.assert_allclose(target("score", X0, EPS, a, s), -EPS / s)
    np.testing.assert_allclose(target("flow", X0, EPS, a, s), EPS - X0)


@pytest.mark.parametrize("prediction", ["epsilon", "score"])
@pytest.mark.parametrize("alpha", [0.0, np.array([1.0, 0.0, 1.0, 1.0])])
def test_pure_noise_has_no_x0_under_epsilon(prediction: str, alpha: object) -> None:
    with pytest.raises(ConfigError, match=r"zero terminal SNR.*v_prediction"):
        to_x0(prediction, EPS, EPS, alpha, 1.0)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_pure_noise_is_fine_for_v_and_sample(prediction: str) -> None:
    output = target(prediction, X0, EPS, 0.0, 1.0)
    np.testing.assert_allclose(to_x0(prediction, output, EPS, 0.0, 1.0), X0)


def test_the_score_of_clean_data_is_an_error() -> None:
    with pytest.raises(ConfigError, match="infinite"):
        target("score", X0, EPS, 1.0, 0.0)


@pytest.mark.parametrize("name", ["eps", "", None, 3, ["epsilon"]])
def test_unknown_predictions_are_errors_that_list_the_known(name: object) -> None:
    with pytest.raises(ConfigError, match="epsilon, sample, v_prediction"):
        target(name, X0, EPS, 1.0, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_results_are_new_arrays_of_the_states_dtype(prediction: str) -> None:
    x, output = X0.astype(np.float32), EPS.copy()
    x0 = to_x0(prediction, output, x, 0.6, 0.8)
    assert x0.dtype == np.float32
    assert not np.shares_memory(x0, output) and not np.shares_memory(x0, x)
    np.testing.assert_array_equal(output, EPS)


def test_combine_skips_zero_terms() -> None:
    nan = np.full_like(X0, np.nan)
    np.testing.assert_array_equal(combine((0.0, 2.0), (nan, X0)), 2.0 * X0)
    np.testing.assert_array_equal(combine((0.0,), (nan,)), np.zeros_like(X0))


def test_levels_that_do_not_fit_the_batch_are_errors() -> None:
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        to_x0("epsilon", EPS, X0, np.ones(3), np.ones(3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_combinations_take_a_coefficient_per_image(dtype) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((3, 4, 2)).astype(dtype) for _ in range(2))
    c = np.array([0.5, -1.0, 2.0])
    combined = combine((c, 0.25, 0.0), (x, y, y))
    assert combined.dtype == dtype
    np.testing.assert_allclose(combined, c[:, None, None] * x + 0.25 * y, rtol=1e-6, atol=1e-6)
    with pytest.raises(ShapeError, match="t has shape"):
        combine((c[:2], 0.25), (x, y))
