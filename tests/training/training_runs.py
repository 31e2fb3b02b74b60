"""A trainer that is small, but has everything: classes, dropout, flips, accumulation, attention."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

import pydiff
from pydiff.nn import UNet2D
from pydiff.training import TrainConfig, Trainer
from pydiff.training.checkpoint import list_checkpoints

UNET = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [8, 8],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "num_class_embeds": 10,
    "dropout": 0.1,
}
CONFIG = {
    "steps": 7,
    "batch_size": 4,
    "grad_accumulation": 2,
    "lr": 2e-3,
    "warmup_steps": 2,
    "lr_schedule": "cosine",
    "weight_decay": 0.01,
    "class_conditional": True,
    "horizontal_flip": True,
    "log_every": 2,
    "checkpoint_every": 0,
    "seed": 5,
}


def make_trainer(folder=None, data=None, schedule=None, unet=None, **config) -> Trainer:
    model = UNet2D(seed=1, **{**UNET, **(unet or {})})
    settings = TrainConfig(**{**CONFIG, **config})
    schedule = schedule or pydiff.schedules.cosine(100)
    data = pydiff.data.digits() if data is None else data
    return Trainer(model, schedule, data, config=settings, folder=folder)


def fingerprint(trainer: Trainer) -> str:
    """SHA-256 of everything that training changes."""
    digest = hashlib.sha256(f"{trainer.step} {trainer.optimizer.steps}".encode())
    digest.update(f"{trainer.ema.updates}".encode())
    for arrays in (trainer.model.state_dict(), trainer.ema.arrays, trainer.optimizer.arrays):
        for name, array in sorted(arrays.items()):
            digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def timeless(records):
    """Log records without what the clock says."""
    return [{k: r[k] for k in ("step", "loss", "lr", "grad_norm")} for r in records]


class Stop(Exception):
    pass


def run_until(trainer, step):
    """Train, and die as if killed after `step` steps, with a checkpoint only if one was due."""
    take = trainer._train_step

    def stepping():
        if trainer.step == step:
            raise Stop
        return take()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(trainer, "_train_step", stepping)
        trainer.train()


def main(folder: str) -> None:
    """Train to the end with a checkpoint at every step, going on from what is there."""
    trainer = make_trainer(folder, checkpoint_every=1)
    if list_checkpoints(Path(folder) / "checkpoints"):
        trainer.resume()
    trainer.train(progress=False)
    print(fingerprint(trainer))


if __name__ == "__main__":
    main(sys.argv[1])
