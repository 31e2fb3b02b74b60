"""Models may write each output over their last one; callbacks may watch and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pydiff import Denoiser, sample, schedules
from pydiff.diffusion.conditioning import Observation
from pydiff.diffusion.guidance import (
    Autoguidance,
    BatchedClassifierFree,
    CFGPlusPlus,
    ClassifierFree,
)
from pydiff.diffusion.operators import Mask
from pydiff.samplers import DDPM, DPS, SAMPLERS, Heun, Sampler, make_sampler

SCHEDULE = schedules.linear()
X = np.random.default_rng(3).standard_normal((4, 2, 2, 3)).astype(np.float32)


def bent(x: np.ndarray, t: float, shift: Any = 0.0) -> np.ndarray:
    return 0.8 * np.tanh(1.3 * x + 0.0007 * t + np.reshape(shift, (-1, 1, 1, 1))) - 0.2 * x


def wide(x: np.ndarray, t: float) -> np.ndarray:
    """With a variance beside the prediction."""
    return np.concatenate([bent(x, t), np.tanh(x + 1.0)], -1)


def reusing(model: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """As sessions with a bound output do."""
    kept: list[np.ndarray] = []

    def run(x: np.ndarray, t: float, **inputs: Any) -> np.ndarray:
        output = model(x, t, **inputs).astype(x.dtype)
        if not kept or kept[0].shape != output.shape:
            kept[:] = [np.empty_like(output)]
        np.copyto(kept[0], output)
        return kept[0]

    return run


def fresh(model: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda x, t, **inputs: model(x, t, **inputs).astype(x.dtype)


def agree(denoiser: Callable[[Any], Any], sampler: str | Sampler) -> None:
    """denoiser(reusing) and denoiser(fresh) give the same bits, watched or not."""
    runs = [watched(denoiser(kind), sampler, see) for kind in (reusing, fresh) for see in (0, 1)]
    for run in runs:
        np.testing.assert_array_equal(run[0], runs[3][0])
    assert len(runs[1]) == len(runs[3]) > 1
    for ours, theirs in zip(runs[1], runs[3], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def watched(denoiser: Any, sampler: str | Sampler, see: int) -> list[np.ndarray]:
    """The result, and if wanted every x and x_0 as they were when they were shown."""
    shown: list[np.ndarray] = []

    def callback(step: int, t: float, x: np.ndarray, x0: np.ndarray) -> None:
        shown.extend((x.copy(), x0.copy()))

    options: dict[str, Any] = {"callback": callback} if see else {}
    start = 0.1 * X if make_sampler(sampler).inverse else X
    y = sample(denoiser, x_init=start, sampler=sampler, steps=6, spacing="trailing", **options)
    return [y, *shown]


@pytest.mark.parametrize("clip", [None, 0.7])
@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers(name: str, clip: float | None) -> None:
    agree(lambda kind: Denoiser(kind(bent), SCHEDULE, "v_prediction", clip), name)


def test_learned_variance() -> None:
    sampler = DDPM("learned_range")
    agree(lambda kind: Denoiser(kind(wide), SCHEDULE, learned_variance=True), sampler)

    def guided(kind: Any) -> ClassifierFree:
        one = Denoiser(kind(wide), SCHEDULE, learned_variance=True)
        return ClassifierFree(one, one, 2.0)

    agree(guided, sampler)


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda c, u: ClassifierFree(c, u, 2.0),
        lambda c, u: ClassifierFree(c, u, 2.0, rescale=0.5),
        lambda c, u: CFGPlusPlus(c, u, 0.6),
        lambda c, u: Autoguidance(c, u, 2.0),
        lambda c, u: ClassifierFree(ClassifierFree(c, u, 2.0), CFGPlusPlus(u, c, 0.5), 1.5),
    ],
)
def test_guidance_by_one_model(wrap: Any, sampler: str) -> None:
    """Both conditions are answered in one buffer."""

    def guided(kind: Any) -> Any:
        model = kind(bent)
        cond = Denoiser(lambda x, t: model(x, t, shift=0.5), SCHEDULE)
        uncond = Denoiser(lambda x, t: model(x, t, shift=-0.5), SCHEDULE, clip=0.9)
        return wrap(cond, uncond)

    agree(guided, sampler)


def test_guidance_by_one_call() -> None:
    def guided(kind: Any) -> BatchedClassifierFree:
        return BatchedClassifierFree(
            kind(bent), SCHEDULE, {"shift": [0.5]}, {"shift": [-0.5]}, guidance_scale=2.0
        )

    agree(guided, "heun")


def test_dps_around_two_evaluations() -> None:
    known = np.zeros((2, 2, 1), bool)
    known[0] = True
    observation = Observation(Mask(known), np.zeros_like(X[:1]))

    def slope(x: np.ndarray, t: float, v: np.ndarray) -> np.ndarray:
        return v * (1.04 * (1.0 - np.tanh(1.3 * x + 0.0007 * t) ** 2) - 0.2)

    def posed(kind: Any) -> Denoiser:
        return Denoiser(kind(bent), SCHEDULE, vjp=slope)

    agree(posed, DPS(observation, Heun(), scale=0.1))
