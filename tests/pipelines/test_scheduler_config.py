from __future__ import annotations

import json

import numpy as np
import pytest

from pydiff import schedules
from pydiff.errors import ConfigError
from pydiff.pipelines import scheduler_for, write_scheduler
from pydiff.samplers import DDPM
from pydiff.schedulers import from_config

# google/ddpm-cifar10-32 as published
CIFAR10 = {
    "_class_name": "DDPMScheduler",
    "_diffusers_version": "0.1.1",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "tensor_format": "pt",
    "trained_betas": None,
    "variance_type": "fixed_large",
}

BAD = [
    ("_class_name", "VQDiffusionScheduler"), ("_class_name", "os.system"), ("_class_name", None),
    ("beta_schedule", "other"), ("beta_schedule", 3), ("num_train_timesteps", 2**40),
    ("num_train_timesteps", 0), ("num_train_timesteps", "1000"), ("num_train_timesteps", True),
    ("beta_start", -1.0), ("beta_end", 2.0), ("beta_end", "0.02"), ("trained_betas", []),
    ("trained_betas", [2.0]), ("trained_betas", "x"), ("trained_betas", [[0.1]]),
    ("prediction_type", "noise"), ("prediction_type", ["epsilon"]), ("clip_sample", 1),
    ("clip_sample_range", 0.0), ("clip_sample_range", "1"),
    ("variance_type", "other"), ("variance_type", {}), ("thresholding", 1),
    ("timestep_spacing", "karras"), ("steps_offset", -1), ("steps_offset", 1000),
    ("steps_offset", 0.5), ("rescale_betas_zero_snr", "yes"),
]  # fmt: skip


def test_a_published_config_is_read():
    scheduler = from_config(CIFAR10)
    assert scheduler.sampler == DDPM("fixed_large")
    assert scheduler.denoiser(lambda x, t: x).clip == 1.0
    np.testing.assert_array_equal(scheduler.schedule.betas, schedules.linear().betas)


@pytest.mark.parametrize(("key", "value"), BAD)
def test_bad_values_are_refused_by_name(tmp_path, key, value):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({**CIFAR10, key: value}))
    with pytest.raises(ConfigError, match=key.removeprefix("trained_")) as caught:
        from_config(path)
    assert str(path) in str(caught.value)


VALUES = [
    scheduler_for(schedules.linear(100, 1e-3, 0.3)),
    scheduler_for(schedules.cosine(64), "v_prediction", None, spacing="trailing"),
    scheduler_for(schedules.sigmoid(), "sample", 2.5, "fixed_large", "linspace"),
    scheduler_for(schedules.scaled_linear(beta_start=1e-4, beta_end=0.02), steps_offset=1),
    scheduler_for(
        schedules.linear(50, 1e-3, 0.5), class_name="DDIMScheduler", set_alpha_to_one=False
    ),
    scheduler_for(
        schedules.linear().rescale_zero_terminal_snr(), "v_prediction", spacing="trailing"
    ),
    scheduler_for(schedules.from_betas(np.linspace(0.01, 0.5, 40))),
]


@pytest.mark.parametrize("scheduler", VALUES, ids=range(len(VALUES)))
def test_json_round_trip(tmp_path, scheduler):
    write_scheduler(tmp_path / "s.json", scheduler)
    again = from_config(tmp_path / "s.json")
    np.testing.assert_allclose(again.schedule.betas, scheduler.schedule.betas, rtol=1e-15)
    assert again.to_config() == scheduler.to_config()


@pytest.mark.peers
@pytest.mark.parametrize("scheduler", VALUES, ids=range(len(VALUES)))
def test_diffusers_reads_the_same_schedule(tmp_path, scheduler):
    diffusers = pytest.importorskip("diffusers")
    write_scheduler(tmp_path / "scheduler_config.json", scheduler)
    peer = getattr(diffusers, scheduler.class_name).from_pretrained(tmp_path)
    expected = scheduler.schedule.alphas_cumprod
    np.testing.assert_allclose(peer.alphas_cumprod.numpy(), expected, rtol=2e-4, atol=1e-7)
    assert peer.config.prediction_type == scheduler.options["prediction_type"]
    assert peer.config.clip_sample == scheduler.options["clip_sample"]
    assert peer.config.timestep_spacing == scheduler.options["timestep_spacing"]


@pytest.mark.peers
@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler"])
def test_what_diffusers_writes_by_default_is_read(tmp_path, name):
    diffusers = pytest.importorskip("diffusers")
    getattr(diffusers, name)().save_pretrained(tmp_path)
    assert from_config(tmp_path / "scheduler_config.json").class_name == name
