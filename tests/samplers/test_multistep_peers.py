"""The exponential integrators and linear multistep methods against diffusers: whole trajectories.

diffusers computes in float32: what is measured here is its rounding, 1e-7 to 1e-6.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import k_coordinates
import numpy as np
import pytest
from sampler_cases import inputs, model
from vp_coordinates import RATIO, ours, theirs

from pydiff.diffusion import Denoiser, schedules
from pydiff.samplers import (
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
    grids,
    sample,
)
from pydiff.schedulers.levels import Angular

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
STEPS = [5, 20, 50]


def check(actual: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 1e-5) -> None:
    """Each state, relative to its largest value."""
    for step, (mine, other) in enumerate(zip(actual, expected, strict=True)):
        error = np.abs(mine - other).max() / max(1.0, np.abs(other).max())
        assert error <= tolerance, f"step {step}: {error}"


def compare(name: str, sampler: Sampler, steps: int, **config: Any) -> None:
    """Two schedulers of one config: one gives the levels, the other the states."""
    make = getattr(diffusers, name + "Scheduler")
    prediction = config.get("prediction_type", "epsilon")
    known = {"prediction": {"flow_prediction": "flow"}.get(prediction, prediction)}
    schedule = schedules.flow() if config.get("use_flow_sigmas") else RATIO
    actual = ours(sampler, make(**config), steps, schedule=schedule, **known)
    check(actual, theirs(make(**config), steps))


def in_double(name: str, **config: Any) -> Any:
    """A scheduler with its levels in float64.

    In float32 the coefficients of order 3 and 4 of DEIS and SASolver cancel: 1e-5 and 1e-3 are lost
    in 50 steps.
    """
    scheduler = getattr(diffusers, name + "Scheduler")(**config)
    prepare = scheduler.set_timesteps

    def set_timesteps(steps: int) -> None:
        prepare(steps)
        scheduler.sigmas = scheduler.sigmas.double()

    scheduler.set_timesteps = set_timesteps
    return scheduler


MIN = {"final_sigmas_type": "sigma_min"}
MULTISTEP: list[tuple[Sampler, dict[str, Any]]] = [
    *((DPMpp2M(kind), {"solver_type": kind}) for kind in ("midpoint", "heun")),
    (DPMpp2M(solver_order=1), {"solver_order": 1}),
    (DPMpp2M(lower_order_final=False), {"lower_order_final": False, **MIN}),
    (DPMpp2M(euler_at_final=True), {"euler_at_final": True, **MIN}),
    (DPMpp2M(), {"use_karras_sigmas": True, "prediction_type": "v_prediction"}),
    (DPMpp2M(), {"use_lu_lambdas": True, "prediction_type": "sample"}),
    (DPMpp2M(), {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
    *(
        (DPMpp3M(kind, third_order="halved"), {"solver_type": kind, "solver_order": 3})
        for kind in ("midpoint", "heun")
    ),
    *(
        (DPMpp2MSDE(kind), {"solver_type": kind, "algorithm_type": "sde-dpmsolver++"})
        for kind in ("midpoint", "heun")
    ),
    (
        DPMpp3MSDE(third_order="diffusers"),
        {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"},
    ),
    *(
        (
            DPMSolver(kind, solver_order=order, third_order="halved"),
            {"solver_type": kind, "solver_order": order, "algorithm_type": "dpmsolver", **MIN},
        )
        for kind, order in product(("midpoint", "heun"), (1, 2, 3))
    ),
    *(
        (
            DPMSolver(kind, solver_order=order, eta=1.0),
            {"solver_type": kind, "solver_order": order, "algorithm_type": "sde-dpmsolver", **MIN},
        )
        for kind, order in product(("midpoint", "heun"), (1, 2))
    ),
]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("sampler, config", MULTISTEP, ids=repr)
def test_dpm_solver_multistep(sampler: Sampler, config: dict[str, Any], steps: int) -> None:
    compare("DPMSolverMultistep", sampler, steps, **config)


@pytest.mark.parametrize("kind", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("steps", [6, 20, 50])
def test_dpm_solver_singlestep(order: int, kind: str, steps: int) -> None:
    """diffusers sets lower_order_final itself where steps is no multiple of the order."""
    config: dict[str, Any] = {"solver_order": order, "solver_type": kind}
    for form in ("dpmsolver++", "dpmsolver"):
        short = DPMppSingle(order, form, kind)
        compare("DPMSolverSinglestep", short, steps, algorithm_type=form, **MIN, **config)
    last = {"lower_order_final": True}
    compare("DPMSolverSinglestep", DPMppSingle(order, solver_type=kind, **last), steps,
            **last, **config)  # fmt: skip
    noisy = DPMppSingle(order, "dpmsolver++", kind, True, 1.0, "diffusers")
    config["algorithm_type"] = "sde-dpmsolver++"
    compare("DPMSolverSinglestep", noisy, steps, **last, **config)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis(order: int, final: bool, steps: int) -> None:
    options: dict[str, Any] = {"solver_order": order, "lower_order_final": final}
    actual = ours(DEIS(**options), in_double("DEISMultistep", **options), steps)
    check(actual, theirs(in_double("DEISMultistep", **options), steps), 1e-11)


UNIPC: list[dict[str, Any]] = [
    {"solver_order": 2, "solver_type": "bh1", "predict_x0": False},
    {"solver_order": 3, "disable_corrector": (0, 2)},
    {"solver_order": 3, "lower_order_final": False},
    *({"solver_order": order, "solver_type": b} for order in (1, 2, 4) for b in ("bh1", "bh2")),
]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("options", UNIPC, ids=repr)
def test_unipc(options: dict[str, Any], steps: int) -> None:
    compare("UniPCMultistep", UniPC(**options), steps, **MIN, **options)


@pytest.mark.parametrize("steps", STEPS)
def test_unipc_onto_clean_data(steps: int) -> None:
    compare("UniPCMultistep", UniPC(3), steps, solver_order=3, use_karras_sigmas=True)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("form", ["data_prediction", "noise_prediction"])
@pytest.mark.parametrize("orders", [(1, 1), (2, 2), (3, 3), (3, 4), (2, 1)], ids=repr)
def test_sa_solver(orders: tuple[int, int], form: str, steps: int) -> None:
    """To the last digits of float64. Its tau is 1 at timesteps 200 .. 800."""
    config = dict(zip(("predictor_order", "corrector_order"), orders, strict=True))
    config |= {"algorithm_type": form}
    chain = schedules.linear()
    low, high = (chain.sigma(t) / chain.alpha(t) for t in (199.5, 800.5))
    sampler = SASolver(*orders, form, tau_low=low, tau_high=high)
    actual = ours(sampler, in_double("SASolver", **config), steps)
    check(actual, theirs(in_double("SASolver", **config), steps), 1e-11)


@pytest.mark.parametrize("steps", STEPS)
def test_lms(steps: int) -> None:
    pytest.importorskip("scipy", reason="diffusers integrates with it")

    def scheduler() -> Any:
        return diffusers.LMSDiscreteScheduler(timestep_spacing="trailing")

    actual = k_coordinates.ours(LMS(), scheduler(), steps)
    check(actual, k_coordinates.theirs(scheduler(), steps, "lms_discrete"), 1e-6)


@pytest.mark.parametrize("steps", STEPS)
def test_ipndm(steps: int) -> None:
    """At its first time alpha is 0, where it takes x_0 = 0. Its sigma is sin(pi t / 2)^2."""
    scheduler = diffusers.IPNDMScheduler()
    scheduler.set_timesteps(steps)
    grid = scheduler.betas.double().arcsin().numpy() * (2.0 / np.pi)
    told = dict(zip(grid.tolist(), scheduler.timesteps.tolist(), strict=False))
    actual: list[np.ndarray] = []
    sample(
        Denoiser(model, Angular(), "v_prediction", timestep=told.__getitem__),
        sampler=IPNDM(from_nothing=True),
        grid=grid,
        x_init=inputs(1)[0],
        callback=lambda step, t, x, x0: actual.append(x),
    )
    check(actual, theirs(scheduler, steps))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("steps", STEPS)
def test_pndm(steps: int, skip: bool, prediction: str) -> None:
    """diffusers counts evaluations: four in each of the first three steps, or two in the first."""
    config: dict[str, Any] = {"skip_prk_steps": skip, "prediction_type": prediction}
    states = theirs(diffusers.PNDMScheduler(steps_offset=1, **config), steps)
    expected = states[1:] if skip else [states[3], states[7], *states[11:]]
    actual: list[np.ndarray] = []
    chain = schedules.linear()
    sample(
        Denoiser(model, chain, prediction),
        sampler=PNDM(skip, prediction),
        grid=[*grids.leading(chain, steps, 1), 0],
        x_init=inputs(1)[0],
        callback=lambda step, t, x, x0: actual.append(x),
    )
    check(actual, expected)
