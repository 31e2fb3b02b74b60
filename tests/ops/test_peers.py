"""Gradients of composite expressions against PyTorch's, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import ops
from pydiff.autograd import Tensor

pytestmark = pytest.mark.peers


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def compare(torch, ours, theirs, arrays, rtol: float = 1e-11) -> None:
    """Values and gradients of sum(cos-weighted outputs) agree."""
    mine = [Tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*mine), theirs(*other)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=rtol, atol=rtol)
    v = np.cos(np.arange(y.size)).reshape(y.shape)
    y.backward(v)
    z.backward(torch.tensor(v))
    for a, b in zip(mine, other, strict=True):
        scale = max(1.0, float(b.grad.abs().max()))
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=0, atol=rtol * scale)


def test_resnet_block(torch, rng) -> None:
    """Group norm, SiLU, convolution, time embedding, residual, in the two layouts."""

    def ours(x, w, b, gamma, beta, time):
        h = ops.group_norm(x, 2, gamma, beta, act="silu")
        h = ops.conv2d(h, w, b, padding=1) + ops.reshape(ops.silu(time), (2, 1, 1, 8))
        return (x + h) / 2**0.5

    def theirs(x, w, b, gamma, beta, time):
        f = torch.nn.functional
        x = x.permute(0, 3, 1, 2)
        h = f.silu(f.group_norm(x, 2, gamma, beta))
        h = f.conv2d(h, w.permute(3, 2, 0, 1), b, padding=1) + f.silu(time)[:, :, None, None]
        return ((x + h) / 2**0.5).permute(0, 2, 3, 1)

    shapes = [(2, 6, 5, 8), (3, 3, 8, 8), (8,), (8,), (8,), (2, 8)]
    compare(torch, ours, theirs, [rng.standard_normal(s) for s in shapes])


def test_attention_block(torch, rng) -> None:
    def ours(x, wq, wk, wv, wo):
        h = ops.layer_norm(x)
        q, k, v = ops.linear(h, wq), ops.linear(h, wk), ops.linear(h, wv)
        return x + ops.linear(ops.attention(q, k, v, heads=2), wo)

    def theirs(x, wq, wk, wv, wo):
        h = torch.nn.functional.layer_norm(x, (6,))
        q, k, v = ((h @ w).reshape(2, 7, 2, 3).transpose(1, 2) for w in (wq, wk, wv))
        o = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return x + o.transpose(1, 2).reshape(2, 7, 6) @ wo

    compare(torch, ours, theirs, [rng.standard_normal(s) for s in [(2, 7, 6)] + [(6, 6)] * 4])


def test_up_and_down(torch, rng) -> None:
    """Stride 2 with one-sided padding, upsampling, skip connection, pooling."""

    def ours(x, w, w2):
        down = ops.conv2d(x, w, stride=2, padding=(0, 1, 0, 1))
        joined = ops.concat([ops.upsample_nearest(down), x], axis=-1)
        return ops.avg_pool2d(ops.gelu(ops.conv2d(joined, w2)), 2)

    def theirs(x, w, w2):
        f = torch.nn.functional
        x = x.permute(0, 3, 1, 2)
        down = f.conv2d(f.pad(x, (0, 1, 0, 1)), w.permute(3, 2, 0, 1), stride=2)
        joined = torch.cat([f.interpolate(down, scale_factor=2.0), x], 1)
        y = f.avg_pool2d(f.gelu(f.conv2d(joined, w2.permute(3, 2, 0, 1))), 2)
        return y.permute(0, 2, 3, 1)

    shapes = [(2, 8, 6, 3), (3, 3, 3, 4), (1, 1, 7, 2)]
    compare(torch, ours, theirs, [rng.standard_normal(s) for s in shapes])


def test_arithmetic_with_broadcasting(torch, rng) -> None:
    def ours(a, b, c):
        ratio = ops.exp(-ops.square(a - b)) / (ops.sigmoid(c) + 1)
        return ops.softmax(ratio * a**3, axis=0) + ops.mean(
            ops.tanh(b) * c, axis=(0, 2), keepdims=True
        )

    def theirs(a, b, c):
        ratio = torch.exp(-((a - b) ** 2)) / (torch.sigmoid(c) + 1)
        mean = (torch.tanh(b) * c).mean(dim=(0, 2), keepdim=True)
        return torch.softmax(ratio * a**3, 0) + mean

    arrays = [rng.standard_normal(s) for s in [(3, 1, 4), (2, 4), (3, 2, 1)]]
    compare(torch, ours, theirs, arrays)


def test_losses_views_and_gather(torch, rng) -> None:
    index = np.array([[0, 2], [2, 1]])

    def ours(table, target):
        rows = ops.gather(table, index)[:, ::-1].transpose(2, 0, 1)
        return (
            ops.mse_loss(rows, target)
            + ops.max(rows * target)
            + ops.sum(ops.pad(rows, [(0, 0)] * 3))
        )

    def theirs(table, target):
        rows = table[torch.tensor(index)].flip(1).permute(2, 0, 1)
        return torch.nn.functional.mse_loss(rows, target) + (rows * target).max() + rows.sum()

    compare(torch, ours, theirs, [rng.standard_normal((4, 5)), rng.standard_normal((5, 2, 2))])
