"""What every sampler of the registry promises: any schedule, any thread, either precision."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pydiff import Denoiser, sample, schedules
from pydiff.errors import ConfigError, NonFiniteError
from pydiff.samplers import SAMPLERS, Langevin, Sampler
from pydiff.testing.oracles import GaussianMixture

SCHEDULES = {
    "chain": schedules.linear(),
    "zero terminal SNR": schedules.linear().rescale_zero_terminal_snr(),
    "vp": schedules.vp(),
    "sub-vp": schedules.sub_vp(),
    "ve": schedules.ve(),
    "edm": schedules.edm(),
    "flow": schedules.flow(),
    "flow shifted": schedules.flow(shift=3.0),
    "cosine": schedules.cosine_logsnr(),
}
MIXTURE = GaussianMixture(
    [[0.8, 0.0], [-0.8, 0.4], [0.0, -0.8]], [0.02, 0.03, 0.01], [0.5, 0.3, 0.2]
)
MEAN, COVARIANCE = MIXTURE.moments()
# consistency models are another kind of model: their predictions are samples, not means
DISTILLED = {"lcm", "consistency"}
# one noise level; 40 updates in all
LOCAL = {"langevin", "annealed_langevin"}
SAMPLING = [name for name in SAMPLERS if not SAMPLERS[name].inverse]


def draw(name: str | Sampler, schedule: Any, n: int = 600, **options: Any) -> np.ndarray:
    """Points of the plane after 40 steps even in log-SNR."""
    options = {"steps": 40, "spacing": "log_snr", "seed": 5} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return sample(MIXTURE.denoiser(schedule), (n, 2), name, **options)


@pytest.mark.parametrize("where", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLING)
def test_any_sampler_on_any_schedule(name: str, where: str) -> None:
    y = draw(name, SCHEDULES[where])
    assert y.shape == (600, 2) and y.dtype == np.float32 and np.isfinite(y).all()
    if name in DISTILLED | LOCAL:
        return
    np.testing.assert_allclose(y.mean(0), MEAN, atol=0.12)
    np.testing.assert_allclose(np.cov(y.T), COVARIANCE, atol=0.12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_eight_threads_share_one_object(name: str) -> None:
    """Bit for bit what one thread gives, for seeds that run at the same time."""
    sampler, schedule = SAMPLERS[name](), schedules.vp()
    options: dict[str, Any] = {"steps": 8}
    if sampler.inverse:
        options["x_init"] = MIXTURE.sample(16).astype(np.float32)

    def run(seed: int) -> np.ndarray:
        with_seed = options | {"seed": seed}
        return draw(sampler, schedule, 16, **with_seed)

    alone = [run(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(run, list(range(8)) * 3))
    for seed, y in enumerate(together):
        np.testing.assert_array_equal(y, alone[seed % 8])


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    if SAMPLERS[name].adaptive or name == "predictor_corrector":
        pytest.skip("its steps follow the whole batch, to its tolerance")
    if SAMPLERS[name].inverse:
        pytest.skip("it draws nothing")
    whole = draw(name, schedules.vp(), 6, steps=8)
    part = draw(name, schedules.vp(), 2, steps=8, first_image=3)
    np.testing.assert_allclose(part, whole[3:5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SAMPLING)
def test_a_nan_names_step_and_sampler(name: str) -> None:
    calls = 0

    def model(x: np.ndarray, t: Any) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.full_like(x, np.nan) if calls > 3 else 0.1 * x

    with pytest.raises(NonFiniteError, match=f"sampler {name}") as caught:
        sample(Denoiser(model, schedules.vp()), (2, 3), SAMPLERS[name](), steps=12)
    assert "step" in str(caught.value) and "NaN" in str(caught.value)


@pytest.mark.parametrize("name", SAMPLERS)
def test_names_and_papers(name: str) -> None:
    cls = SAMPLERS[name]
    sampler = cls()
    assert cls.name == name and len(cls.paper) > 20 and cls.__doc__
    assert sampler.order >= 1 and sampler.evaluations >= 1
    assert isinstance(sampler.stochastic, bool)
    assert hash(sampler) == hash(cls()) and sampler == cls()
    with pytest.raises(AttributeError):
        sampler.name_of_nothing = 1  # type: ignore[attr-defined]


def test_langevin_refuses_pure_noise_levels_outside() -> None:
    with pytest.raises(ConfigError):
        draw(Langevin(t=1e9), schedules.vp())


@pytest.mark.parametrize("name", [name for name in SAMPLERS if SAMPLERS[name].adaptive])
def test_adaptive_runs_reach_levels_that_rounding_tells_apart_from_the_last(name: str) -> None:
    vp = schedules.vp()
    x = np.random.default_rng(1).standard_normal((50, 2))
    for end in (np.nextafter(vp.t_first, 1.0), vp.t_first):
        y = sample(MIXTURE.denoiser(vp), x_init=x, sampler=name, grid=[1.0, float(end), 0.0])
        plain = sample(MIXTURE.denoiser(vp), x_init=x, sampler=name, grid=[1.0, 0.0])
        np.testing.assert_allclose(y, plain, atol=1e-3)
