"""Time features against the formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff.nn.embeddings import GaussianFourier, sinusoids

T = np.array([0, 1, 500, 999])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 1])
def test_sinusoids(flip: bool, shift: int) -> None:
    frequency = np.exp(-np.log(10000) * np.arange(16) / (16 - shift))
    pair = [np.sin(T[:, None] * frequency), np.cos(T[:, None] * frequency)]
    wanted = np.concatenate(pair[::-1] if flip else pair, axis=1)
    features = sinusoids(T, 32, flip, shift)
    assert features.dtype == np.float32
    # At t = 999 the float32 rounding of the frequencies moves angles by up to 6e-5.
    np.testing.assert_allclose(features, wanted, rtol=0, atol=1e-4)
    np.testing.assert_allclose(features[:2], wanted[:2], rtol=0, atol=2e-7)


def test_an_odd_number_of_features_ends_with_zeros() -> None:
    features = sinusoids(T, 7)
    assert features.shape == (4, 7)
    np.testing.assert_array_equal(features[:, 6], 0)


def test_times_may_be_fractional() -> None:
    features = sinusoids(np.array([0.25]), 2, freq_shift=0)[0]
    np.testing.assert_allclose(features, [np.sin(0.25), np.cos(0.25)], rtol=1e-7)


def test_fourier_features_of_float64_times_are_exact() -> None:
    layer = GaussianFourier(4).astype(np.float64)
    t = np.array([0.03, 71.5])
    angle = 2 * np.pi * np.log(t)[:, None] * layer.weight.data
    wanted = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    np.testing.assert_allclose(layer(t), wanted, rtol=0, atol=1e-12)


@pytest.mark.peers
def test_features_equal_diffusers() -> None:
    torch = pytest.importorskip("torch")
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    t = np.arange(1000)
    for flip, shift in [(False, 1), (True, 0)]:
        theirs = embeddings.get_timestep_embedding(torch.from_numpy(t), 128, flip, shift).numpy()
        np.testing.assert_allclose(sinusoids(t, 128, flip, shift), theirs, rtol=0, atol=1.3e-4)
