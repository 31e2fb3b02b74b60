from __future__ import annotations

import dataclasses
import json

import pytest

from pydiff.errors import ConfigError
from pydiff.training.config import TrainConfig

BAD = [
    ("steps", 0), ("steps", 1.0), ("steps", True), ("steps", 2**40), ("steps", "10"),
    ("batch_size", -1), ("seed", -1), ("seed", 2**64), ("lr", float("nan")), ("lr", "1e-3"),
    ("lr", float("inf")), ("lr", -1e-3), ("ema_decay", 1.0), ("ema_decay", None), ("beta1", 1),
    ("objective", "l1"), ("loss_weight", "snr"), ("times", "often"),
    ("prediction", "noise"), ("prediction", []), ("lr_schedule", "step"),
    ("horizontal_flip", 1), ("max_grad_norm", 0.0), ("grad_accumulation", 0), ("warmup_steps", -1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD)
def test_bad_values_are_named(key, value):
    with pytest.raises(ConfigError, match=key):
        TrainConfig(**{key: value})


def test_unknown_key_is_named():
    with pytest.raises(ConfigError, match="'stpes'"):
        TrainConfig.from_dict({"stpes": 3})


def test_json_round_trip():
    config = TrainConfig(steps=7, lr=0.1 + 0.2, max_grad_norm=None, seed=2**64 - 1)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_conflicts_are_what_would_change_bits():
    config = TrainConfig()
    assert config.conflicts(dataclasses.replace(config, steps=9, log_every=1)) == []
    assert "lr" in config.conflicts(dataclasses.replace(config, lr=0.5))[0]
    cosine = TrainConfig(lr_schedule="cosine")
    assert "steps" in cosine.conflicts(dataclasses.replace(cosine, steps=900))[0]
