from __future__ import annotations

import json

import numpy as np
import pytest

from pydiff import schedules
from pydiff.errors import ConfigError
from pydiff.pipelines import SchedulerConfig, read_scheduler, write_scheduler

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
    ("_class_name", "PNDMScheduler"), ("_class_name", "os.system"), ("_class_name", None),
    ("beta_schedule", "laplace"), ("beta_schedule", 3), ("num_train_timesteps", 2**40),
    ("num_train_timesteps", 0), ("num_train_timesteps", "1000"), ("num_train_timesteps", True),
    ("beta_start", -1.0), ("beta_end", 2.0), ("beta_end", "0.02"), ("trained_betas", []),
    ("trained_betas", [2.0]), ("trained_betas", "x"), ("trained_betas", [[0.1]]),
    ("prediction_type", "noise"), ("prediction_type", ["epsilon"]), ("clip_sample", 1),
    ("clip_sample_range", 0.0), ("clip_sample_range", "1"),
    ("variance_type", "learned_range"), ("variance_type", {}), ("thresholding", True),
    ("timestep_spacing", "karras"), ("steps_offset", -1), ("steps_offset", 1000),
    ("steps_offset", 0.5), ("rescale_betas_zero_snr", "yes"), ("set_alpha_to_one", 0),
    ("solver_order", 2),
]  # fmt: skip


def test_a_published_config_is_read():
    scheduler = SchedulerConfig.from_dict(CIFAR10)
    assert (scheduler.variance, scheduler.clip, scheduler.prediction) == (
        "fixed_large",
        1.0,
        "epsilon",
    )
    np.testing.assert_array_equal(scheduler.schedule.betas, schedules.linear().betas)


@pytest.mark.parametrize(("key", "value"), BAD)
def test_what_pydiff_does_not_do_is_refused_by_name(tmp_path, key, value):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({**CIFAR10, key: value}))
    with pytest.raises(ConfigError, match=key.removeprefix("trained_")) as caught:
        read_scheduler(path)
    assert str(path) in str(caught.value)


VALUES = [
    SchedulerConfig(schedules.linear(100, 1e-3, 0.3)),
    SchedulerConfig(schedules.cosine(64), "v_prediction", None, spacing="trailing"),
    SchedulerConfig(schedules.sigmoid(), "sample", 2.5, "fixed_large", "linspace"),
    SchedulerConfig(schedules.scaled_linear(beta_start=1e-4, beta_end=0.02), steps_offset=1),
    SchedulerConfig(
        schedules.linear(50, 1e-3, 0.5), class_name="DDIMScheduler", set_alpha_to_one=False
    ),
    SchedulerConfig(
        schedules.linear().rescale_zero_terminal_snr(), "v_prediction", spacing="trailing"
    ),
    SchedulerConfig(schedules.from_betas(np.linspace(0.01, 0.5, 40))),
]


@pytest.mark.parametrize("scheduler", VALUES, ids=range(len(VALUES)))
def test_json_round_trip(tmp_path, scheduler):
    write_scheduler(tmp_path / "s.json", scheduler)
    again = read_scheduler(tmp_path / "s.json")
    np.testing.assert_allclose(again.schedule.betas, scheduler.schedule.betas, rtol=1e-15)
    assert again.to_dict() == scheduler.to_dict()


@pytest.mark.peers
@pytest.mark.parametrize("scheduler", VALUES, ids=range(len(VALUES)))
def test_diffusers_reads_the_same_schedule(tmp_path, scheduler):
    diffusers = pytest.importorskip("diffusers")
    write_scheduler(tmp_path / "scheduler_config.json", scheduler)
    peer = getattr(diffusers, scheduler.class_name).from_pretrained(tmp_path)
    expected = scheduler.schedule.alphas_cumprod
    np.testing.assert_allclose(peer.alphas_cumprod.numpy(), expected, rtol=2e-4, atol=1e-7)
    assert peer.config.prediction_type == scheduler.prediction
    assert peer.config.clip_sample == (scheduler.clip is not None)
    assert peer.config.timestep_spacing == scheduler.spacing


@pytest.mark.peers
@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler"])
def test_what_diffusers_writes_by_default_is_read(tmp_path, name):
    diffusers = pytest.importorskip("diffusers")
    getattr(diffusers, name)().save_pretrained(tmp_path)
    assert read_scheduler(tmp_path / "scheduler_config.json").class_name == name
