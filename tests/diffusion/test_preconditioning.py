"""EDM's preconditioning: table 1, unit variances, exact networks, gradients."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import Tensor, gradcheck, ops, sample, schedules
from pydiff.diffusion import Loss, Preconditioned, edm_preconditioning
from pydiff.errors import ConfigError
from pydiff.testing.oracles import GaussianMixture

EVERY = [schedules.edm(), schedules.vp(), schedules.flow(), schedules.linear(), schedules.ve()]


def test_table_1() -> None:
    for sigma in (0.002, 0.5, 80.0):
        c = edm_preconditioning(1.0, sigma, -2.0 * np.log(sigma), 0.5)
        assert all(type(value) is float for value in c)
        both = sigma**2 + 0.25
        assert c.c_skip == pytest.approx(0.25 / both)
        assert c.c_out == pytest.approx(sigma * 0.5 / np.sqrt(both))
        assert c.c_in == pytest.approx(1.0 / np.sqrt(both))
        assert c.c_noise == pytest.approx(0.25 * np.log(sigma))


@pytest.mark.parametrize("schedule", EVERY, ids=lambda s: type(s).__name__)
def test_input_and_target_have_unit_variance(schedule) -> None:
    rng, std = np.random.default_rng(0), 1.7
    x0, eps = std * rng.standard_normal(200_000), rng.standard_normal(200_000)
    t = 0.3 * schedule.t_last if schedule.t_last < 999 else 300
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    c = edm_preconditioning(alpha, sigma, schedule.log_snr(t), std)
    x = alpha * x0 + sigma * eps
    assert np.std(c.c_in * x) == pytest.approx(1.0, rel=0.01)
    assert np.std((x0 - c.c_skip * x) / c.c_out) == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("schedule", EVERY, ids=lambda s: type(s).__name__)
def test_the_network_that_returns_nothing_is_exact_for_its_gaussian(schedule) -> None:
    """F = 0 gives c_skip x_t, which is E[x_0 | x_t] for N(0, sigma_data^2) data."""
    seen = []

    def network(x: np.ndarray, c_noise: float) -> np.ndarray:
        seen.append(c_noise)
        return np.zeros_like(x)

    denoiser = Preconditioned(network, schedule, 1.7).denoiser()
    exact = GaussianMixture([[0.0, 0.0]], [1.7**2]).denoiser(schedule)
    x = np.random.default_rng(1).standard_normal((5, 2))
    for t in (schedule.t_first, 0.5 * schedule.t_last, schedule.t_last):
        np.testing.assert_allclose(denoiser(x, t), exact(x, t), rtol=1e-9, atol=1e-12)
    assert np.isfinite(seen).all() and seen[0] < seen[-1]
    y = sample(denoiser, (4000, 2), "heun", steps=40, spacing="log_snr")
    assert y.std() == pytest.approx(1.7, rel=0.05)


def test_training_weighs_the_networks_own_error_by_one() -> None:
    edm = schedules.edm()
    x0 = 0.5 * np.random.default_rng(2).standard_normal((6, 3))
    loss = Loss("sample", weight="edm", times="lognormal")
    example = loss.draw(edm, x0, seed=1)
    model = Preconditioned(
        lambda x, c: Tensor(0.0 * x.data if isinstance(x, Tensor) else 0 * x), edm
    )
    c = edm_preconditioning(1.0, example.t, edm.log_snr(example.t))
    x = edm.add_noise(x0, example.eps, example.t)
    wanted = (x0 - c.c_skip[:, None] * x) / c.c_out[:, None]
    np.testing.assert_allclose(loss(model, example, edm).numpy(), (wanted**2).mean(1), rtol=1e-9)


def test_gradients_pass_through() -> None:
    model = Preconditioned(lambda x, c: ops.tanh(x), schedules.vp(), 0.8)
    gradcheck(lambda x: model(x, 0.4), [np.random.default_rng(3).standard_normal((2, 3))])


@pytest.mark.parametrize("sigma_data", [0.0, -1.0, float("nan"), True])
def test_bad_sigma_data_is_refused(sigma_data) -> None:
    with pytest.raises(ConfigError, match="sigma_data"):
        Preconditioned(lambda x, c: x, schedules.edm(), sigma_data)
