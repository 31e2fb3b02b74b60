"""The average follows its formula, swaps in and out, and goes on from a saved state."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import nn
from pydiff.errors import CheckpointError, ConfigError


def drift(model: nn.Linear, by: float) -> None:
    model.weight.data = model.weight.data + np.float32(by)


def test_plain_decay() -> None:
    model = nn.Linear(2, 2)
    ema = nn.EMA(model, decay=0.75, warmup=False)
    start = model.weight.data.copy()
    drift(model, 1)
    ema.update()
    np.testing.assert_allclose(ema.arrays["weight"], start + 0.25, rtol=1e-6)
    ema.update()
    np.testing.assert_allclose(ema.arrays["weight"], start + 0.4375, rtol=1e-6)


def test_warm_up_is_that_of_diffusers() -> None:
    ema = nn.EMA(nn.Linear(1, 1), decay=0.99, inv_gamma=2.0, power=0.75)
    assert ema.decay_at(0) == 0
    assert ema.decay_at(10) == pytest.approx(1 - (1 + 10 / 2) ** -0.75)
    assert ema.decay_at(10**6) == 0.99


@pytest.mark.peers
def test_warm_up_equals_diffusers() -> None:
    training_utils = pytest.importorskip("diffusers.training_utils")
    torch = pytest.importorskip("torch")
    peer = training_utils.EMAModel([torch.nn.Parameter(torch.zeros(1))], use_ema_warmup=True)
    ema = nn.EMA(nn.Linear(1, 1))
    for update in (0, 1, 2, 100, 10**7):
        assert ema.decay_at(update) == pytest.approx(peer.get_decay(update + 1), abs=1e-12)


def test_applied_swaps_and_restores_even_after_an_error() -> None:
    model = nn.Linear(2, 2)
    ema = nn.EMA(model)
    start = model.weight.data.copy()
    drift(model, 1)
    with pytest.raises(ZeroDivisionError), ema.applied() as averaged:
        np.testing.assert_array_equal(averaged.weight.data, start)
        raise ZeroDivisionError
    np.testing.assert_array_equal(model.weight.data, start + 1)


def test_a_loaded_state_goes_on_bit_for_bit() -> None:
    model = nn.Linear(3, 3)
    ema, other = nn.EMA(model, decay=0.9), nn.EMA(model, decay=0.9)
    for step in range(6):
        drift(model, 0.1)
        ema.update()
        if step == 2:
            other.load_state_dict(ema.state_dict())
        if step > 2:
            other.update()
    np.testing.assert_array_equal(ema.arrays["weight"], other.arrays["weight"])
    assert other.updates == 6


def test_fixed_parameters_are_not_averaged() -> None:
    model = nn.UNet2D(
        block_out_channels=[4],
        down_block_types=["DownBlock2D"],
        up_block_types=["UpBlock2D"],
        norm_num_groups=2,
        attention_head_dim=None,
        time_embedding_type="fourier",
    )
    assert "time_proj.weight" not in nn.EMA(model).arrays
    assert "time_proj.weight" in model.state_dict()


def test_bad_options_and_states_are_refused() -> None:
    model = nn.Linear(1, 1)
    for options in ({"decay": 1.0}, {"decay": -0.1}, {"inv_gamma": 0.0}, {"power": 0.0}):
        with pytest.raises(ConfigError):
            nn.EMA(model, **options)
    with pytest.raises(CheckpointError, match="missing weight"):
        nn.EMA(model).load_state_dict({"updates": 0, "bias": np.zeros(1)})
