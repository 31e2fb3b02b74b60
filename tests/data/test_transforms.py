"""Crops, sizes, mirrors and value ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pydiff.data import center_crop, denormalise, normalise, random_flip, resize
from pydiff.errors import ConfigError, DataError, ShapeError

IMAGES = np.random.default_rng(0).random((6, 5, 8, 2)).astype(np.float32)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 5))))
def test_bytes_survive_the_round_trip(pixels: np.ndarray) -> None:
    images = normalise(pixels)
    assert images.dtype == np.float32 and np.abs(images).max() <= 1.0
    np.testing.assert_array_equal(np.rint(denormalise(images) * 255), pixels)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_values_outside_the_range_are_errors(value: float) -> None:
    with pytest.raises(DataError, match="outside"):
        normalise(np.array([0.5, value]), (0.0, 1.0))


def test_denormalise_clips_but_keeps_nan() -> None:
    np.testing.assert_array_equal(
        denormalise(np.array([-3.0, 0.0, 9.0, np.nan])), [0, 0.5, 1, np.nan]
    )


def test_center_crop() -> None:
    np.testing.assert_array_equal(center_crop(IMAGES, (3, 4)), IMAGES[:, 1:4, 2:6])
    np.testing.assert_array_equal(center_crop(IMAGES, 5), IMAGES[:, :, 1:6])
    with pytest.raises(ShapeError, match="6 x 6"):
        center_crop(IMAGES, 6)
    with pytest.raises(ShapeError, match=r"\(N, H, W, C\)"):
        center_crop(IMAGES[0], 3)
    for size in (0, 1.5, (1,), (2, -1)):
        with pytest.raises(ConfigError, match="size"):
            center_crop(IMAGES, size)  # type: ignore[arg-type]


def test_resize_keeps_constants_means_and_range() -> None:
    flat = np.full((2, 9, 7, 3), 0.3, np.float32)
    np.testing.assert_allclose(resize(flat, (4, 5)), 0.3, rtol=1e-6)
    smaller = resize(IMAGES, (2, 4))
    assert smaller.shape == (6, 2, 4, 2)
    np.testing.assert_allclose(smaller.mean((1, 2)), IMAGES.mean((1, 2)), atol=0.06)
    step = np.zeros((1, 8, 8, 1), np.float32)
    step[:, :, 4:] = 1.0
    larger = resize(step, 32)
    assert larger.min() == 0.0 and larger.max() == 1.0  # bicubic alone would overshoot


def test_flips_are_keyed_by_seed_step_and_image() -> None:
    images = np.arange(4000.0).reshape(1000, 1, 4, 1)
    flipped = random_flip(images, seed=3, step=2)
    mirrored = flipped[:, 0, 0, 0] != images[:, 0, 0, 0]
    assert 420 < mirrored.sum() < 580
    np.testing.assert_array_equal(flipped[mirrored], images[mirrored][:, :, ::-1])
    np.testing.assert_array_equal(random_flip(images[7:9], 3, 2, first_image=7), flipped[7:9])
    assert (random_flip(images, 3, 3) != flipped).any()
    np.testing.assert_array_equal(random_flip(images, 3, p=0.0), images)
    np.testing.assert_array_equal(random_flip(images, 3, p=1.0), images[:, :, ::-1])
