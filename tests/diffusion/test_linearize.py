"""Denoiser.linearize: the derivative of x_0 through a network, or through the caller's vjp."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import Tensor, ops
from pydiff.diffusion import Denoiser, schedules
from pydiff.errors import ConfigError

SCHEDULE = schedules.linear()
RNG = np.random.default_rng(0)
X, V = RNG.standard_normal((2, 3, 4))


class Network:
    """x (N, 4) -> (N, outputs), curved."""

    def __init__(self, outputs: int, dtype: Any = np.float64) -> None:
        self.weight = Tensor(RNG.standard_normal((4, outputs)).astype(dtype), requires_grad=True)

    def __call__(self, x: Any, t: Any) -> Tensor:
        return ops.silu(ops.linear(x, self.weight))


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction", "score", "flow"])
@pytest.mark.parametrize("learned", [False, True])
def test_by_autograd_against_finite_differences(prediction: str, learned: bool) -> None:
    model = Network(8 if learned else 4)
    denoiser = Denoiser(model, SCHEDULE, prediction, clip=0.1, learned_variance=learned)
    made, pull = denoiser.linearize(X, 300)
    np.testing.assert_array_equal(made.x0, denoiser.predict(X, 300).x0)
    direction = RNG.standard_normal(X.shape)
    ahead, behind = (denoiser.predict(X + h * direction, 300).raw_x0 for h in (1e-6, -1e-6))
    expected = (V * (ahead - behind)).sum() / 2e-6
    for _ in range(2):  # a second call records the model anew
        assert (pull(V) * direction).sum() == pytest.approx(expected, rel=1e-6)
    assert model.weight.grad is None


def test_float32_stays() -> None:
    _, pull = Denoiser(Network(4, np.float32), SCHEDULE).linearize(X.astype(np.float32), 300)
    assert pull(V.astype(np.float32)).dtype == np.float32


def test_models_that_cannot_be_differentiated_say_so() -> None:
    with pytest.raises(ConfigError, match="give the Denoiser vjp="):
        Denoiser(lambda x, t: np.asarray(getattr(x, "data", x)), SCHEDULE).linearize(X, 300)


def test_the_callers_own_product() -> None:
    told: list[Any] = []

    def vjp(x: np.ndarray, t: Any, v: np.ndarray) -> np.ndarray:
        told.append(t)
        return 3.0 * v

    denoiser = Denoiser(
        lambda x, t: 3.0 * x, SCHEDULE, "sample", timestep=lambda t: t / 1000, vjp=vjp
    )
    _, pull = denoiser.linearize(X, 300)
    np.testing.assert_array_equal(pull(V), 3.0 * V)
    assert told == [0.3]
