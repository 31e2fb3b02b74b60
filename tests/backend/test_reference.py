"""The reference against direct formulas, loops and published vectors: who checks the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pydiff import backend
from pydiff.backend.philox import philox


@pytest.fixture(autouse=True)
def _reference():
    with backend.use("reference"):
        yield


def close(actual, expected, ulps=64):
    expected = np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ulps * 2.2e-16 * scale)


# Known answers of Random123 (kat_vectors of Salmon et al. 2011).
@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter, key, words):
    assert " ".join(f"{int(w):08x}" for w in philox(counter, key)) == words


def test_uniform_and_normal_from_counter_words():
    seed, image, step, stream = 2**40 + 3, 5, 7, 2
    words = [int(w) for e in (0, 1) for w in philox([e, image, step, stream], [3, 2**8])]
    u = [(w + 0.5) / 2**32 for w in words]
    y = backend.uniform(seed, image, step, stream, 1, 6, np.float64)
    assert y.tolist() == [u[:6]]
    z = backend.normal(seed, image, step, stream, 1, 6, np.float64)
    pairs = [(u[i], u[i + 1]) for i in range(0, 6, 2)]
    expected = [
        math.sqrt(-2 * math.log(a)) * f(2 * math.pi * b)
        for a, b in pairs
        for f in (math.cos, math.sin)
    ]
    close(z, [expected])


def test_activations_by_math():
    x = np.array([-30.0, -3.0, -0.5, 0.0, 0.7, 4.0, 30.0])
    cdf = [0.5 * math.erfc(-v / math.sqrt(2)) for v in x]
    close(backend.gelu(x), [v * p for v, p in zip(x, cdf, strict=True)])
    tanh = [math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)) for v in x]
    close(backend.gelu_tanh(x), [0.5 * v * (1 + t) for v, t in zip(x, tanh, strict=True)])
    close(backend.sigmoid(x), [1 / (1 + math.exp(-v)) for v in x])
    close(backend.silu(x), [v / (1 + math.exp(-v)) for v in x])
    close(backend.relu(x), [max(v, 0) for v in x])


def test_conv2d_by_loops(rng):
    x, weight, bias = (
        rng.normal(size=(2, 5, 6, 3)),
        rng.normal(size=(3, 2, 3, 4)),
        rng.normal(size=4),
    )
    (sh, sw), (top, bottom, left, right) = (2, 1), (1, 0, 2, 1)
    y = backend.conv2d(x, weight, bias, (sh, sw), (top, bottom, left, right))
    expected = np.empty((2, (5 + top + bottom - 3) // sh + 1, (6 + left + right - 2) // sw + 1, 4))
    for n, i, j, c in np.ndindex(expected.shape):
        total = bias[c]
        for p, q in np.ndindex(3, 2):
            row, column = i * sh + p - top, j * sw + q - left
            if 0 <= row < 5 and 0 <= column < 6:
                total += x[n, row, column] @ weight[p, q, :, c]
        expected[n, i, j, c] = total
    close(y, expected)


@pytest.mark.parametrize("padding", [0, 1, (0, 1, 0, 1), (2, 0)])
@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
def test_conv2d_gradients_are_adjoint(rng, stride, padding):
    """<dy, conv(x, w)> is bilinear: equal to <x, backward_data> and to <w, backward_weight>."""
    x, weight = rng.normal(size=(2, 7, 6, 3)), rng.normal(size=(3, 3, 3, 4))
    y = backend.conv2d(x, weight, None, stride, padding)
    dy = rng.normal(size=y.shape)
    dx = backend.conv2d_backward_data(dy, weight, x.shape, stride, padding)
    dweight = backend.conv2d_backward_weight(x, dy, weight.shape, stride, padding)
    assert np.vdot(x, dx) == pytest.approx(np.vdot(dy, y), rel=1e-12)
    assert np.vdot(weight, dweight) == pytest.approx(np.vdot(dy, y), rel=1e-12)


def test_group_norm_by_loops(rng):
    x, weight, bias = rng.normal(size=(2, 3, 2, 6)), rng.normal(size=6), rng.normal(size=6)
    y, mean, rstd = backend.group_norm(x, 3, weight, bias, 1e-3, "silu")
    for n in range(2):
        for g in range(3):
            block, of = x[n, ..., 2 * g : 2 * g + 2], slice(2 * g, 2 * g + 2)
            close(mean[n, g], block.mean())
            close(rstd[n, g], 1 / math.sqrt(block.var() + 1e-3))
            z = (block - block.mean()) / np.sqrt(block.var() + 1e-3) * weight[of] + bias[of]
            close(y[n, ..., of], z / (1 + np.exp(-z)))


def test_layer_norm_is_group_norm_of_one_group(rng):
    x, weight, bias = rng.normal(size=(4, 5)), rng.normal(size=5), rng.normal(size=5)
    y, mean, rstd = backend.layer_norm(x, weight, bias, 1e-5)
    other = backend.group_norm(x, 1, weight, bias, 1e-5)
    close(y, other[0])
    close(mean, other[1][:, 0])
    close(rstd, other[2][:, 0])


def test_attention_by_loops(rng):
    q, k, v = rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 4, 6))
    o, lse = backend.attention(q, k, v, 2)
    for n, head, i in np.ndindex(2, 2, 3):
        of = slice(3 * head, 3 * head + 3)
        e = np.exp(k[n, :, of] @ q[n, i, of] / math.sqrt(3))
        close(o[n, i, of], e @ v[n, :, of] / e.sum())
        close(lse[n, head, i], math.log(e.sum()))


def test_softmax_and_maximum_keep_nan_and_infinities():
    x = np.array([[1.0, np.nan], [1000.0, 999.0], [-np.inf, 0.0]])
    assert np.isnan(backend.softmax(x)[0]).all()
    close(backend.softmax(x)[1:], [[1 / (1 + math.exp(-1)), 1 / (1 + math.e)], [0, 1]])
    assert np.isnan(backend.max(x, -1)[0]).all()
    assert np.isnan(backend.relu(x)[0, 1])


def test_max_backward_shares_between_ties():
    x = np.array([[2.0, 2.0, 1.0]])
    dx = backend.max_backward(np.array([[3.0]]), x, backend.max(x, 1), 1)
    assert dx.tolist() == [[1.5, 1.5, 0.0]]


def test_adamw_first_step_by_hand():
    p, g, m, v = (np.array([n]) for n in (1.0, 0.5, 0.0, 0.0))
    backend.adamw([p], [g], [m], [v], 0.1, 0.9, 0.99, 1e-8, 0.2, 1)
    close(m, [0.05])
    close(v, [0.0025])
    # mhat = g and sqrt(vhat) = |g|, so the step is lr sign(g).
    close(p, [1 - 0.1 * 0.2 - 0.1 * 0.5 / (0.5 + 1e-8)])


def test_scatter_add_is_adjoint_to_gather(rng):
    table, index = rng.normal(size=(5, 3)), rng.integers(0, 5, (2, 4))
    dy = rng.normal(size=(2, 4, 3))
    y = backend.gather(table, index)
    assert np.vdot(y, dy) == pytest.approx(np.vdot(table, backend.scatter_add(dy, index, 5)))


def test_pooling_is_adjoint_to_upsampling(rng):
    x, y = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 6, 8, 5))
    up, pooled = backend.upsample_nearest(x, 2, 0.3), backend.sum_pool(y, 2, 0.3)
    assert np.vdot(up, y) == pytest.approx(np.vdot(x, pooled))
    close(up[:, 1::2, ::2], 0.3 * x)
