"""Runs diffusers' schedulers on fixed inputs and draws, and pydiff's from the same configs."""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import diffusers.schedulers.scheduling_utils  # noqa: F401 (before any stub is in place)
import mpmath
import numpy as np
import torch

from pydiff import schedulers

SHAPE = (2, 4, 4, 3)
TOLERANCE = 1e-4
_MODULES = {
    "DPMSolverSDEScheduler": "dpmsolver_sde",
    "EDMDPMSolverMultistepScheduler": "edm_dpmsolver_multistep",
    "EDMEulerScheduler": "edm_euler",
    "KDPM2DiscreteScheduler": "k_dpm_2_discrete",
    "KDPM2AncestralDiscreteScheduler": "k_dpm_2_ancestral_discrete",
    "LMSDiscreteScheduler": "lms_discrete",
    "ScoreSdeVeScheduler": "sde_ve",
    "SASolverScheduler": "sasolver",
    "UniPCMultistepScheduler": "unipc_multistep",
    "DDIMInverseScheduler": "ddim_inverse",
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DEISMultistepScheduler": "deis_multistep",
    "DPMSolverMultistepScheduler": "dpmsolver_multistep",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep",
    "EulerAncestralDiscreteScheduler": "euler_ancestral_discrete",
    "EulerDiscreteScheduler": "euler_discrete",
    "FlowMatchEulerDiscreteScheduler": "flow_match_euler_discrete",
    "HeunDiscreteScheduler": "heun_discrete",
    "IPNDMScheduler": "ipndm",
    "LCMScheduler": "lcm",
    "PNDMScheduler": "pndm",
    "TCDScheduler": "tcd",
}


def _quadrature(function: Callable[[float], Any], a: Any, b: Any, **_: Any) -> tuple[float]:
    """Stands in for scipy.integrate.quad: Gauss-Legendre, exact for the polynomials of LMS."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    middle, half = (float(b) + float(a)) / 2, (float(b) - float(a)) / 2
    values = [float(function(middle + half * node)) for node in nodes]
    return (half * float(weights @ values),)


@functools.cache
def _quantile(p: float, a: float, b: float) -> float:
    """Stands in for scipy.stats.beta.ppf."""
    if p in (0.0, 1.0):
        return float(p)
    cdf = lambda x: mpmath.betainc(a, b, 0, x, regularized=True) - p  # noqa: E731
    return float(mpmath.findroot(cdf, (1e-9, 1 - 1e-9), solver="anderson", tol=1e-20))


def _stub(name: str, **values: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(values)
    return module


@functools.cache
def peer_class(name: str) -> Any:
    """The scheduler's class; scipy and torchsde, which some import, may be absent."""
    path = f"diffusers.schedulers.scheduling_{_MODULES[name]}"
    beta = _stub("beta", ppf=_quantile)
    scipy = _stub("scipy", stats=_stub("stats", beta=beta), integrate=_stub("i", quad=_quadrature))
    stubs = {"scipy": scipy, "scipy.stats": scipy.stats, "torchsde": _stub("torchsde")}
    absent = [key for key in stubs if key not in sys.modules]
    sys.modules.update({key: stubs[key] for key in absent})
    try:
        module = importlib.import_module(path)
    finally:
        for key in absent:
            del sys.modules[key]
    values = {"is_scipy_available": lambda: True, "scipy": scipy, "integrate": scipy.integrate}
    vars(module).update(values)
    return getattr(module, name)


@contextmanager
def injected(name: str, draws: Iterator[np.ndarray]) -> Iterator[None]:
    """Every draw of the scheduler comes from `draws`."""
    module = f"diffusers.schedulers.scheduling_{_MODULES[name]}"

    def draw(*_: Any, **__: Any) -> Any:
        return torch.from_numpy(channels_first(next(draws)))

    with ExitStack() as stack:
        if name == "DPMSolverSDEScheduler":
            stack.enter_context(mock.patch(f"{module}.BrownianTreeNoiseSampler", lambda *_: draw))
        elif hasattr(sys.modules[module], "randn_tensor"):
            stack.enter_context(mock.patch(f"{module}.randn_tensor", draw))
        yield


class Run(NamedTuple):
    """States after each step; what the model was told and given."""

    states: list[np.ndarray]
    timesteps: list[float]
    inputs: list[np.ndarray]


def channels_first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def channels_last(x: Any) -> np.ndarray:
    return np.moveaxis(x.numpy() if hasattr(x, "numpy") else x, 1, -1)


def model(x: np.ndarray, t: float, learned: bool = False) -> np.ndarray:
    """Smooth, bounded, of both x and t; learned: with a variance beside it."""
    out = 0.8 * np.tanh(1.3 * x + 0.0007 * t) - 0.2 * x
    return np.concatenate([out, 0.3 * np.sin(x) + 0.4], axis=-1) if learned else out


def inputs(seed: int = 7) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """x_T and an endless list of draws, float64."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal(SHAPE)
    return x, (generator.standard_normal(SHAPE) for _ in itertools.count())


def run_ours(
    config: dict[str, Any], steps: int, compatible: bool, mu: float | None, **options: Any
) -> Run:
    """pydiff's run of a config."""
    run, learned = Run([], [], []), _learned(config)

    def recorded(x: np.ndarray, t: float) -> np.ndarray:
        run.timesteps.append(float(t))
        run.inputs.append(x)
        output = model(x, float(t), learned)
        return -output / t if config["_class_name"] == "ScoreSdeVeScheduler" else output

    x, draws = inputs()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "terminal SNR")
        scheduler = schedulers.from_config(config, compatible, **options)
    scheduler.sample(
        recorded, x, steps, lambda step, shape: next(draws), mu=mu,
        callback=lambda step, t, x, x0: run.states.append(x),
    )  # fmt: skip
    return run


@functools.lru_cache(4)
def _peer(config: str) -> Any:
    """A scheduler; set_timesteps starts it anew, and making some takes longer than their run."""
    values = json.loads(config)
    return peer_class(values.pop("_class_name"))(**values)


def run_theirs(config: dict[str, Any], steps: int, mu: float | None, **options: Any) -> Run:
    """diffusers' run of the same config; options are arguments of `step`."""
    name, run, learned = config["_class_name"], Run([], [], []), _learned(config)
    # set_timesteps of this class may change lower_order_final for good
    make = _peer.__wrapped__ if name == "DPMSolverSinglestepScheduler" else _peer
    scheduler = make(json.dumps(config))
    scheduler.set_timesteps(steps, **({} if mu is None else {"mu": mu}))
    x, draws = inputs()
    state = torch.from_numpy(channels_first(x)) * getattr(scheduler, "init_noise_sigma", 1.0)
    if name == "ScoreSdeVeScheduler":
        return _run_ve(scheduler, steps, state, draws)
    with injected(name, draws):
        for t in scheduler.timesteps:
            scaled = (
                channels_last(scheduler.scale_model_input(state, t))
                if hasattr(scheduler, "scale_model_input")
                else channels_last(state)
            )
            run.timesteps.append(float(t))
            run.inputs.append(scaled)
            output = torch.from_numpy(channels_first(model(scaled, float(t), learned)))
            state = scheduler.step(output, t, state, **options).prev_sample
            if _is_whole(scheduler, len(run.timesteps)):
                run.states.append(channels_last(state))
    return run


def _is_whole(scheduler: Any, calls: int) -> bool:
    """Whether the state is the end of a step, not a point inside it."""
    if hasattr(scheduler, "prk_timesteps"):
        if scheduler.config.skip_prk_steps:
            return calls != 1 or scheduler.num_inference_steps == 1
        inner = len(scheduler.prk_timesteps)
        return calls > inner or calls % 4 == 0
    whole = getattr(scheduler, "state_in_first_order", True)
    return whole or calls == len(scheduler.timesteps)


def _run_ve(scheduler: Any, steps: int, state: Any, draws: Iterator[np.ndarray]) -> Run:
    """As diffusers' ScoreSdeVePipeline: the corrector, then the predictor."""
    run = Run([], [], [])
    scheduler.set_sigmas(steps)

    def score(sigma: float) -> Any:
        run.timesteps.append(sigma)
        run.inputs.append(channels_last(state))
        return torch.from_numpy(channels_first(-model(channels_last(state), sigma) / sigma))

    with injected("ScoreSdeVeScheduler", draws):
        for i, t in enumerate(scheduler.timesteps):
            sigma = float(scheduler.sigmas[i])
            for _ in range(scheduler.config.correct_steps):
                state = scheduler.step_correct(score(sigma), state).prev_sample
            state = scheduler.step_pred(score(sigma), t, state).prev_sample
            run.states.append(channels_last(state))
    return run


def _learned(config: dict[str, Any]) -> bool:
    return config.get("variance_type") in ("learned", "learned_range")


def assert_same(ours: Run, theirs: Run, timestep_tolerance: float = 1e-3) -> None:
    """Timesteps, inputs and states: each array to a tolerance of its largest value."""
    np.testing.assert_allclose(ours.timesteps, theirs.timesteps, rtol=1e-5, atol=timestep_tolerance)
    for what, mine, other in (
        ("input", ours.inputs, theirs.inputs),
        ("state", ours.states, theirs.states),
    ):
        for step, (a, b) in enumerate(zip(mine, other, strict=True)):
            error = np.abs(a - b).max() / max(1.0, np.abs(b).max())
            assert error <= TOLERANCE, f"{what} {step}: {error}"
