"""Training stops, resumes, fails and reports exactly as it should."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import threading
import time

import numpy as np
import pytest
from training_runs import fingerprint, make_trainer, run_until, timeless

import pydiff
from pydiff.errors import CheckpointError, ConfigError, DataError, NonFiniteError, ShapeError
from pydiff.training import trainer as trainer_module
from pydiff.training.checkpoint import MARKER, _write_marker


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A run that nothing interrupted: (fingerprint, records)."""
    trainer = make_trainer(tmp_path_factory.mktemp("straight"))
    trainer.train()
    return fingerprint(trainer), timeless(trainer.metrics.read())


@pytest.mark.parametrize("at", range(1, 7))
def test_resuming_is_bitwise_as_if_never_interrupted(tmp_path, straight, at):
    first = make_trainer(tmp_path, checkpoint_every=1)
    run_until(first, at)
    second = make_trainer(tmp_path)
    assert second.resume() == at
    second.train()
    assert (fingerprint(second), timeless(second.metrics.read())) == straight


def test_resuming_from_an_older_checkpoint_forgets_what_came_after(tmp_path, straight):
    run_until(make_trainer(tmp_path, checkpoint_every=3), 5)
    second = make_trainer(tmp_path)
    assert second.resume() == 3
    assert [record["step"] for record in second.metrics.read()] == [2]
    second.train()
    assert (fingerprint(second), timeless(second.metrics.read())) == straight


def test_a_damaged_checkpoint_falls_back_and_ends_at_the_same_bits(tmp_path, straight):
    run_until(make_trainer(tmp_path, checkpoint_every=1), 4)
    file = tmp_path / "checkpoints" / "step-000004" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    second = make_trainer(tmp_path, checkpoint_every=1)
    with pytest.warns(RuntimeWarning, match=r"step-000004.*falling back to .*step-000003"):
        assert second.resume() == 3
    second.train()
    assert fingerprint(second) == straight[0]


def test_interrupt_saves_the_last_whole_step_and_training_can_go_on(tmp_path, straight):
    trainer = make_trainer(tmp_path, log_every=1)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(callback=lambda record: _interrupt() if record["step"] == 3 else None)
    assert trainer.step == 3
    assert os.listdir(tmp_path / "checkpoints") == ["step-000003"]
    trainer.train()
    assert fingerprint(trainer) == straight[0]
    again = make_trainer(tmp_path)
    assert again.resume() == 7


def _interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def test_interrupts_at_any_moment_leave_whole_steps(straight):
    trainer = make_trainer()
    # to the main thread: the system may hand a signal of the process to a sleeping thread, and it
    # would arrive after the join
    target = (threading.main_thread().ident, signal.SIGINT)
    for attempt in range(200):
        timer = threading.Timer(0.002 + 0.0007 * attempt, signal.pthread_kill, target)
        try:
            timer.start()  # on a busy machine it fires before this returns
            trainer.train()
            timer.cancel()
            timer.join()
            break
        except KeyboardInterrupt:
            timer.join()
    assert fingerprint(trainer) == straight[0]


@pytest.mark.parametrize(
    ("poisoned", "culprit"),
    [
        ("conv_in.weight", "conv_in"),
        ("mid_block.resnets.0.conv1.weight", "mid_block.resnets.0.conv1"),
    ],
)
def test_non_finite_loss_names_step_layer_and_checkpoint(tmp_path, poisoned, culprit):
    trainer = make_trainer(tmp_path, checkpoint_every=2)
    run_until(trainer, 3)
    before = trainer.optimizer.state_dict()
    dict(trainer.model.named_parameters())[poisoned].data.flat[3] = np.nan
    with pytest.raises(NonFiniteError) as caught:
        trainer.train()
    message = str(caught.value)
    assert "step 4" in message and f"'{culprit}'" in message and "step-000002" in message
    assert trainer.step == 3
    assert all(np.array_equal(before[k], v) for k, v in trainer.optimizer.state_dict().items())


def test_non_finite_gradient_names_its_parameter(monkeypatch):
    trainer = make_trainer(max_grad_norm=None)
    real = trainer._accumulate

    def poison(micro):
        loss = real(micro)
        dict(trainer.model.named_parameters())["conv_out.bias"].grad[0] = np.inf
        return loss

    monkeypatch.setattr(trainer, "_accumulate", poison)
    with pytest.raises(NonFiniteError, match=r"gradient of 'conv_out\.bias'"):
        trainer.train()


def change_json(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


HOSTILE = {
    "trainer.json": [
        {"step": -1}, {"step": 1.5}, {"step": True}, {"step": 2**40}, {"step": "1"},
        {"format": 2}, {"seconds": 1e300}, {"losses": [None]}, {"losses": ["x"]}, {"config": []},
        {"config": {"steps": 2**60}}, {"data": 3}, {"ema_updates": None},
    ],
    "model/config.json": [{"block_out_channels": [2**40]}, {"attention_head_dim": 8}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "changes"), [(name, change) for name in HOSTILE for change in HOSTILE[name]]
)
def test_hostile_numbers_with_a_valid_marker_change_nothing(tmp_path, file, changes):
    make_saved(tmp_path)
    path = tmp_path / "checkpoints" / "step-000001"
    change_json(path / file, **changes)
    refuse(tmp_path, path)


@pytest.mark.parametrize(
    "file",
    [
        "trainer.json", "optimizer.safetensors", "model/config.json",
        "model/diffusion_pytorch_model.safetensors", "ema/diffusion_pytorch_model.safetensors",
    ],
)  # fmt: skip
@pytest.mark.parametrize("content", ["half", "empty", "npy", "absent"])
def test_broken_files_with_a_valid_marker_change_nothing(tmp_path, file, content):
    make_saved(tmp_path)
    path = tmp_path / "checkpoints" / "step-000001"
    whole = (path / file).read_bytes()
    (path / file).write_bytes(
        {"half": whole[: len(whole) // 2], "empty": b"", "npy": npy(np.ones(3)), "absent": b""}[
            content
        ]
    )
    if content == "absent":
        (path / file).unlink()
    refuse(tmp_path, path)


def make_saved(tmp_path):
    trainer = make_trainer(tmp_path, checkpoint_every=1)
    run_until(trainer, 1)


def refuse(tmp_path, path):
    (path / MARKER).unlink()
    _write_marker(path)
    trainer = make_trainer(tmp_path)
    before = fingerprint(trainer)
    with pytest.raises(CheckpointError):
        trainer.resume()
    assert fingerprint(trainer) == before and trainer.step == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 1e-3}, "lr: the checkpoint has 0.002"),
        ({"steps": 9}, "steps"),
        ({"schedule": pydiff.schedules.linear(100, 1e-3, 0.2)}, "schedule"),
        ({"data": pydiff.data.digits("test")}, "data"),
        ({"unet": {"attention_head_dim": 8}}, "attention_head_dim"),
    ],
)
def test_another_run_is_refused_by_name(tmp_path, changes, named):
    make_saved(tmp_path)
    with pytest.raises(CheckpointError, match=named):
        make_trainer(tmp_path, **changes).resume()


def test_a_used_folder_is_refused_until_cleared(tmp_path):
    make_saved(tmp_path)
    with pytest.raises(ConfigError, match="earlier run"):
        make_trainer(tmp_path).train()
    trainer_module.clear_run(tmp_path)
    make_trainer(tmp_path, steps=3).train()


def test_splitting_a_step_into_micro_batches_changes_only_rounding():
    gradients = []
    for count, size in ((1, 8), (4, 2)):
        trainer = make_trainer(batch_size=size, grad_accumulation=count)
        for micro in range(count):
            trainer._accumulate(micro)
        gradients.append([parameter.grad for parameter in trainer.model.parameters()])
    for whole, split in zip(*gradients, strict=True):
        np.testing.assert_allclose(split, whole, atol=1e-6)


def test_the_loss_of_a_step_is_the_mean_squared_error_it_should_be():
    trainer = make_trainer(unet={"dropout": 0.0}, grad_accumulation=1)
    (x0, eps, t, *_), labels = trainer.batches.draw(0, 0)
    x_t = trainer.schedule.add_noise(x0, eps, t)
    predicted = trainer.model(x_t, t, class_labels=labels).numpy()
    expected = np.mean((predicted.astype(np.float64) - eps) ** 2)
    assert trainer._accumulate(0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_it_learns(prediction):
    images = np.full((16, 8, 8, 1), -1.0, np.float32)
    images[:, 2:6, 2:6] = 1.0
    trainer = make_trainer(
        data=images, unet={"num_class_embeds": None, "dropout": 0.0}, class_conditional=False,
        batch_size=32, grad_accumulation=1, steps=60, lr=4e-3, log_every=1, prediction=prediction,
    )  # fmt: skip
    records = []
    trainer.train(callback=records.append)
    losses = [record["loss"] for record in records]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_float64_models_train_in_float64():
    trainer = make_trainer(steps=1, lr_schedule="constant")
    trainer64 = make_trainer(steps=1, lr_schedule="constant")
    trainer64.model.astype(np.float64)
    trainer64 = trainer_module.Trainer(
        trainer64.model, trainer64.schedule, pydiff.data.digits(), config=trainer64.config
    )
    trainer.train()
    trainer64.train()
    for name, array in trainer.model.state_dict().items():
        assert trainer64.model.state_dict()[name].dtype == np.float64
        np.testing.assert_allclose(trainer64.model.state_dict()[name], array, atol=1e-3)


def test_callback_false_stops_with_a_checkpoint(tmp_path):
    trainer = make_trainer(tmp_path, log_every=1)
    trainer.train(callback=lambda record: record["step"] < 2)
    assert trainer.step == 2
    assert (tmp_path / "checkpoints" / "step-000002").is_dir()


def test_records_and_pictures(tmp_path):
    trainer = make_trainer(tmp_path, sample_every=4, num_samples=3, sample_steps=2)
    trainer.train()
    records = trainer.metrics.read()
    assert [record["step"] for record in records] == [2, 4, 6]
    assert all(math.isfinite(value) for record in records for value in record.values())
    assert os.listdir(tmp_path / "samples") == ["step-000004.png"]


def test_without_matplotlib_it_says_so_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "plotting_available", lambda: False)
    trainer = make_trainer(tmp_path, sample_every=4, num_samples=1, sample_steps=1)
    with pytest.warns(UserWarning, match=r"matplotlib is missing \(pip install 'pydiff\[plot\]'\)"):
        trainer.train()
    assert not (tmp_path / "loss.png").exists()


def test_sampling_along_the_way_moves_no_bit(tmp_path, straight):
    trainer = make_trainer(tmp_path, sample_every=2, num_samples=2, sample_steps=2)
    trainer.train()
    assert fingerprint(trainer) == straight[0]


def test_a_full_disk_names_the_checkpoint_and_keeps_the_last(tmp_path, monkeypatch):
    make_saved(tmp_path)
    trainer = make_trainer(tmp_path, checkpoint_every=1)
    trainer.resume()

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "write_state", full)
        with pytest.raises(OSError, match=r"step-000002.*No space left.*bytes free"):
            trainer.train()
    assert os.listdir(tmp_path / "checkpoints") == ["step-000001"]
    assert make_trainer(tmp_path).resume() == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (np.zeros((0, 8, 8, 1), np.float32), DataError),
        (np.zeros((4, 8, 8), np.float32), ShapeError),
        ((np.zeros((4, 8, 8, 3), np.float32), np.zeros(4, np.int64)), ShapeError),
        (np.zeros((4, 8, 8, 1), np.uint8), ShapeError),
        (np.full((4, 8, 8, 1), np.nan, np.float32), DataError),
        (np.zeros((4, 8, 8, 1), np.float32), ConfigError),
        ((np.zeros((4, 8, 8, 1), np.float32), np.zeros(3, np.int64)), ShapeError),
        ((np.zeros((4, 8, 8, 1), np.float32), np.zeros(4, np.float32)), ShapeError),
        ((np.zeros((4, 8, 8, 1), np.float32), np.full(4, 10)), DataError),
    ],
)
def test_data_that_does_not_fit_is_refused(data, error):
    with pytest.raises(error):
        make_trainer(data=data)


def test_batches_visit_every_image_once_per_epoch():
    trainer = make_trainer(data=(_numbered(24), np.zeros(24, np.int64)), horizontal_flip=False)
    batches = [trainer.batches.draw(step, micro) for step in range(3) for micro in range(2)]
    seen = [round(float(v) * 100) for b in batches for v in b.example.x0[:, 0, 0, 0]]
    assert sorted(seen) == list(range(24))
    assert seen != list(range(24))


def _numbered(count):
    return np.broadcast_to(
        np.arange(count, dtype=np.float32)[:, None, None, None] / 100, (count, 8, 8, 1)
    )
