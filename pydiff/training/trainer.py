"""The training loop: one optimiser step after another, resumable at any of them to the last bit."""

from __future__ import annotations

import math
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..diffusion import Denoiser, LossHistory, NoiseSchedule
from ..errors import ConfigError, NonFiniteError
from ..io.figure import plotting_available
from ..nn import (
    EMA,
    AdamW,
    LearningRate,
    UNet2D,
    clip_scale,
    first_nonfinite,
    grad_norm,
    seed_dropout,
)
from .batches import Batch, Batches
from .checkpoint import list_checkpoints, newest_checkpoint, save_checkpoint
from .config import TrainConfig
from .denoising import denoiser_of, denoising
from .interrupt import InterruptGuard
from .metrics import MetricsLog
from .plots import save_loss_curve
from .progress import Progress
from .snapshots import save_samples
from .state import Identity, State, read_state, schedule_hash, with_arrays, write_state

Callback = Callable[[dict[str, Any]], Any]


class Trainer:
    """Trains a model to denoise at random noise levels, by the loss of its config.

    Ho et al. 2020, "Denoising Diffusion Probabilistic Models" (arXiv 2006.11239), Algorithm 1.

    model: `nn.UNet2D`. schedule: any NoiseSchedule; the model is told `schedule.timestep(t)`, or
    what EDM's preconditioning tells it (`config.sigma_data`). data: images (N, H, W, C) in [-1, 1],
    or a tuple (images, labels (N,) integers). config: TrainConfig. folder: where metrics.jsonl,
    checkpoints/, samples/ and loss.png go; None writes nothing.

    `step` counts finished optimiser steps; `ema` holds the averaged weights. All randomness is
    keyed by (seed, step, position), so the state to resume is the arrays and a few numbers.
    Raises ConfigError and ShapeError where model, data and config do not fit together.
    """

    def __init__(
        self,
        model: UNet2D,
        schedule: NoiseSchedule,
        data: Any,
        *,
        config: TrainConfig | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.config = config = config or TrainConfig()
        self.model, self.schedule = model, schedule
        self.loss = config.loss(schedule)
        self.batches = Batches(data, config, schedule, self.loss)
        self.batches.check_fit(model.config)
        self.folder = None if folder is None else Path(folder)
        self.optimizer = AdamW(
            model.parameters(),
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )
        self.learning_rate = LearningRate(
            config.lr, config.lr_schedule, config.steps, config.warmup_steps
        )
        self.ema = EMA(model, config.ema_decay)
        self.step = 0
        self.seconds = 0.0
        self._losses: list[float] = []  # since the last line of the log
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []  # times and their losses in this step
        self._saved: tuple[int, Path] | None = None
        self._guard = InterruptGuard()

    @property
    def metrics(self) -> MetricsLog:
        """The log of the run; ConfigError without a folder."""
        return MetricsLog(self._folder() / "metrics.jsonl")

    def train(self, *, progress: bool | None = None, callback: Callback | None = None) -> None:
        """Train up to step `config.steps`.

        progress: a bar on stderr; None shows it only on a terminal. callback: gets each record of
        the log (step, loss, lr, grad_norm, images_per_second, seconds); returning False stops.

        KeyboardInterrupt leaves the trainer at the last finished step, with a checkpoint if it has
        a folder: calling `train` again goes on. NonFiniteError names the step, the first layer
        whose output is not finite, and the last good checkpoint; the step is not applied.
        """
        self.check_folder()
        self.model.train()
        try:
            with self._guard.installed(), Progress(self.config.steps, self.step, progress) as bar:
                self._loop(bar, callback)
            self.save()
        except KeyboardInterrupt:
            self.save()
            raise
        finally:
            self.model.eval()

    def resume(self) -> int:
        """Take up the newest whole checkpoint of `folder`; returns its step.

        Warns about newer ones that are damaged. Raises CheckpointError if there is none, or if it
        belongs to another run; the trainer is then as it was.
        """
        path = newest_checkpoint(self._folder() / "checkpoints")
        state = read_state(path, self.model, self._identity(), self._state().history)
        with self._guard.installed(), self._guard.deferred():
            self._apply(state)
            self._saved = (self.step, path)
            self.metrics.truncate(self.step)
        return self.step

    def save(self) -> Path | None:
        """Write a checkpoint of this step, if there is a folder and it is not there yet."""
        if self.folder is None:
            return None
        if self._saved is None or self._saved[0] != self.step:
            self.metrics.sync()
            state, identity = self._state(), self._identity()
            path = save_checkpoint(
                self.folder / "checkpoints",
                self.step,
                lambda path: write_state(path, self.model, identity, state),
            )
            self._saved = (self.step, path)
        return self._saved[1]

    def averaged_model(self) -> UNet2D:
        """A network with the averaged weights, which sample better, in evaluation mode."""
        return with_arrays(self.model, {k: v.copy() for k, v in self.ema.arrays.items()})

    def denoiser(
        self, class_labels: np.ndarray | None = None, clip: float | None = None
    ) -> Denoiser:
        """The averaged network as a Denoiser: told the same at a time as in training.

        class_labels (N,): of the x (N, ...) that it will see, for a class-conditional model. clip:
        bound of x_0, as of `Denoiser`.
        """
        return denoiser_of(self.averaged_model(), self.schedule, self.config, class_labels, clip)

    @property
    def _history(self) -> LossHistory | None:
        return self.loss.times if isinstance(self.loss.times, LossHistory) else None

    def _loop(self, bar: Progress, callback: Callback | None) -> None:
        config = self.config
        while self.step < config.steps:
            record = self._train_step()
            bar.advance(record["loss"])
            if _due(self.step, config.log_every) and callback and callback(record) is False:
                return
            if self.folder is not None:
                if _due(self.step, config.checkpoint_every):
                    self.save()
                if _due(self.step, config.sample_every):
                    self._draw()

    def _train_step(self) -> dict[str, Any]:
        """One optimiser step; an interrupt falls before it is applied or after it is recorded."""
        start = time.perf_counter()
        config = self.config
        self.optimizer.zero_grad()
        self._seen = []
        losses = [self._accumulate(micro) for micro in range(config.grad_accumulation)]
        loss = math.fsum(losses) / len(losses)
        norm = grad_norm(self.optimizer.parameters)
        self._check_finite(loss, norm)
        self.optimizer.lr = self.learning_rate(self.step)
        with self._guard.deferred():
            self.optimizer.step(clip_scale(norm, config.max_grad_norm or math.inf), self.ema)
            self.step += 1
            if self._history is not None:
                for t, values in self._seen:
                    self._history.record(t, values)
            seconds = time.perf_counter() - start
            self.seconds += seconds
            self._losses.append(loss)
            return self._record(norm, seconds)

    def _accumulate(self, micro: int) -> float:
        """Add the gradients of one micro-batch; returns its loss."""
        batch = self._inputs(micro)
        model = denoising(self.model, self.schedule, self.config.sigma_data)
        inputs: dict[str, Any] = {"class_labels": batch.labels}
        if self._history is None:
            loss = self.loss.mean(model, batch.example, self.schedule, **inputs)
        else:
            each = self.loss(model, batch.example, self.schedule, **inputs)
            self._seen.append((batch.example.t, each.numpy() / batch.example.weight))
            loss = ops.mean(each)
        (loss * (1.0 / self.config.grad_accumulation)).backward()
        return float(loss.item())

    def _inputs(self, micro: int) -> Batch:
        """One micro-batch, with the dropout masks set."""
        first = micro * self.config.batch_size
        if self.model.config["dropout"]:
            seed_dropout(self.model, self.config.seed, self.step, first)
        return self.batches.draw(self.step, micro, self.model.dtype)

    def _check_finite(self, loss: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        last = (
            f"the last good checkpoint is {self._saved[1]}" if self._saved else "no checkpoint yet"
        )
        raise NonFiniteError(
            f"step {self.step + 1}: loss {loss}, gradient norm {norm}: {self._culprit()}; {last}"
        )

    def _culprit(self) -> str:
        """Where the first NaN or infinity of this step appears."""
        for micro in range(self.config.grad_accumulation):
            layer = self._bad_layer(self._inputs(micro))
            if layer is not None:
                return f"the first layer with a non-finite output is {layer or 'the model'!r}"
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None and not np.isfinite(parameter.grad).all():
                return f"all layers are finite, but the gradient of {name!r} is not"
        return "all layers and gradients are finite, but their squares overflow"

    def _bad_layer(self, batch: Batch) -> str | None:
        """The name of the first layer whose output is not finite."""
        found: list[str | None] = []

        def network(x: Any, timestep: Any, **inputs: Any) -> Any:
            found.append(first_nonfinite(self.model, x, timestep, **inputs))
            return x

        x0, eps, t = batch.example[:3]
        model = denoising(network, self.schedule, self.config.sigma_data)
        model(self.schedule.add_noise(x0, eps, t), t, class_labels=batch.labels)
        return found[0]

    def _record(self, norm: float, seconds: float) -> dict[str, Any]:
        record = {
            "step": self.step,
            "loss": math.fsum(self._losses) / len(self._losses),
            "lr": self.optimizer.lr,
            "grad_norm": norm,
            "images_per_second": round(self.batches.images_per_step / seconds, 2),
            "seconds": round(self.seconds, 3),
        }
        if _due(self.step, self.config.log_every):
            self._losses = []
            if self.folder is not None:
                self.metrics.append(record)
        return record

    def _draw(self) -> None:
        path = self._folder() / "samples" / f"step-{self.step:06d}.png"
        shape = self.batches.images.shape[1:]
        save_samples(self.averaged_model(), self.schedule, self.config, shape, path)
        self.draw_loss_curve()

    def draw_loss_curve(self) -> Path | None:
        """Write loss.png into the folder; None, and a warning once, without matplotlib."""
        folder = self._folder()
        records = self.metrics.read()
        if not records:
            return None
        if not plotting_available():
            warnings.warn(
                "no loss curve: matplotlib is missing (pip install 'pydiff[plot]')", stacklevel=2
            )
            return None
        save_loss_curve(records, folder / "loss.png")
        return folder / "loss.png"

    def _identity(self) -> Identity:
        return Identity(
            self.config, schedule_hash(self.schedule), self.batches.fingerprint(), self.model.config
        )

    def _state(self) -> State:
        return State(
            step=self.step,
            seconds=self.seconds,
            losses=list(self._losses),
            optimizer_steps=self.optimizer.steps,
            ema_updates=self.ema.updates,
            weights={name: p.data for name, p in self.model.named_parameters()},
            averages=self.ema.arrays,
            optimizer=self.optimizer.arrays,
            history={} if self._history is None else self._history.arrays,
        )

    def _apply(self, state: State) -> None:
        # the optimiser checks names and shapes before it takes anything, and comes first
        self.optimizer.load_state_dict(
            {"steps": state.optimizer_steps, "lr": self.config.lr, **state.optimizer}
        )
        for name, parameter in self.model.named_parameters():
            parameter.data = state.weights[name]
            self.ema.arrays[name] = state.averages[name]
        self.ema.updates = state.ema_updates
        if self._history is not None:
            self._history.arrays = state.history
        self.step, self.seconds, self._losses = state.step, state.seconds, state.losses

    def _folder(self) -> Path:
        if self.folder is None:
            raise ConfigError("this Trainer has no folder: pass folder=... when it is made")
        return self.folder

    def check_folder(self) -> None:
        """Make the folder ready; ConfigError if it holds an earlier run that was not resumed."""
        if self.folder is None or self._saved is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if list_checkpoints(self.folder / "checkpoints"):
            raise ConfigError(
                f"{self.folder} holds checkpoints of an earlier run: resume it, clear it "
                "(--overwrite), or choose another folder"
            )
        self.metrics.truncate(self.step)


def clear_run(folder: str | os.PathLike[str]) -> None:
    """Delete what an earlier run left in `folder`: checkpoints/, samples/ and metrics.jsonl."""
    for name in ("checkpoints", "samples"):
        shutil.rmtree(Path(folder) / name, ignore_errors=True)
    (Path(folder) / "metrics.jsonl").unlink(missing_ok=True)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
