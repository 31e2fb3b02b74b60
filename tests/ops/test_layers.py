"""Products, convolution, normalisation, attention, resampling and loss against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import ops
from pydiff.autograd import Tensor
from pydiff.errors import ShapeError


def test_linear_over_any_leading_axes(rng) -> None:
    w, b = rng.standard_normal((4, 5)), rng.standard_normal(5)
    for shape in [(4,), (3, 4), (2, 3, 4), (0, 4)]:
        x = Tensor(rng.standard_normal(shape), requires_grad=True)
        y = ops.linear(x, w, b)
        assert y.shape == (*shape[:-1], 5)
        np.testing.assert_allclose(y.data, x.data @ w + b, rtol=1e-13, atol=1e-13)
        y.sum().backward()
        assert x.grad.shape == shape


def test_convolution_by_its_definition(rng) -> None:
    x, w = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((3, 2, 3, 4))
    padded = np.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)))
    expected = np.zeros((2, 2, 7, 4))
    for i in range(2):
        for j in range(7):
            window = padded[:, 2 * i : 2 * i + 3, j : j + 2]
            expected[:, i, j] = np.einsum("nhwc,hwco->no", window, w)
    y = ops.conv2d(x, w, stride=(2, 1), padding=(1, 0, 0, 2))
    np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-13)


def test_padding_in_its_three_forms(rng) -> None:
    x, w = rng.standard_normal((1, 4, 4, 2)), rng.standard_normal((3, 3, 2, 2))
    full = ops.conv2d(x, w, padding=(1, 1, 2, 2)).data
    np.testing.assert_array_equal(ops.conv2d(x, w, padding=(1, 2)).data, full)
    np.testing.assert_array_equal(ops.conv2d(x, w, padding=1).data, full[:, :, 1:-1])


@pytest.mark.parametrize("act", ["none", "silu"])
def test_group_norm_by_its_definition(rng, act) -> None:
    x, w, b = rng.standard_normal((2, 3, 4, 6)), rng.standard_normal(6), rng.standard_normal(6)
    grouped = x.reshape(2, 12, 2, 3)
    mean, var = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    y = ((grouped - mean) / np.sqrt(var + 1e-3)).reshape(x.shape) * w + b
    expected = y / (1 + np.exp(-y)) if act == "silu" else y
    ours = ops.group_norm(x, 2, w, b, eps=1e-3, act=act)
    np.testing.assert_allclose(ours.data, expected, rtol=1e-12, atol=1e-13)


def test_attention_by_its_definition(rng) -> None:
    q, k, v = (rng.standard_normal((2, t, 6)) for t in (4, 5, 5))
    expected = np.empty_like(q)
    for h in range(3):
        part = slice(2 * h, 2 * h + 2)
        p = np.exp(q[..., part] @ k[..., part].transpose(0, 2, 1) / np.sqrt(2))
        expected[..., part] = p / p.sum(-1, keepdims=True) @ v[..., part]
    np.testing.assert_allclose(ops.attention(q, k, v, heads=3).data, expected, rtol=1e-12)


def test_resampling(rng) -> None:
    x = rng.standard_normal((1, 2, 3, 2))
    up = ops.upsample_nearest(x, 3)
    np.testing.assert_array_equal(up.data, x.repeat(3, 1).repeat(3, 2))
    np.testing.assert_allclose(ops.avg_pool2d(up, 3).data, x, rtol=1e-14)


def test_mse_loss_takes_tensors_and_arrays(rng) -> None:
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    ta = Tensor(a, requires_grad=True)
    loss = ops.mse_loss(ta, b)
    assert loss.shape == () and loss.item() == pytest.approx(np.mean((a - b) ** 2), rel=1e-14)
    loss.backward()
    np.testing.assert_allclose(ta.grad, 2 * (a - b) / 6, rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: ops.matmul(o(2, 3), o(2, 3)), r"matmul.*3 and 2 differ.*\(2, 3\)"),
        (lambda o: ops.matmul(o(3), o(3, 2)), "matmul: a has shape"),
        (lambda o: ops.linear(o(2, 3), o(2, 4)), r"linear: x has shape \(2, 3\) and weight"),
        (lambda o: ops.linear(o(2, 3), o(3, 4), o(3)), r"bias has shape \(3,\)"),
        (lambda o: ops.conv2d(o(1, 4, 4, 2), o(3, 3, 3, 2)), r"conv2d.*2 channels"),
        (lambda o: ops.conv2d(o(4, 4, 2), o(3, 3, 2, 2)), r"N,H,W,Ci"),
        (lambda o: ops.conv2d(o(1, 2, 2, 2), o(3, 3, 2, 2)), "does not fit"),
        (lambda o: ops.conv2d(o(1, 4, 4, 2), o(3, 3, 2, 2), stride=0), "stride is 0"),
        (lambda o: ops.group_norm(o(2, 4, 6), 4), "4 groups do not divide"),
        (lambda o: ops.group_norm(o(2, 4, 6), 2, o(6)), "both weight and bias"),
        (lambda o: ops.attention(o(1, 2, 6), o(1, 3, 6), o(1, 4, 6)), "attention: q has shape"),
        (lambda o: ops.attention(o(1, 2, 6), o(1, 3, 6), o(1, 3, 6), heads=4), "4 heads"),
        (lambda o: ops.upsample_nearest(o(2, 2)), "upsample_nearest"),
        (lambda o: ops.avg_pool2d(o(1, 3, 4, 1)), "divisible by 2"),
        (lambda o: ops.avg_pool2d(o(1, 4, 4, 1), 0), "factor is 0"),
        (
            lambda o: ops.mse_loss(o(2, 3), o(3, 2)),
            r"mse_loss: a has shape \(2, 3\) and b \(3, 2\)",
        ),
        (lambda o: ops.mse_loss(o(0), o(0)), "not empty"),
    ],
)
def test_shape_errors_name_op_and_shapes(call, message) -> None:
    with pytest.raises(ShapeError, match=message):
        call(lambda *shape: np.ones(shape))
