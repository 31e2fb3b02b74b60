"""SDEdit, editing by inversion, spherical interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import random, sample
from pydiff.diffusion import schedules
from pydiff.errors import ConfigError, ShapeError
from pydiff.samplers import DDIM, edit, image_to_image, slerp
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.linear()
MIXTURE = GaussianMixture([[2.0, 0.0], [-2.0, 1.0]], [0.05, 0.1], [0.6, 0.4])
DENOISER = MIXTURE.denoiser(SCHEDULE)
IMAGES = MIXTURE.sample(6, seed=1)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("strength, steps, made", [(1.0, 20, 20), (0.5, 20, 10), (0.3, 7, 2)])
def test_the_last_steps_are_made_from_the_noised_image(
    strength: float, steps: int, made: int
) -> None:
    times: list[Any] = []
    options: dict[str, Any] = {"callback": lambda step, t, x, x0: times.append(t), "seed": 4}
    x = image_to_image(DENOISER, IMAGES, strength, steps=steps, **options)
    whole: list[Any] = []
    sample(DENOISER, (1, 2), steps=steps, callback=lambda step, t, x, x0: whole.append(t))
    assert times == whole[-made:] and x.dtype == np.float64
    eps = random.normal(4, IMAGES.shape, stream="init", dtype=np.float64)
    start = SCHEDULE.add_noise(IMAGES, eps, times[0])
    again = sample(DENOISER, x_init=start, grid=[*times, -1])
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(
        x, image_to_image(DENOISER, IMAGES, strength, steps=steps, eps=eps)
    )


def test_strength_moves_an_image_from_itself_to_the_data() -> None:
    """Little noise keeps an outlier's place; much noise brings it among the data."""
    outlier = np.tile([[1.0, 3.0]], (400, 1))
    moved = [
        np.linalg.norm(image_to_image(DENOISER, outlier, s, DDIM(1.0), 50) - outlier, axis=1).mean()
        for s in (0.04, 0.3, 0.9)
    ]
    assert moved[0] < moved[1] < moved[2]
    far = image_to_image(DENOISER, outlier, 1.0, DDIM(1.0), 100, "trailing")
    shares = np.exp(MIXTURE.log_component(far, 1.0, 0.05)).mean(1)
    np.testing.assert_allclose(shares, MIXTURE.weights, atol=0.08)


def test_image_i_is_the_same_alone() -> None:
    x = image_to_image(DENOISER, IMAGES, 0.5, DDIM(1.0), 20)
    alone = image_to_image(DENOISER, IMAGES[3:4], 0.5, DDIM(1.0), 20, first_image=3)
    np.testing.assert_array_equal(alone[0], x[3])


def test_edits_with_one_denoiser_come_back() -> None:
    """To the first order in the step; and from component to component they are the exact maps."""
    errors = [
        np.abs(edit(DENOISER, DENOISER, IMAGES, 0.8, steps=n, spacing="trailing") - IMAGES).max()
        for n in (50, 200)
    ]
    assert errors[1] < 0.4 * errors[0] < 0.2
    source, target = MIXTURE.component(0), MIXTURE.component(1)
    ends = [m.denoiser(SCHEDULE) for m in (source, target)]
    x = source.sample(6, seed=2)
    moved = edit(*ends, x, steps=500, spacing="trailing")
    exact = target.flow_map(source.flow_map(x, SCHEDULE, -1, 999), SCHEDULE, 999, -1)
    np.testing.assert_allclose(moved, exact, atol=0.02)


def test_slerp_keeps_the_length_of_noise() -> None:
    a, b = RNG.standard_normal((2, 3, 32, 32, 3))
    for weight in (0.0, 0.25, 0.5, 1.0):
        middle = slerp(a, b, weight)
        assert middle.std() == pytest.approx(1.0, abs=0.03)
        np.testing.assert_allclose(slerp(b, a, 1.0 - weight), middle, atol=1e-12)
    np.testing.assert_allclose(slerp(a, b, 0.0), a, atol=1e-12)
    np.testing.assert_allclose(slerp(a, b, 1.0), b, atol=1e-12)
    each = slerp(a, b, [0.0, 0.3, 1.0])
    np.testing.assert_array_equal(each[1], slerp(a[1:2], b[1:2], 0.3)[0])


def test_slerp_of_unit_vectors_turns_by_equal_angles() -> None:
    a, b = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    for w in (0.2, 0.7):
        turned = [[np.cos(w * np.pi / 2), np.sin(w * np.pi / 2)]]
        np.testing.assert_allclose(slerp(a, b, w), turned, atol=1e-12)
    np.testing.assert_allclose(slerp(a, 3.0 * a, 0.5), 2.0 * a)
    np.testing.assert_allclose(slerp(0.0 * a, b, 0.5), 0.5 * b)
    assert slerp(a.astype(np.float32), b.astype(np.float32), 0.5).dtype == np.float32


def test_bad_input() -> None:
    for strength in (0.0, 1.5, np.nan, "1", True):
        with pytest.raises(ConfigError, match="strength"):
            image_to_image(DENOISER, IMAGES, strength)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="leaves none"):
        image_to_image(DENOISER, IMAGES, 0.1, steps=5)
    with pytest.raises(ShapeError, match="slerp"):
        slerp(IMAGES, IMAGES[:2], 0.5)
    with pytest.raises(ConfigError, match="weight"):
        slerp(IMAGES, IMAGES, np.nan)
