"""DDPM with a learned variance against diffusers' DDPMScheduler, noise injected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sampler_cases import assert_same, inputs, model

from pydiff.diffusion import Denoiser, schedules
from pydiff.samplers import DDPM, sample

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
from sampler_peer import injected  # noqa: E402

pytestmark = pytest.mark.peers


def network(x: np.ndarray, t: Any, kind: str) -> np.ndarray:
    """The prediction, then what is learned of the variance, channels last."""
    v = 0.6 * np.sin(3.0 * x + 0.01 * float(t))
    return np.concatenate([model(x, t), v if kind == "learned_range" else (1.0 + v) * 1e-3], -1)


def trajectory(kind: str, steps: int, **config: Any) -> list[np.ndarray]:
    """diffusers splits the second axis, so channels go there."""
    scheduler = diffusers.DDPMScheduler(variance_type=kind, clip_sample=False, **config)
    scheduler.set_timesteps(steps)
    x, z = inputs(steps)
    state, states = x, []
    with injected(np.moveaxis(z, -1, 2)):
        for t in scheduler.timesteps:
            output = np.moveaxis(network(state, t, kind), -1, 1)
            moved = torch.from_numpy(np.moveaxis(state, -1, 1))
            after = scheduler.step(torch.from_numpy(output.copy()), t, moved).prev_sample
            state = np.moveaxis(after.numpy(), 1, -1)
            states.append(state)
    return states


@pytest.mark.parametrize("kind", ["learned", "learned_range"])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(("spacing", "steps"), [("leading", 5), ("leading", 50), ("trailing", 20)])
def test_trajectory(kind: str, prediction: str, spacing: str, steps: int) -> None:
    config = {"prediction_type": prediction, "timestep_spacing": spacing}
    expected = trajectory(kind, steps, **config)
    x, z = inputs(steps)
    states: list[np.ndarray] = []
    sample(
        Denoiser(
            lambda x, t: network(x, t, kind), schedules.linear(), prediction, learned_variance=True
        ),
        sampler=DDPM(kind),
        steps=steps,
        spacing=spacing,
        x_init=x,
        noise=lambda step, shape: z[step],
        callback=lambda step, t, x, x0: states.append(x),
    )
    # diffusers adds noise in a last step from t > 0 to clean data, as under trailing
    kept = steps - (spacing == "trailing")
    assert_same(states[:kept], expected[:kept])
