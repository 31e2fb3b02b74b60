"""Every loss and schedule in the Trainer: they train, resume to the bit, sample as trained."""

from __future__ import annotations

import numpy as np
import pytest
from training_runs import fingerprint, make_trainer, run_until

import pydiff
from pydiff import Tensor, schedules
from pydiff.errors import CheckpointError, ConfigError, NonFiniteError, ShapeError
from pydiff.io import write_weights
from pydiff.nn import UNet2D
from pydiff.training.checkpoint import MARKER, _write_marker


@pytest.mark.parametrize(
    "options",
    [
        {"loss_weight": "min_snr", "times": "low_discrepancy"},
        {"loss_weight": "p2", "times": "log_snr"},
        {"objective": "hybrid"},
        {"objective": "vlb"},
        {"objective": "sliced"},
    ],
    ids=str,
)
def test_every_loss_trains_and_resumes_to_the_bit(tmp_path, options):
    learned = options.get("objective") in ("hybrid", "vlb")
    unet = {"out_channels": 1 + learned}
    straight = make_trainer(unet=unet, **options)
    straight.train()
    first = make_trainer(tmp_path, unet=unet, **options)
    run_until(first, 3)
    first.save()
    second = make_trainer(tmp_path, unet=unet, **options)
    assert second.resume() == 3
    second.train()
    assert fingerprint(second) == fingerprint(straight)


def test_a_learned_variance_needs_its_channels():
    with pytest.raises(ShapeError, match="objective = 'hybrid' needs twice as many"):
        make_trainer(objective="hybrid")


PLAIN = {"num_class_embeds": None, "dropout": 0.0}
ANY_SCHEDULE = {
    "vp": (schedules.vp(), {"prediction": "v_prediction", "times": "low_discrepancy"}),
    "sub_vp": (schedules.sub_vp(), {"loss_weight": "likelihood", "times": "log_snr"}),
    "ve": (schedules.ve(), {"prediction": "score", "loss_weight": "ncsn"}),
    "edm": (
        schedules.edm(),
        {"prediction": "sample", "loss_weight": "edm", "times": "lognormal", "sigma_data": 0.6},
    ),
    "flow": (schedules.flow(3.0), {"prediction": "flow", "times": "logit_normal"}),
    "cosine_logsnr": (schedules.cosine_logsnr(), {"loss_weight": "min_snr"}),
}


@pytest.mark.parametrize("name", ANY_SCHEDULE)
def test_any_schedule_trains_and_resumes_to_the_bit(tmp_path, name):
    schedule, options = ANY_SCHEDULE[name]
    straight = make_trainer(schedule=schedule, **options)
    straight.train()
    first = make_trainer(tmp_path, schedule=schedule, sample_every=3, num_samples=2, **options)
    run_until(first, 3)
    first.save()
    second = make_trainer(tmp_path, schedule=schedule, **options)
    assert second.resume() == 3
    second.train()
    assert fingerprint(second) == fingerprint(straight)
    other = schedules.vp(0.2) if name != "vp" else schedules.vp(0.3)
    with pytest.raises(CheckpointError, match="schedule"):
        plain = {k: v for k, v in options.items() if k != "times"}
        make_trainer(tmp_path, schedule=other, **plain).resume()


@pytest.mark.parametrize("name", ANY_SCHEDULE)
def test_samplers_tell_the_network_what_training_told_it(name, monkeypatch):
    schedule, options = ANY_SCHEDULE[name]
    trainer = make_trainer(schedule=schedule, unet=PLAIN, class_conditional=False, **options)
    told, call = [], UNet2D.forward

    def forward(network, x, t, class_labels=None):
        told.append((np.array(x.data if isinstance(x, Tensor) else x), np.array(t)))
        return call(network, x, t, class_labels)

    monkeypatch.setattr(UNet2D, "forward", forward)
    trainer._accumulate(0)
    (seen, timesteps), (x0, eps, t, *_) = told.pop(), trainer._inputs(0).example
    denoiser = trainer.denoiser()
    for i, time_ in enumerate(t.tolist()):
        denoiser(schedule.add_noise(x0, eps, t)[i : i + 1], time_)
        x, timestep = told.pop()
        assert timestep == pytest.approx(timesteps[i], rel=1e-12)
        np.testing.assert_allclose(x[0], seen[i], rtol=1e-5)
    spread = np.ptp(timesteps) if "sigma_data" not in options else 1000.0
    assert spread > 50.0  # sinusoidal embeddings tell such times apart


def test_a_flow_learns_what_it_is_shown():
    image = np.full((8, 8, 1), -1.0, np.float32)
    image[2:6, 2:6] = 1.0
    trainer = make_trainer(
        data=np.repeat(image[None], 16, 0), unet=PLAIN, schedule=schedules.flow(),
        class_conditional=False, batch_size=32, grad_accumulation=1, steps=120, lr=4e-3,
        prediction="flow", ema_decay=0.9,
    )  # fmt: skip
    trainer.train()
    drawn = pydiff.sample(trainer.denoiser(clip=1.0), (4, 8, 8, 1), "euler", 10)
    assert np.abs(drawn - image).mean() < 0.1


RESAMPLED = {"times": "resampled", "steps": 24, "lr_schedule": "constant", "objective": "hybrid"}


def make_resampled(folder=None):
    unet = {"out_channels": 2}
    return make_trainer(folder, schedule=schedules.cosine(4), unet=unet, **RESAMPLED)


def test_the_resampler_resumes_to_the_bit(tmp_path):
    straight = make_resampled()
    straight.train()
    history = straight.loss.times
    assert history.arrays["counts"].sum() == 24 * 8 and history.arrays["counts"].min() >= 10
    assert np.ptp(history.probabilities()) > 0.01  # it left the uniform start
    first = make_resampled(tmp_path)
    run_until(first, 19)
    first.save()
    second = make_resampled(tmp_path)
    assert second.resume() == 19
    second.train()
    assert fingerprint(second) == fingerprint(straight)
    for name, array in second.loss.times.arrays.items():
        np.testing.assert_array_equal(array, history.arrays[name])


@pytest.mark.parametrize(
    "arrays",
    [
        {"losses": np.zeros((5, 10)), "counts": np.zeros(5, np.int64)},
        {"losses": np.zeros((4, 10), np.float32), "counts": np.zeros(4, np.int64)},
        {"losses": np.full((4, 10), np.nan), "counts": np.zeros(4, np.int64)},
        {"losses": np.zeros((4, 10)), "counts": np.full(4, -1)},
        {"losses": np.zeros((4, 10))},
    ],
)
def test_a_damaged_history_changes_nothing(tmp_path, arrays):
    run_until(make_resampled(tmp_path), 1)
    first = make_resampled(tmp_path)
    first._train_step()
    path = first.save()
    write_weights(path / "loss_history.safetensors", arrays)
    (path / MARKER).unlink()
    _write_marker(path)
    trainer = make_resampled(tmp_path)
    before = fingerprint(trainer)
    with pytest.raises(CheckpointError, match="losses and counts"):
        trainer.resume()
    assert fingerprint(trainer) == before


ZERO_SNR = schedules.cosine(100).rescale_zero_terminal_snr()


@pytest.mark.parametrize(
    ("options", "schedule", "message"),
    [
        ({"objective": "hybrid"}, schedules.vp(), "for discrete schedules"),
        ({"objective": "vlb"}, ZERO_SNR, "leaves x_0 undetermined"),
        ({"loss_weight": "edm"}, ZERO_SNR, "weight = 'edm' is not finite at t = 99"),
        ({"times": "resampled"}, schedules.flow(), "resampler is for discrete schedules"),
        ({"times": "log_snr"}, schedules.flow(), "finite log-SNR at both ends"),
        ({"sigma_data": 0.5}, schedules.edm(), "a preconditioned network predicts the sample"),
        ({"sigma_data": 0.0, "prediction": "sample"}, schedules.edm(), "sigma_data = 0.0"),
        ({"objective": "sliced", "loss_weight": "edm"}, schedules.vp(), "brings its own weight"),
    ],
    ids=str,
)
def test_losses_that_cannot_be_are_refused_before_training(options, schedule, message):
    with pytest.raises(ConfigError, match=message):
        make_trainer(schedule=schedule, unet={"out_channels": 1}, **options)


def test_non_finite_weights_of_a_preconditioned_network_are_named():
    trainer = make_trainer(schedule=schedules.edm(), **ANY_SCHEDULE["edm"][1])
    dict(trainer.model.named_parameters())["conv_in.weight"].data.flat[3] = np.nan
    with pytest.raises(NonFiniteError, match="'conv_in'"):
        trainer.train()
