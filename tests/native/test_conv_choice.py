"""Which algorithm a convolution takes: by shape, within bounds, and forced where asked."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import _native, backend, config
from pydiff.errors import ConfigError

DIRECT, F2, F4 = 0, 2, 4


def chosen(size: int, ci: int, co: int, kernel: int = 3, stride: int = 1) -> int:
    return _native.conv2d_algorithm(size, size, ci, co, kernel, kernel, stride, stride)


def test_large_images_take_the_large_tile():
    assert chosen(32, 128, 128) == chosen(16, 256, 256) == chosen(64, 320, 320) == F4


def test_a_weight_that_comes_from_memory_weighs_more_than_multiplications():
    """256 channels: 2.4 MB as they are, 4.2 for F(2x2), 9.4 for F(4x4)."""
    assert [chosen(size, 256, 256) for size in (4, 8, 16)] == [DIRECT, F2, F4]
    assert chosen(8, 64, 64) == F4  # 0.6 MB stay in a cache


@pytest.mark.parametrize("shape", [(5, 1), (3, 2), (1, 1)])
def test_other_kernels_and_strides_are_direct(shape):
    assert chosen(32, 64, 64, *shape) == DIRECT


def test_few_channels_are_direct():
    assert chosen(32, 3, 128) == DIRECT


def test_no_transform_takes_more_than_64_megabytes():
    assert chosen(64, 1280, 1280) == DIRECT
    for algorithm in (F2, F4):
        size = _native.conv2d_packed_size(3, 3, 640, 640, algorithm)
        assert (4 * size <= 64 << 20) == (chosen(64, 640, 640) == algorithm or algorithm == F2)


@pytest.mark.parametrize("sizes", [(-1, 8), (8, -1), (1 << 40, 1 << 40)])
@pytest.mark.parametrize("algorithm", [DIRECT, F2, F4])
def test_sizes_that_cannot_be_packed(sizes, algorithm):
    with pytest.raises(ValueError, match="conv2d_packed_size"):
        _native.conv2d_packed_size(3, 3, *sizes, algorithm)


def arrays(rng, size=14, ci=9, co=11):
    x = rng.standard_normal((2, size, size, ci)).astype(np.float32)
    return x, rng.standard_normal((3, 3, ci, co)).astype(np.float32)


@pytest.mark.parametrize("algorithm", [DIRECT, F2, F4])
def test_a_packed_weight_gives_the_same_bits(algorithm, rng, isa):
    x, w = arrays(rng)
    packed = np.empty(_native.conv2d_packed_size(*w.shape, algorithm), np.float32)
    _native.conv2d_pack(w, packed, algorithm)
    results = []
    for given in (None, packed):
        y = np.empty((2, 14, 14, 11), np.float32)
        _native.conv2d(x, w, None, y, 1, 1, 1, 1, algorithm, given)
        results.append(y.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("algorithm", [F2, F4])
def test_an_image_is_the_same_in_any_batch(algorithm, rng, isa):
    """Also where one batch goes tile by tile through phases and another in blocks."""
    x = rng.standard_normal((9, 15, 13, 20)).astype(np.float32)
    w = rng.standard_normal((3, 3, 20, 70)).astype(np.float32)
    whole = np.empty((9, 15, 13, 70), np.float32)
    _native.conv2d(x, w, None, whole, 1, 1, 1, 1, algorithm)
    for i in (0, 8):
        alone = np.empty((1, 15, 13, 70), np.float32)
        _native.conv2d(x[i : i + 1], w, None, alone, 1, 1, 1, 1, algorithm)
        assert alone.tobytes() == whole[i : i + 1].tobytes()


@pytest.mark.parametrize(("algorithm", "ci", "co"), [(F4, 72, 100), (F2, 100, 150)])
def test_few_tiles_are_the_same_however_threads_share_them(algorithm, ci, co, rng, isa):
    """Their weights, 1 MB, are for a few threads taken by channels, for more by points."""

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    x, w, bias = normal(9, 9, 10, ci), normal(3, 3, ci, co), normal(co)
    add, residual = normal(9, co), normal(9, 9, 10, co)

    def run(images, chosen):
        y = np.empty((images, 9, 10, co), np.float32)
        more = None, add[:images], residual[:images], 0.7
        _native.conv2d(x[:images], w, bias, y, 1, 1, 1, 1, chosen, *more)
        return y

    whole = run(9, algorithm)
    np.testing.assert_allclose(whole, run(9, DIRECT), atol=2e-3)
    for threads in (1, 2, 3, 8):
        _native.set_num_threads(threads)
        assert run(1, algorithm).tobytes() == whole[:1].tobytes()


def test_exact_multiplies_directly(rng, monkeypatch):
    x, w = arrays(rng)
    direct = np.empty((2, 14, 14, 11), np.float32)
    _native.conv2d(x, w, None, direct, 1, 1, 1, 1, DIRECT)
    assert backend.conv2d(x, w, padding=1).tobytes() != direct.tobytes()
    monkeypatch.setattr(config, "_conv_algorithm", "exact")
    assert backend.conv2d(x, w, padding=1).tobytes() == direct.tobytes()


def test_unknown_settings_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="'fast'; allowed: auto, exact"):
        config.set_conv_algorithm("fast")
    monkeypatch.setenv("PYDIFF_CONV_ALGORITHM", "wino")
    monkeypatch.setattr(config, "_conv_algorithm", None)
    with pytest.raises(ConfigError, match="PYDIFF_CONV_ALGORITHM"):
        config.conv_algorithm()


def test_winograd_needs_its_kernel(rng):
    x, w = arrays(rng)
    y = np.empty((2, 14, 14, 11), np.float32)
    with pytest.raises(ValueError, match="algorithm must be"):
        _native.conv2d(x, w, None, y, 1, 1, 1, 1, 3)
    with pytest.raises(ValueError, match="3x3 kernel and stride 1"):
        _native.conv2d(x, w[:1, :1].copy(), None, y, 1, 1, 0, 0, F4)
