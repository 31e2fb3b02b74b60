"""Optimisers follow their papers, clip exactly, and go on from a saved state bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import pydiff
from pydiff import nn
from pydiff.errors import CheckpointError, ConfigError

MAKERS: dict[str, Callable[..., nn.Optimizer]] = {
    "sgd": lambda p: nn.SGD(p, lr=0.1),
    "sgd with momentum and decay": lambda p: nn.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: nn.Adam(p, lr=0.1),
    "adam with decay": lambda p: nn.Adam(p, lr=0.1, betas=(0.8, 0.95), weight_decay=0.1),
    "adamw": lambda p: nn.AdamW(p, lr=0.1, eps=1e-6, weight_decay=0.1),
}
PEERS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd with momentum and decay": ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.1}),
    "adam with decay": ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.1, "eps": 1e-6, "weight_decay": 0.1}),
}
GRADS = np.random.RandomState(0).standard_normal((6, 2, 7))


def parameters(dtype: type[np.floating] = np.float64) -> list[pydiff.Tensor]:
    return [pydiff.Tensor(np.linspace(-1, 1, 7).astype(dtype), requires_grad=True) for _ in "ab"]


def steps(optimizer: nn.Optimizer, grads: np.ndarray) -> None:
    for pair in grads:
        for parameter, grad in zip(optimizer.parameters, pair, strict=True):
            parameter.grad = grad.astype(parameter.dtype)
        optimizer.step()


def by_hand(name: str, p: np.ndarray, grads: np.ndarray) -> np.ndarray:
    """The update rules as the papers write them."""
    kind, options = PEERS[name]
    lr, decay = options["lr"], options.get("weight_decay", 0.01 if kind == "AdamW" else 0)
    (b1, b2), eps = options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8)
    m = v = 0
    for step, g in enumerate(grads, start=1):
        if kind == "AdamW":
            p = p * (1 - lr * decay)
        else:
            g = g + decay * p
        if kind == "SGD":
            m = options.get("momentum", 0) * m + g
            p = p - lr * m
        else:
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            p = p - lr * (m / (1 - b1**step)) / (np.sqrt(v / (1 - b2**step)) + eps)
    return p


@pytest.mark.parametrize("name", MAKERS)
def test_updates_follow_the_formulas(name: str) -> None:
    optimizer = MAKERS[name](parameters())
    start = [p.data.copy() for p in optimizer.parameters]
    steps(optimizer, GRADS)
    for index, parameter in enumerate(optimizer.parameters):
        wanted = by_hand(name, start[index], GRADS[:, index])
        np.testing.assert_allclose(parameter.data, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.peers
@pytest.mark.parametrize("name", MAKERS)
def test_updates_equal_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = MAKERS[name](parameters())
    theirs = [torch.from_numpy(p.data.copy()).requires_grad_() for p in ours.parameters]
    kind, options = PEERS[name]
    peer = getattr(torch.optim, kind)(theirs, **options)
    steps(ours, GRADS)
    for pair in GRADS:
        for parameter, grad in zip(theirs, pair, strict=True):
            parameter.grad = torch.from_numpy(grad)
        peer.step()
    for mine, other in zip(ours.parameters, theirs, strict=True):
        np.testing.assert_allclose(mine.data, other.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", MAKERS)
def test_a_loaded_state_goes_on_bit_for_bit(name: str) -> None:
    whole = MAKERS[name](parameters(np.float32))
    steps(whole, GRADS)
    first = MAKERS[name](parameters(np.float32))
    steps(first, GRADS[:3])
    second = MAKERS[name](parameters(np.float32))
    for old, new in zip(first.parameters, second.parameters, strict=True):
        new.data = old.data.copy()
    second.load_state_dict(first.state_dict())
    steps(second, GRADS[3:])
    for a, b in zip(whole.parameters, second.parameters, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_state_is_flat_and_a_copy() -> None:
    optimizer = MAKERS["adamw"](parameters())
    steps(optimizer, GRADS[:1])
    state = optimizer.state_dict()
    assert list(state) == ["steps", "lr", "0.m", "0.v", "1.m", "1.v"]
    before = state["0.m"].copy()
    steps(optimizer, GRADS[:1])
    np.testing.assert_array_equal(state["0.m"], before)


def test_a_state_that_does_not_fit_is_refused() -> None:
    optimizer = MAKERS["adamw"](parameters())
    state = optimizer.state_dict()
    del state["0.m"]
    state["1.v"] = np.zeros(3)
    with pytest.raises(
        CheckpointError, match=r"missing 0.m; 1.v has shape \(3,\), expected \(7,\)"
    ):
        optimizer.load_state_dict(state)


def test_parameters_without_gradient_stay_and_fixed_ones_are_left_out() -> None:
    used, unused = parameters()
    fixed = pydiff.Tensor(np.ones(2))
    optimizer = nn.AdamW([used, unused, fixed], lr=0.1)
    assert optimizer.parameters == [used, unused]
    before = unused.data.copy()
    used.grad = np.ones(7)
    optimizer.step()
    np.testing.assert_array_equal(unused.data, before)
    optimizer.zero_grad()
    assert used.grad is None


def test_a_step_between_forward_and_backward_is_noticed() -> None:
    p = pydiff.Tensor(np.ones(3), requires_grad=True)
    loss = (p * p).sum()
    p.grad = np.ones(3)
    nn.SGD([p], lr=0.1).step()
    with pytest.raises(pydiff.errors.AutogradError):
        loss.backward()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: nn.SGD(p, lr=-1),
        lambda p: nn.SGD(p, lr=0.1, momentum=1),
        lambda p: nn.AdamW(p, lr=float("nan")),
        lambda p: nn.AdamW(p, betas=(0.9, 1.0)),
        lambda p: nn.Adam(p, eps=0),
        lambda p: nn.AdamW(p, weight_decay=-1),
        lambda p: nn.AdamW([]),
    ],
)
def test_bad_options_are_refused(make: Callable[..., object]) -> None:
    with pytest.raises(ConfigError):
        make(parameters())


def test_clipping_scales_the_joint_norm() -> None:
    a, b = parameters(np.float32)
    a.grad, b.grad = np.full(7, 3, np.float32), np.full(7, 4, np.float32)
    assert nn.clip_grad_norm([a, b], 1.0) == pytest.approx(5 * np.sqrt(7), rel=1e-7)
    assert np.linalg.norm([a.grad, b.grad]) == pytest.approx(1, rel=1e-6)
    before = a.grad.copy()
    assert nn.clip_grad_norm([a, b], 2.0) == pytest.approx(1, rel=1e-6)
    np.testing.assert_array_equal(a.grad, before)


def test_clipping_does_not_overflow_and_leaves_nan_alone() -> None:
    (a, _) = parameters(np.float32)
    a.grad = np.full(7, 1e30, np.float32)
    assert nn.clip_grad_norm([a], 1.0) == pytest.approx(1e30 * np.sqrt(7), rel=1e-6)
    assert np.linalg.norm(a.grad) == pytest.approx(1, rel=1e-6)
    a.grad = np.array([1, np.nan, 1, 1, 1, 1, 1], np.float32)
    assert np.isnan(nn.clip_grad_norm([a], 1.0))
    assert a.grad[0] == 1
    for max_norm in (0.0, float("nan")):
        with pytest.raises(ConfigError, match="max_norm"):
            nn.clip_grad_norm([a], max_norm)


MODEL = {
    "block_out_channels": [4, 8],
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "norm_num_groups": 2,
    "attention_head_dim": None,
}


def with_gradients(dtype: type[np.floating], seed: int = 3) -> nn.UNet2D:
    model = nn.UNet2D(seed=0, **MODEL).astype(dtype)
    rng = np.random.RandomState(seed)
    for p in model.parameters():
        p.grad = rng.standard_normal(p.shape).astype(dtype)
    return model


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [nn.AdamW, nn.Adam, nn.SGD])
@pytest.mark.parametrize("max_norm", [0.5, 1e9])
def test_one_pass_gives_the_bits_of_clipping_stepping_and_averaging(kind, dtype, max_norm) -> None:
    apart, at_once = with_gradients(dtype), with_gradients(dtype)
    averages = []
    for model in (apart, at_once):
        optimizer, ema = kind(model.parameters(), lr=0.01, weight_decay=0.1), nn.EMA(model)
        for _ in range(3):
            if model is apart:
                nn.clip_grad_norm(model.parameters(), max_norm)
                optimizer.step()
                ema.update()
            else:
                before = [p.grad.copy() for p in model.parameters()]
                scale = nn.clip_scale(nn.grad_norm(model.parameters()), max_norm)
                optimizer.step(scale, ema)
                for p, grad in zip(model.parameters(), before, strict=True):
                    np.testing.assert_array_equal(p.grad, grad)
            for seed, p in enumerate(model.parameters()):
                p.grad = np.random.RandomState(seed).standard_normal(p.shape).astype(dtype)
        assert ema.updates == 3
        averages.append(ema.arrays)
    for (name, p), q in zip(apart.named_parameters(), at_once.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data, err_msg=name)
        np.testing.assert_array_equal(averages[0][name], averages[1][name], err_msg=name)


def test_averages_of_parameters_that_are_not_stepped_move_too() -> None:
    model = with_gradients(np.float32)
    ema, weight = nn.EMA(model, decay=0.5, warmup=False), model.conv_in.weight
    start = weight.data.copy()
    weight.data = weight.data + np.float32(1)
    weight.grad = None
    nn.AdamW(model.parameters()).step(ema=ema)
    np.testing.assert_allclose(ema.arrays["conv_in.weight"], start + 0.5, rtol=1e-6)
    assert ema.updates == 1


def test_parameters_of_two_dtypes_are_stepped_together() -> None:
    single, double = parameters(np.float32)[0], parameters(np.float64)[0]
    optimizer = nn.AdamW([single, double], lr=0.1)
    single.grad, double.grad = np.ones(7, np.float32), np.ones(7)
    assert nn.grad_norm([single, double]) == pytest.approx(np.sqrt(14), rel=1e-12)
    optimizer.step()
    np.testing.assert_allclose(single.data, double.data, rtol=1e-5)


def test_the_norm_is_the_same_for_any_number_of_threads() -> None:
    model = with_gradients(np.float32)
    exact = np.sqrt(sum(np.sum(p.grad.astype(np.float64) ** 2) for p in model.parameters()))
    assert nn.grad_norm(model.parameters()) == pytest.approx(exact, rel=1e-14)
    assert nn.grad_norm([pydiff.Tensor(np.ones(3), requires_grad=True)]) == 0
