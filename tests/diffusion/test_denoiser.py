"""A Denoiser gives x_0 from any callable and any prediction type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import Tensor
from pydiff.autograd import is_grad_enabled
from pydiff.diffusion import PREDICTIONS, Denoiser, schedules
from pydiff.diffusion.parameterization import target
from pydiff.errors import ConfigError, DtypeError, ShapeError

SCHEDULE = schedules.linear()
X0 = np.random.default_rng(0).standard_normal((2, 3, 3, 1))
EPS = np.random.default_rng(1).standard_normal((2, 3, 3, 1))


def oracle(prediction: str) -> Any:
    return lambda x, t: target(prediction, X0, EPS, SCHEDULE.alpha(t), SCHEDULE.sigma(t))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("t", [0, 500, 999, 321.5])
def test_every_prediction_gives_x0_and_eps(prediction: str, t: float) -> None:
    denoiser = Denoiser(oracle(prediction), SCHEDULE, prediction)
    x = SCHEDULE.add_noise(X0, EPS, t)
    p = denoiser.predict(x, t)
    np.testing.assert_allclose(denoiser(x, t), X0, atol=1e-10)
    np.testing.assert_allclose(p.eps, EPS, atol=1e-10)
    assert (p.alpha, p.sigma) == (SCHEDULE.alpha(t), SCHEDULE.sigma(t))


def test_clipping_bounds_x0_and_leaves_eps_alone() -> None:
    denoiser = Denoiser(oracle("epsilon"), SCHEDULE, clip=0.5)
    p = denoiser.predict(SCHEDULE.add_noise(X0, EPS, 300), 300)
    np.testing.assert_allclose(p.x0, np.clip(X0, -0.5, 0.5), atol=1e-12)
    np.testing.assert_allclose(p.raw_x0, X0, atol=1e-12)
    np.testing.assert_allclose(p.eps, EPS, atol=1e-12)
    np.testing.assert_allclose(p.alpha * p.x0 + p.sigma * p.noise_for(p.x0), p.x)


def test_clip_may_be_a_callable() -> None:
    denoiser = Denoiser(oracle("sample"), SCHEDULE, "sample", clip=np.tanh)
    np.testing.assert_allclose(denoiser(X0, 5), np.tanh(X0))


def test_clean_data_hold_no_noise() -> None:
    denoiser = Denoiser(lambda x, t: x, SCHEDULE, "sample")
    assert (denoiser.predict(X0, -1).eps == 0.0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wrap", [np.asarray, Tensor, lambda y: y.tolist()])
def test_models_may_return_arrays_tensors_or_lists(dtype: type, wrap: Any) -> None:
    denoiser = Denoiser(lambda x, t: wrap(0.5 * x), SCHEDULE, "sample")
    x = X0.astype(dtype)
    assert denoiser(x, 3).dtype == dtype
    np.testing.assert_allclose(denoiser(x, 3), 0.5 * x, rtol=1e-6)


def test_gradients_are_off_inside_the_model() -> None:
    seen = []
    Denoiser(lambda x, t: seen.append(is_grad_enabled()) or x, SCHEDULE)(X0, 3)
    assert seen == [False] and is_grad_enabled()


def test_the_model_sees_the_state_and_the_time_as_given() -> None:
    seen: list[Any] = []
    Denoiser(lambda x, t: seen.append((x, t)) or x, SCHEDULE)(X0, 3)
    assert seen[0][0] is X0 and seen[0][1] == 3 and type(seen[0][1]) is int


def test_bad_results_of_the_model_are_named() -> None:
    with pytest.raises(ShapeError, match=r"\(1,\).*\(2, 3, 3, 1\).*t = 3"):
        Denoiser(lambda x, t: np.zeros(1), SCHEDULE)(X0, 3)
    with pytest.raises(DtypeError, match="complex128"):
        Denoiser(lambda x, t: x * 1j, SCHEDULE)(X0, 3)


@pytest.mark.parametrize("clip", [0, -1.0, np.nan, np.inf, True, "1", (-1, 1)])
def test_bad_clips_are_errors(clip: Any) -> None:
    with pytest.raises(ConfigError, match="clip"):
        Denoiser(oracle("sample"), SCHEDULE, "sample", clip=clip)


def test_bad_arguments_are_errors() -> None:
    with pytest.raises(ConfigError, match="model must be callable"):
        Denoiser(3, SCHEDULE)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="NoiseSchedule"):
        Denoiser(oracle("sample"), np.ones(3))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="known: epsilon"):
        Denoiser(oracle("sample"), SCHEDULE, "noise")
