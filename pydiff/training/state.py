"""The files of one checkpoint: weights, averages, optimiser arrays, and a few numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..diffusion import DiscreteSchedule, NoiseSchedule
from ..errors import CheckpointError, ConfigError
from ..io import read_config, read_weights, write_config, write_weights
from ..nn import UNet2D
from .config import TrainConfig

FORMAT = 1
_HISTORY = "loss_history.safetensors"
_NUMBERS = {"step": int, "seconds": float, "optimizer_steps": int, "ema_updates": int}


@dataclasses.dataclass(frozen=True)
class Identity:
    """What must be the same for a run to go on bitwise: settings, schedule, data, architecture."""

    config: TrainConfig
    schedule: str
    data: str
    model: dict[str, Any]

    def check(self, path: Path, saved: Identity) -> None:
        """Raise CheckpointError naming all that differs from the checkpoint at `path`."""
        problems = saved.config.conflicts(self.config)
        if saved.schedule != self.schedule:
            problems.append("schedule: another one")
        if saved.data != self.data:
            problems.append("data: other images or labels")
        problems += [
            f"model config {key}: the checkpoint has {saved.model.get(key)!r}, this run {value!r}"
            for key, value in self.model.items()
            if saved.model.get(key) != value
        ]
        if problems:
            detail = "".join(f"\n  {problem}" for problem in problems)
            raise CheckpointError(f"{path}: this run is not the one of the checkpoint{detail}")


@dataclasses.dataclass(frozen=True)
class State:
    """All that changes while training. Arrays by name in the memory layout of the modules."""

    step: int
    seconds: float
    losses: list[float]
    optimizer_steps: int
    ema_updates: int
    weights: dict[str, np.ndarray]
    averages: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]
    history: dict[str, np.ndarray]  # of `LossHistory`; empty where times are drawn without one


def with_arrays(like: UNet2D, arrays: dict[str, np.ndarray]) -> UNet2D:
    """A network of the same configuration that holds these parameters, in evaluation mode."""
    model = UNet2D(seed=None, **like.config).astype(like.dtype)
    for name, parameter in model.named_parameters():
        parameter.data = arrays[name]
    return model.eval()


def schedule_hash(schedule: NoiseSchedule) -> str:
    """A short hash of the betas, or of class and parameters of a continuous schedule."""
    if isinstance(schedule, DiscreteSchedule):
        content = schedule.betas.tobytes()
    else:
        content = repr(schedule).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def write_state(path: Path, model: UNet2D, identity: Identity, state: State) -> None:
    """Fill the folder `path`: model/, ema/ (both for diffusers), optimizer and trainer files."""
    with_arrays(model, state.weights).save_pretrained(path / "model")
    with_arrays(model, state.averages).save_pretrained(path / "ema")
    write_weights(path / "optimizer.safetensors", state.optimizer)
    if state.history:
        write_weights(path / _HISTORY, state.history)
    numbers = {key: getattr(state, key) for key in _NUMBERS}
    write_config(
        path / "trainer.json",
        {
            "format": FORMAT,
            **numbers,
            "losses": state.losses,
            "config": identity.config.to_dict(),
            "schedule": identity.schedule,
            "data": identity.data,
        },
    )


def read_state(
    path: Path, model: UNet2D, identity: Identity, history: dict[str, np.ndarray]
) -> State:
    """The state in the folder `path`; CheckpointError unless all of it fits `model` and the run.

    history: arrays like those of the run's own history of losses, if it has one.

    Nothing is changed: arrays are read into a second network first.
    """
    try:
        content = read_config(path / "trainer.json")
        numbers = _checked_numbers(content)
        saved = Identity(
            TrainConfig.from_dict(_of_type(content, "config", dict)),
            _of_type(content, "schedule", str),
            _of_type(content, "data", str),
            read_config(path / "model" / "config.json"),
        )
        identity.check(path, saved)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return State(
        **numbers,
        losses=_checked_losses(content),
        weights=_read_arrays(path / "model", model),
        averages=_read_arrays(path / "ema", model),
        optimizer=read_weights(path / "optimizer.safetensors"),
        history=_read_history(path / _HISTORY, history) if history else {},
    )


def _read_arrays(folder: Path, like: UNet2D) -> dict[str, np.ndarray]:
    loaded = UNet2D(seed=None, **like.config).astype(like.dtype)
    loaded.load_weights(folder / "diffusion_pytorch_model.safetensors")
    return {name: parameter.data for name, parameter in loaded.named_parameters()}


def _read_history(path: Path, like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = read_weights(path)
    kinds, wanted = ({k: (a.shape, a.dtype) for k, a in d.items()} for d in (arrays, like))
    finite = all(np.isfinite(array).all() for array in arrays.values())
    if kinds != wanted or not finite or (arrays["counts"] < 0).any():
        raise CheckpointError(f"{path}: not the losses and counts of this schedule's times")
    return arrays


def _checked_numbers(content: dict[str, Any]) -> dict[str, Any]:
    if content.get("format") != FORMAT:
        raise ConfigError(f"trainer.json: format = {content.get('format')!r}; known: {FORMAT}")
    numbers = {key: _of_type(content, key, kind) for key, kind in _NUMBERS.items()}
    for key, value in numbers.items():
        if not 0 <= value < 2**31:
            raise ConfigError(f"trainer.json: {key} = {value!r}; a number in [0, 2^31)")
    return numbers


def _checked_losses(content: dict[str, Any]) -> list[float]:
    losses: list[float] = _of_type(content, "losses", list)
    if not all(type(loss) is float and math.isfinite(loss) for loss in losses):
        raise CheckpointError("trainer.json: losses must be a list of finite numbers")
    return losses


def _of_type(content: dict[str, Any], key: str, kind: type) -> Any:
    value = content.get(key)
    if type(value) is not kind:
        raise ConfigError(f"trainer.json: {key} = {value!r:.80}; expected {kind.__name__}")
    return value
