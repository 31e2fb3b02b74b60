"""Conditioning and guidance through a real network: the built-in digits, restored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import data, guidance, sample
from pydiff.diffusion import Denoiser
from pydiff.diffusion.conditioning import DDNM, MomentMatching, Observation, PiGDM
from pydiff.diffusion.operators import AveragePool
from pydiff.pipelines import builtin
from pydiff.samplers import DPS, Replacement

PIPE = builtin.digits()
IMAGES, LABELS = (array[:8] for array in data.digits("test"))
DENOISER = Denoiser(
    lambda x, t: PIPE.model(x, t, class_labels=LABELS), PIPE.denoiser(LABELS).schedule, clip=1.0
)
SEEN = Observation(AveragePool(2), AveragePool(2).apply(IMAGES))


@pytest.fixture(scope="module")
def blind() -> float:
    return error(sample(DENOISER, IMAGES.shape, sampler="ddpm", steps=25, spacing="trailing"))


def error(x: np.ndarray) -> float:
    return float(np.sqrt(((x - IMAGES) ** 2).mean()))


@pytest.mark.parametrize(
    "denoiser, sampler",
    [
        (DDNM(DENOISER, SEEN), "ddpm"),
        (PiGDM(DENOISER, SEEN), "ddpm"),
        (MomentMatching(DENOISER, SEEN, iterations=3), "ddpm"),
        (DENOISER, DPS(SEEN)),
        (DENOISER, Replacement(SEEN)),
    ],
    ids=["ddnm", "pigdm", "moment_matching", "dps", "replacement"],
)
def test_what_was_seen_helps(denoiser: Any, sampler: Any, blind: float) -> None:
    """Below 0.65 of the error of a sample that knows the class alone; no weight got a gradient."""
    x = sample(denoiser, IMAGES.shape, sampler=sampler, steps=25, spacing="trailing")
    assert error(x) < 0.65 * blind
    assert all(p.grad is None for p in PIPE.model.parameters())


def test_one_call_for_both_classes_is_two_calls() -> None:
    other = {"class_labels": (LABELS + 1) % 10}
    batched = guidance.BatchedClassifierFree(
        PIPE.model, DENOISER.schedule, {"class_labels": LABELS}, other, 2.0, clip=1.0
    )
    uncond = Denoiser(lambda x, t: PIPE.model(x, t, **other), DENOISER.schedule, clip=1.0)
    x = np.random.default_rng(0).standard_normal(IMAGES.shape).astype(np.float32)
    pair = guidance.ClassifierFree(DENOISER, uncond, 2.0)
    np.testing.assert_allclose(batched.predict(x, 500).x0, pair.predict(x, 500).x0, atol=1e-5)
