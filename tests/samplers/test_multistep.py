"""Multistep methods: measured orders, what they reduce to, few steps, and their options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import fitted_order, linear_moments

from pydiff import random
from pydiff.diffusion import NoiseSchedule, schedules
from pydiff.errors import ConfigError
from pydiff.samplers import (
    DDIM,
    DEIS,
    IPNDM,
    LMS,
    PNDM,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp3M,
    DPMpp3MSDE,
    DPMppSingle,
    DPMSolver,
    Sampler,
    SASolver,
    UniPC,
    sample,
)
from pydiff.testing.oracles import GaussianMixture

CHAIN = schedules.linear()
GAUSSIAN = GaussianMixture([[1.0, -2.0]], [[[0.5, 0.3], [0.3, 0.4]]])
MIXTURE = GaussianMixture(
    [[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]], [0.05, 0.1, 0.02], [0.5, 0.3, 0.2]
)
LINE = GaussianMixture([[0.3]], [0.25])
START = random.normal(0, (64, 2), dtype=np.float64)
COUNTS = [72, 144, 288]
FULL: dict[str, Any] = {"lower_order_final": False}
# Not yet asymptotic at 72 steps; the first ones' errors are 1e-7 there and change sign.
LATE: list[Sampler] = [
    DPMppSingle(3),
    DPMSolver(solver_order=3),
    DEIS(solver_order=3),
    SASolver(3, 0, "noise_prediction", tau=0.0, **FULL),
    SASolver(2, 2, tau=0.0, simplified=False, **FULL),
]
ODE: list[Sampler] = [
    *LATE,
    DPMpp2M(),
    DPMpp2M("heun"),
    DPMpp2M(solver_order=1),
    DPMpp3M(),
    DPMpp3M(third_order="halved"),
    DPMSolver(),
    DPMSolver("heun"),
    DPMSolver(solver_order=3, third_order="halved"),
    DEIS(),
    DPMppSingle(),
    DPMppSingle(solver_type="heun"),
    DPMppSingle(3, "dpmsolver", "heun"),
    UniPC(),
    UniPC(solver_type="bh1", predict_x0=False),
    UniPC(3),
    UniPC(1, **FULL),
    UniPC(2, **FULL),
    UniPC(3, **FULL),
    LMS(),
    LMS(3),
    LMS(2),
    IPNDM(),
    PNDM(),
    PNDM(True),
    SASolver(tau=0.0),
    SASolver(3, 4, tau=0.0, **FULL),
]
SDE: list[Sampler] = [
    DPMpp2MSDE(),
    DPMpp2MSDE("heun", eta=0.5),
    DPMpp2MSDE(solver_order=1),
    DPMpp3MSDE(),
    DPMpp3MSDE(third_order="halved"),
    DPMpp3MSDE(third_order="diffusers"),
    DPMSolver(eta=1.0),
    DPMSolver(solver_order=1, eta=1.0),
    DPMppSingle(eta=1.0),
    SASolver(tau_high=1e9, tau_low=0.0),
    SASolver(3, 3, **FULL),
]


def grid(count: int) -> np.ndarray:
    """Even in log-SNR, to a level where the modes are still broad."""
    return CHAIN.time(np.linspace(CHAIN.log_snr(999), 4.0, count + 1))


def run(data: GaussianMixture, sampler: Sampler, count: int, **options: Any) -> np.ndarray:
    return sample(data.denoiser(CHAIN), x_init=START, sampler=sampler, grid=grid(count), **options)


@pytest.fixture(scope="module")
def flowed() -> np.ndarray:
    """START carried along the flow of the mixture: 1e-9 by the differences to half the steps."""
    return run(MIXTURE, UniPC(4, **FULL), 1500)


@pytest.mark.parametrize("sampler", ODE, ids=repr)
def test_order(sampler: Sampler, flowed: np.ndarray) -> None:
    times, counts = grid(2), [4 * n for n in COUNTS] if sampler in LATE else COUNTS
    exact = GAUSSIAN.flow_map(START, CHAIN, times[0], times[-1])
    for data, truth in ((GAUSSIAN, exact), (MIXTURE, flowed)):
        errors = [float(np.abs(run(data, sampler, n) - truth).mean()) for n in counts]
        assert errors[-1] < 4e-3
        assert fitted_order(counts, errors) == pytest.approx(sampler.order, abs=0.25)


@pytest.mark.parametrize("sampler", SDE, ids=repr)
def test_weak_order(sampler: Sampler) -> None:
    """Of the variance; that of a Gaussian's samples is known without drawing."""
    counts = [96, 192, 384]
    alpha, sigma = CHAIN.alpha(grid(2)[-1]), CHAIN.sigma(grid(2)[-1])
    truth = alpha**2 * 0.25 + sigma**2
    errors = []
    for n in counts:
        mean, variance = linear_moments(LINE, CHAIN, sampler, n, grid=grid(n))
        assert mean == pytest.approx(0.3 * alpha, abs=1e-3)
        errors.append(abs(variance - truth))
    assert errors[-1] < 0.02
    assert fitted_order(counts, errors) == pytest.approx(sampler.order, abs=0.25)


def same(a: Sampler, b: Sampler, atol: float = 1e-12, count: int = 18) -> None:
    np.testing.assert_allclose(run(MIXTURE, a, count), run(MIXTURE, b, count), atol=atol)


def test_adams_bashforth_on_grids_even_in_sigma() -> None:
    """There IPNDM is LMS, and PNDM is of order 4."""
    denoiser = MIXTURE.denoiser(schedules.edm())

    def even(sampler: Sampler, count: int) -> np.ndarray:
        times = np.linspace(10.0, 1.0, count + 1)
        return sample(denoiser, x_init=10.0 * START, sampler=sampler, grid=times)

    np.testing.assert_allclose(even(IPNDM(), 50), even(LMS(), 50), rtol=1e-9)
    counts, exact = [200, 400, 800], even(PNDM(), 3200)
    errors = [float(np.abs(even(PNDM(), n) - exact).mean()) for n in counts]
    assert fitted_order(counts, errors) == pytest.approx(4.0, abs=0.25)


def test_order_one_is_ddim() -> None:
    for sampler in (DPMpp2M(solver_order=1), DPMSolver(solver_order=1), DEIS(solver_order=1),
                    DPMppSingle(1), LMS(1), SASolver(1, 0, tau=0.0)):  # fmt: skip
        same(sampler, DDIM())


def test_methods_that_are_one() -> None:
    same(DEIS(solver_order=3), DPMSolver("heun", solver_order=3))
    same(DPMpp2MSDE(eta=0.0), DPMpp2M())
    same(DPMpp3MSDE(eta=0.0), DPMpp3M())
    same(SASolver(2, 0, tau=0.0, simplified=False, **FULL), DPMpp2M("heun", **FULL))
    same(SASolver(3, 0, tau=0.0, simplified=False, **FULL), DPMpp3M("heun", **FULL))
    never = tuple(range(18))
    same(UniPC(disable_corrector=never, **FULL), DPMpp2M(**FULL))
    same(UniPC(3, predict_x0=False, disable_corrector=never, **FULL), DPMSolver(
        solver_order=3, **FULL))  # fmt: skip


@pytest.mark.parametrize("sampler", [*ODE, *SDE], ids=repr)
@pytest.mark.parametrize(
    "schedule", [CHAIN.rescale_zero_terminal_snr(), schedules.flow(), schedules.edm()],
    ids=["zero_snr", "flow", "edm"],
)  # fmt: skip
def test_few_steps_from_pure_noise_onto_clean_data(
    sampler: Sampler, schedule: NoiseSchedule
) -> None:
    """Data at one point: x_0 is known, so every method must give it, in any number of steps."""
    point = GaussianMixture([[0.7, -0.4]], [0.0]).denoiser(schedule, "v_prediction")
    for count in (1, 2, 3, 4, 5):
        times = np.linspace(schedule.t_last, schedule.t_clean, count + 1).round(3)
        y = sample(point, x_init=START * schedule.prior_std, sampler=sampler, grid=times)
        np.testing.assert_allclose(y, np.broadcast_to([0.7, -0.4], y.shape), atol=1e-9)


@pytest.mark.parametrize("sampler", [*ODE, *SDE], ids=repr)
def test_float32_follows_float64(sampler: Sampler) -> None:
    z = np.random.default_rng(1).standard_normal((40, *START.shape))
    options: dict[str, Any] = {"grid": grid(40), "noise": lambda step, shape: z[step]}
    denoiser = MIXTURE.denoiser(CHAIN)
    double = sample(denoiser, x_init=START, sampler=sampler, **options)
    single = sample(denoiser, x_init=START.astype(np.float32), sampler=sampler, **options)
    assert single.dtype == np.float32 and double.dtype == np.float64
    assert np.abs(single - double).mean() < 1e-5


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_3m", "dpm_solver", "deis", "unipc", "lms",
                                  "dpmpp_single", "dpmpp_2m_sde", "sa_solver"])  # fmt: skip
def test_mode_weights_of_a_mixture(name: str) -> None:
    y = sample(MIXTURE.denoiser(CHAIN), (8000, 2), name, steps=40, spacing="trailing", seed=3)
    offsets = y[:, None] - MIXTURE.means
    share = np.bincount((offsets**2).sum(-1).argmin(1), minlength=3) / len(y)
    np.testing.assert_allclose(share, [0.5, 0.3, 0.2], atol=0.02)


@pytest.mark.parametrize(
    "cls, options",
    [
        (DPMpp2M, {"solver_type": "euler"}),
        (DPMpp2M, {"solver_order": 3}),
        (DPMpp2M, {"lower_order_final": 1}),
        (DPMpp2M, {"euler_at_final": None}),
        (DPMpp2MSDE, {"eta": -1.0}),
        (DPMpp2MSDE, {"s_noise": "1"}),
        (DPMpp2MSDE, {"solver_order": 0}),
        (DPMpp3M, {"third_order": "diffusers"}),
        (DPMpp3MSDE, {"third_order": "wrong"}),
        (DPMSolver, {"solver_order": 4}),
        (DPMSolver, {"eta": np.nan}),
        (DEIS, {"solver_order": True}),
        (DPMppSingle, {"solver_order": 4}),
        (DPMppSingle, {"algorithm_type": "sde-dpmsolver++"}),
        (DPMppSingle, {"third_order": "halved"}),
        (UniPC, {"solver_order": 9}),
        (UniPC, {"solver_type": "bh3"}),
        (UniPC, {"predict_x0": "yes"}),
        (UniPC, {"disable_corrector": (-1,)}),
        (UniPC, {"disable_corrector": [0]}),
        (LMS, {"solver_order": 5}),
        (PNDM, {"skip_prk_steps": 0}),
        (PNDM, {"held": "sample"}),
        (IPNDM, {"from_nothing": "no"}),
        (SASolver, {"predictor_order": 0}),
        (SASolver, {"corrector_order": 5}),
        (SASolver, {"algorithm_type": "x0"}),
        (SASolver, {"tau": -0.1}),
        (SASolver, {"tau_high": np.nan}),
        (SASolver, {"simplified": 2}),
    ],
)
def test_options_are_checked(cls: type[Sampler], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        cls(**options)
