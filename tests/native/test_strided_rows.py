"""Norms and attention on channels of a wider array, without the outputs that only a gradient needs,
and attention where the maxima move from tile to tile."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import _native
from pydiff.backend import cpu, reference

DTYPES = (np.float32, np.float64)


def channels_of(wide: np.ndarray, first: int, count: int) -> np.ndarray:
    return wide[..., first : first + count]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", [0, 1])
@pytest.mark.parametrize("n, s, c", [(2, 70, 36), (9, 17, 8), (1, 300, 64), (3, 1, 4)])
def test_group_norm_of_channels(n, s, c, act, dtype, isa, rng):
    x = rng.standard_normal((n, s, c + 11)).astype(dtype)
    weight, bias = rng.standard_normal((2, c)).astype(dtype)
    part = channels_of(x, 3, c)
    expected, mean, rstd = cpu.group_norm(part.copy(), 4, weight, bias, 1e-5, ["none", "silu"][act])
    y = np.full((n, s, c + 5), 7, dtype)
    saved = np.empty((2, n, 4), dtype)
    _native.group_norm(part, weight, bias, channels_of(y, 2, c), *saved, 4, 1e-5, act)
    assert np.array_equal(channels_of(y, 2, c), expected)
    assert (y[..., :2] == 7).all() and (y[..., 2 + c :] == 7).all()
    assert np.array_equal(saved[0], mean) and np.array_equal(saved[1], rstd)
    again = np.empty_like(expected)
    _native.group_norm(part, weight, bias, again, None, None, 4, 1e-5, act)
    assert np.array_equal(again, expected)


def test_layer_norm_without_statistics(isa, rng):
    x = rng.standard_normal((13, 40)).astype(np.float32)
    y = np.empty_like(x)
    _native.layer_norm(x, None, None, y, None, None, 1e-5)
    assert np.array_equal(y, cpu.layer_norm(x, None, None, 1e-5)[0])


# Rows of 2048 bytes are copied before use (128 channels of 4 heads in float32), others are not.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "n, tq, tk, heads, d, extra",
    [
        (2, 70, 70, 2, 16, 5),
        (3, 65, 130, 3, 5, 7),
        (1, 3, 300, 1, 40, 2),
        (1, 40, 129, 4, 32, 384),
        (3, 66, 70, 4, 32, 384),
    ],
)
def test_attention_on_parts_of_one_product(n, tq, tk, heads, d, extra, dtype, isa, rng):
    c = heads * d
    q_wide = rng.standard_normal((n, tq, c + extra)).astype(dtype)
    kv = rng.standard_normal((n, tk, 2 * c + 3)).astype(dtype)
    k_wide = rng.standard_normal((n, tk, c + extra)).astype(dtype)
    q, k, v = channels_of(q_wide, 0, c), channels_of(k_wide, extra, c), channels_of(kv, c + 1, c)
    expected, lse = cpu.attention(q.copy(), k.copy(), v.copy(), heads, d**-0.5)
    o, saved = np.empty_like(expected), np.empty_like(lse)
    _native.attention(q, k, v, o, saved, heads, d**-0.5)
    assert np.array_equal(o, expected) and np.array_equal(saved, lse)
    o[:] = 0
    _native.attention(q, k, v, o, None, heads, d**-0.5)
    assert np.array_equal(o, expected)


def test_rows_that_do_not_step_as_one_are_refused():
    x = np.zeros((2, 3, 4, 8), np.float32)
    for bad in (x[:, ::2], x[:, :, ::3], x[..., ::2], x.transpose(0, 2, 1, 3)):
        y = np.empty(bad.shape, np.float32)
        with pytest.raises(ValueError, match="group_norm: x must be contiguous, or channels"):
            _native.group_norm(bad, None, None, y, None, None, 2, 1e-5, 0)
    q = np.zeros((2, 7, 8), np.float32)
    with pytest.raises(ValueError, match="attention: q must be contiguous, or channels"):
        _native.attention(q[:, :6:2], q, q, np.zeros((2, 3, 8), np.float32), None, 1, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [16, 5])
@pytest.mark.parametrize("rise", [0.02, 0.2, -0.2])
def test_attention_where_maxima_move(rise, d, dtype, rng):
    """Scores that rise along the keys by 5, 50 and -50 in all, in steps below and above the slack
    that leaves a tile's exponentials about an older maximum."""
    q = np.abs(rng.standard_normal((1, 70, d)))
    k = rng.standard_normal((1, 700, d))
    k += rise * 0.4 * np.arange(700)[:, None] / d
    v = rng.standard_normal((1, 700, d))
    args = [x.astype(dtype) for x in (q, k, v)]
    right, right_lse = reference.attention(*(x.astype(np.float64) for x in args), 1, 1.0)
    bits = set()
    for isa in _native.supported_isas():
        _native.set_isa(isa)
        o, lse = cpu.attention(*args, 1, 1.0)
        size = np.abs(right_lse).max()  # scores are rounded at their size, exponentials follow
        np.testing.assert_allclose(o, right, atol=20 * size * np.finfo(dtype).eps)
        np.testing.assert_allclose(lse, right_lse, rtol=20 * np.finfo(dtype).eps)
        if isa in ("v3", "v4"):
            bits.add(o.tobytes() + lse.tobytes())
    assert len(bits) <= 1
