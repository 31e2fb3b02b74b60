"""A pipeline asks the network what training asked it, on a chain and in continuous time."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import Pipeline, schedules
from pydiff.errors import ConfigError
from pydiff.nn import UNet2D
from pydiff.pipelines.scheduler_config import scheduler_for
from pydiff.training import TrainConfig, Trainer

UNET = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [8],
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
IMAGES = np.random.default_rng(0).uniform(-1.0, 1.0, (8, 8, 8, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        (schedules.flow(2.0), {"prediction": "flow"}),
        (schedules.edm(), {"prediction": "sample", "sigma_data": 0.7}),
        (schedules.cosine(), {"prediction": "v_prediction", "clip": None, "spacing": "trailing"}),
    ],
    ids=("flow", "edm", "chain"),
)
def test_the_denoiser_of_a_saved_model_is_the_trainers(tmp_path, schedule, settings):
    config = {k: v for k, v in settings.items() if k in ("prediction", "sigma_data")}
    trainer = Trainer(
        UNet2D(seed=2, **UNET), schedule, IMAGES,
        config=TrainConfig(steps=3, batch_size=4, warmup_steps=0, **config),
    )  # fmt: skip
    trainer.train()
    Pipeline(trainer.averaged_model(), schedule, **settings).save_pretrained(tmp_path)
    pipeline = Pipeline.from_pretrained(tmp_path)
    ours, theirs, taken = (
        trainer.denoiser(),
        pipeline.denoiser(steps=5),
        pipeline.scheduler.schedule,
    )
    for t in pipeline.grid(5)[:-1]:
        x = np.random.default_rng(1).standard_normal((2, 8, 8, 1)).astype(np.float32)
        x *= np.float32(np.hypot(taken.sigma(t), 1.0))
        # a shift bends the time of a flow, and the scheduler has none: both mean the same level
        at = t if isinstance(t, int) else schedule.time(taken.log_snr(t))
        np.testing.assert_allclose(ours(x, at), theirs.predict(x, t).x0, atol=2e-5)
    assert np.isfinite(pipeline(2, 3)).all()


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        (schedules.vp(), {}),
        (schedules.flow(), {"prediction": "epsilon"}),
        (schedules.edm(), {"prediction": "sample"}),
        (schedules.cosine(), {"prediction": "sample", "sigma_data": 0.5}),
    ],
)
def test_what_diffusers_cannot_sample_is_refused(schedule, settings):
    with pytest.raises(ConfigError, match="no scheduler of diffusers"):
        scheduler_for(schedule, **settings)
