"""Dynamic thresholding of Imagen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import Denoiser, schedules
from pydiff.diffusion import thresholding
from pydiff.errors import ConfigError


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_image_is_clipped_to_its_own_quantile(dtype) -> None:
    x0 = np.random.default_rng(0).standard_normal((3, 8, 8, 2)).astype(dtype)
    x0 *= np.array([0.1, 1.0, 5.0], dtype)[:, None, None, None]
    y = thresholding.dynamic(0.9, 3.0)(x0)
    assert y.dtype == dtype and y.shape == x0.shape
    np.testing.assert_array_equal(y[0], x0[0])  # its quantile is below 1
    s = np.quantile(np.abs(x0[1]), 0.9).astype(dtype)
    np.testing.assert_allclose(y[1], np.clip(x0[1], -s, s) / s, rtol=1e-6)
    np.testing.assert_allclose(y[2], np.clip(x0[2], -3, 3) / 3, rtol=1e-6)


def test_the_default_bound_is_plain_clipping() -> None:
    x = np.full((2, 4), 3.0)
    denoiser = Denoiser(
        lambda x, t: x, schedules.linear(), "sample", clip=thresholding.dynamic(0.5)
    )
    assert denoiser(x, 10).tolist() == np.ones((2, 4)).tolist()


@pytest.mark.peers
def test_as_diffusers_has_it() -> None:
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    scheduler = diffusers.DDPMScheduler(
        thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=2.5
    )
    x0 = 3 * np.random.default_rng(1).standard_normal((4, 5, 6, 3))
    expected = scheduler._threshold_sample(torch.from_numpy(x0)).numpy()
    np.testing.assert_allclose(thresholding.dynamic(0.8, 2.5)(x0), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("ratio", "bound"),
    [(1.5, 1.0), (-0.1, 1.0), (0.9, 0.5), (float("nan"), 1.0), ("x", 1.0), (0.9, None)],
)
def test_refused(ratio: Any, bound: Any) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        thresholding.dynamic(ratio, bound)
