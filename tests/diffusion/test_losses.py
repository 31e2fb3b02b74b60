"""Training targets, weights and times."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff.diffusion import (
    Denoiser,
    min_snr_weights,
    schedules,
    training_target,
    training_times,
)
from pydiff.errors import ConfigError, ShapeError

SCHEDULE = schedules.linear()
X0 = np.random.default_rng(0).standard_normal((4, 2, 2, 1))
EPS = np.random.default_rng(1).standard_normal((4, 2, 2, 1))
T = np.array([0, 10, 500, 999])


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction", "score", "flow"])
def test_a_model_that_hits_its_target_denoises_perfectly(prediction: str) -> None:
    x = SCHEDULE.add_noise(X0, EPS, T)
    output = training_target(prediction, X0, EPS, T, SCHEDULE)
    for i, t in enumerate(T):
        denoiser = Denoiser(lambda x, t, i=i: output[i : i + 1], SCHEDULE, prediction)
        np.testing.assert_allclose(denoiser(x[i : i + 1], int(t))[0], X0[i], atol=1e-9)


def test_targets_are_new_float32_arrays() -> None:
    eps = EPS.astype(np.float32)
    result = training_target("epsilon", X0.astype(np.float32), eps, T, SCHEDULE)
    assert result.dtype == np.float32 and not np.shares_memory(result, eps)
    np.testing.assert_array_equal(result, eps)


def test_shapes_must_agree() -> None:
    with pytest.raises(ShapeError, match=r"\(4, 2, 2, 1\).*\(3, 2, 2, 1\)"):
        training_target("epsilon", X0, EPS[:3], T, SCHEDULE)


def test_times_are_uniform_and_keyed_by_image() -> None:
    t = training_times(SCHEDULE, seed=5, n=20_000)
    assert t.dtype == np.int64 and t.min() >= 0 and t.max() <= 999
    counts = np.bincount(t // 100, minlength=10)
    assert (np.abs(counts - 2000) < 5 * np.sqrt(2000)).all()
    np.testing.assert_array_equal(training_times(SCHEDULE, 5, 7, first_image=100), t[100:107])
    assert (training_times(SCHEDULE, 5, 100, step=1) != t[:100]).any()


def test_min_snr_weights_the_error_of_x0_by_the_capped_snr() -> None:
    """A unit error of x_0 is an error of sqrt(SNR) in epsilon and sqrt(SNR + 1) in v."""
    snr = np.exp(SCHEDULE.log_snr(T))
    expected = np.minimum(snr, 5.0)
    np.testing.assert_allclose(min_snr_weights("sample", T, SCHEDULE), expected)
    np.testing.assert_allclose(min_snr_weights("epsilon", T, SCHEDULE) * snr, expected)
    np.testing.assert_allclose(min_snr_weights("v_prediction", T, SCHEDULE) * (snr + 1), expected)
    end = SCHEDULE.rescale_zero_terminal_snr()
    assert min_snr_weights("epsilon", 999, end) == 1.0
    assert min_snr_weights("v_prediction", 999, end) == 0.0
    with pytest.raises(ConfigError, match="not flow"):
        min_snr_weights("flow", T, SCHEDULE)
