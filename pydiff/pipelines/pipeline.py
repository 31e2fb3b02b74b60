"""A trained model with its schedule: from a folder, to a folder, and to images."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import check_count
from ..data import denormalise
from ..diffusion import NoiseSchedule
from ..errors import ConfigError
from ..io import read_config, write_config
from ..nn import UNet2D
from ..plan import Plan
from ..random import normal
from ..samplers import DDIM, DDPM, Sampler, make_sampler, sample
from ..samplers.base import Predictor
from ..schedulers import SCHEDULERS, Scheduler, from_config
from .plans import ModelPlans
from .scheduler_config import scheduler_for, write_scheduler
from .stored import StoredModel

# Pipelines of diffusers that are a U-Net and a scheduler; those of other schedulers are DDPM's.
PIPELINES = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "ScoreSdeVePipeline")
BATCH = 64
MAX_ARENA = 64 << 20

Callback = Callable[[int, Any, np.ndarray, np.ndarray], Any]


class Pipeline:
    """An unconditional or class-conditional image model, ready to sample.

    model: a `nn.UNet2D`, put into evaluation mode. schedule: the NoiseSchedule it was trained
    with, or a whole Scheduler. settings: with a schedule, the other arguments of
    `scheduler_config.scheduler_for`: prediction, clip, variance, spacing, class_name, ...
    Nothing changes between calls, so threads may share one.
    """

    def __init__(self, model: UNet2D, schedule: NoiseSchedule | Scheduler, **settings: Any) -> None:
        if not isinstance(schedule, Scheduler):
            schedule = scheduler_for(schedule, **settings)
        elif settings:
            raise ConfigError(f"{', '.join(settings)}: the scheduler has its own settings")
        self._start(model.eval(), None, schedule)

    def _start(self, network: UNet2D, stored: StoredModel | None, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._network = network
        self._stored = stored  # where the network's weights are, while it has none itself
        self._lock = threading.Lock()
        self._plans = ModelPlans()

    @property
    def model(self) -> UNet2D:
        """The network. A pipeline from a folder holds compiled plans alone until this is read."""
        with self._lock:
            if self._stored is not None:
                self._network, self._stored = self._stored.load(), None
            return self._network

    @model.setter
    def model(self, model: UNet2D) -> None:
        with self._lock:
            self._network, self._stored = model.eval(), None

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Pipeline:
        """Load a pipeline of a U-Net and a scheduler as diffusers writes it, with any scheduler of
        `schedulers.SCHEDULERS`; no network, nothing is executed.

        folder: `model_index.json`, `unet/` and `scheduler/`, or everything in the folder itself
        (config.json, weights and scheduler_config.json), as old repositories have it.
        Raises ConfigError for classes and values that pydiff does not know, CheckpointError for
        weights that are missing, malformed or do not fit.
        """
        root = Path(folder)
        if not root.is_dir():
            raise ConfigError(f"{root}: no such folder")
        if (root / "model_index.json").exists():
            _check_model_index(root / "model_index.json")
        elif not (root / "config.json").exists():
            raise ConfigError(f"{root}: holds neither model_index.json nor config.json")
        path = _part(root, "scheduler") / "scheduler_config.json"
        pipeline = cls.__new__(cls)
        scheduler, stored = from_config(path), StoredModel(_part(root, "unet"))
        pipeline._start(stored.network, stored, scheduler)
        return pipeline

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that `from_pretrained` and diffusers' pipelines load."""
        root = Path(folder)
        for part in ("unet", "scheduler"):
            (root / part).mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(root / "unet")
        write_scheduler(root / "scheduler" / "scheduler_config.json", self.scheduler)
        name = self.scheduler.class_name
        pipeline = name.replace("Scheduler", "Pipeline")
        index = {
            "_class_name": pipeline if pipeline in PIPELINES else PIPELINES[0],
            "unet": ["diffusers", "UNet2DModel"],
            "scheduler": ["diffusers", name],
        }
        write_config(root / "model_index.json", index)

    @property
    def num_classes(self) -> int | None:
        """How many labels the model knows; None if it takes none."""
        return self._network.config.get("num_class_embeds")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images; ConfigError if the model's config has no sample_size."""
        size = self._network.config["sample_size"]
        if size is None:
            raise ConfigError("the model's config has sample_size = null: image size unknown")
        height, width = (size, size) if isinstance(size, int) else size
        return height, width, self._network.config["in_channels"]

    def model_hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the weights, names and shapes."""
        digest = hashlib.sha256()
        for name, array in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:12]

    def _evaluator(self, shape: tuple[int, ...], compile: bool) -> Callable[..., Any]:
        """A plan for images of that shape, or the network itself."""
        plan = None
        if compile:
            with self._lock:
                network, stored = self._network, self._stored
            plan = self._plans.get(network, shape, None if stored is None else stored.read)
            if stored is not None:
                stored.rest()
        return self.model if plan is None else plan

    def _usual_batch(self, num_images: int, compile: bool) -> int:
        """As many images as keep the intermediate results of a plan within 64 MiB, a power of two:
        larger batches are no faster for an image."""
        one = self._evaluator((1, *self.image_shape), compile) if num_images > 1 else None
        size = BATCH
        while isinstance(one, Plan) and size > 1 and size * one.arena_bytes > MAX_ARENA:
            size //= 2
        return size

    def denoiser(self, class_labels: np.ndarray | None = None, steps: int = 50) -> Predictor:
        """(x, t) -> x_0 for samplers; class_labels (N,) go with each x (N, H, W, C). In a run of
        that many steps the model is told the scheduler's own timesteps."""
        return self._denoiser(self.model, class_labels, steps)

    def _denoiser(
        self, model: Callable[..., Any], class_labels: np.ndarray | None, steps: int
    ) -> Predictor:
        labelled = model if class_labels is None else partial(model, class_labels=class_labels)
        return self.scheduler.denoiser(labelled, steps)

    def __call__(
        self,
        num_images: int = 1,
        num_inference_steps: int = 50,
        sampler: str | Sampler | None = None,
        seed: int = 0,
        class_labels: int | Sequence[int] | np.ndarray | None = None,
        eta: float | None = None,
        callback: Callback | None = None,
        progress: bool = False,
        batch_size: int | None = None,
        first_image: int = 0,
        compile: bool = True,
    ) -> np.ndarray:
        """Draw images (num_images, H, W, C) float32 in [0, 1].

        Image i is image number first_image + i of `seed`: its noise does not depend on how many
        are drawn, nor on batch_size, which bounds the memory (images per model call); by default
            as many as keep a plan's intermediate results within 64 MiB, at most 64.
        class_labels: one for all or one each, 0 <= label < num_classes; by default a
            class-conditional model gets 0, 1, 2, ... in turn, by image number.
        sampler: by default the scheduler's own, but DDIM in place of DDPM, which needs many more
            steps; else a name or an object of `samplers`.
        eta: of the samplers that have it, as DDIM, in [0, 1].
        compile: evaluate the model by a compiled plan, kept for later calls with as many images; it
            is made anew when the weights have changed. The images are the same without.
        callback: (step, t, x, x0) after each step of each batch; False ends the run, and the
            images so far are returned.

        Raises ConfigError for values that are not allowed, and what `samplers.sample` raises.
        """
        check_count("num_images", num_images, 1, 2**31 - 1)
        if batch_size is None:
            batch_size = self._usual_batch(num_images, compile)
        check_count("batch_size", batch_size, 1, 2**31 - 1)
        labels = self._labels(class_labels, num_images, first_image)
        chosen = self.sampler(sampler, eta)
        grid = self.grid(num_inference_steps, chosen)
        watch = _Stop(callback)
        batches = []
        for begin in range(0, num_images, batch_size):
            count = min(batch_size, num_images - begin)
            part = None if labels is None else labels[begin : begin + count]
            shape = (count, *self.image_shape)
            model = self._evaluator(shape, compile)
            batches.append(
                sample(
                    self._denoiser(model, part, num_inference_steps),
                    shape,
                    chosen,
                    grid=grid,
                    seed=seed,
                    x_init=self._start_at(shape, num_inference_steps, seed, first_image + begin),
                    callback=watch,
                    progress=progress,
                    first_image=first_image + begin,
                )
            )
            if watch.stopped:
                break
        return denormalise(np.concatenate(batches))

    def grid(self, steps: int, sampler: str | Sampler | None = None) -> list[Any]:
        """The times of a run of that many steps, as the scheduler has them; with another sampler
        than its own, the run ends at clean data, wherever the scheduler's own would."""
        times = self.scheduler.grid(steps)
        own = self.sampler(sampler).name == self.scheduler.sampler.name
        return times if own else [*times[:-1], self.scheduler.schedule.t_clean]

    def sampler(self, sampler: str | Sampler | None = None, eta: float | None = None) -> Sampler:
        """The sampler that a call with these arguments uses."""
        own = self.scheduler.sampler
        if sampler is None:
            chosen = DDIM() if isinstance(own, DDPM) else own
        else:
            chosen = own if sampler == own.name else make_sampler(sampler)
        if eta is None:
            return chosen
        if not hasattr(chosen, "eta"):
            raise ConfigError(f"eta = {eta!r}, but {chosen.name} has no eta; leave it out")
        return replace(chosen, eta=eta)  # type: ignore[type-var]

    def _start_at(
        self, shape: tuple[int, ...], steps: int, seed: int, first_image: int
    ) -> np.ndarray | None:
        """Noise of the standard deviation that the scheduler starts with; None for 1."""
        std = self.scheduler.initial_std(steps)
        if std == 1.0:
            return None
        x = normal(seed, shape, stream="init", first_image=first_image, dtype=np.float32)
        return x * np.float32(std)

    def _labels(self, labels: Any, num_images: int, first_image: int) -> np.ndarray | None:
        classes = self.num_classes
        if classes is None:
            if labels is not None:
                raise ConfigError("class_labels given, but the model takes none")
            return None
        if labels is None:
            return (first_image + np.arange(num_images)) % classes
        array = np.asarray(labels)
        if array.dtype.kind not in "iu" or array.shape not in ((), (num_images,)):
            raise ConfigError(f"class_labels = {labels!r:.80}; an integer, or {num_images} of them")
        if array.size and not (array.min() >= 0 and array.max() < classes):
            raise ConfigError(f"class_labels = {labels!r:.80}; each in [0, {classes})")
        return np.broadcast_to(array, (num_images,)).astype(np.int64)


class _Stop:
    """Passes calls on and remembers whether the run was asked to end."""

    def __init__(self, callback: Callback | None) -> None:
        self.callback = callback
        self.stopped = False

    def __call__(self, step: int, t: Any, x: np.ndarray, x0: np.ndarray) -> Any:
        if self.callback is not None and self.callback(step, t, x, x0) is False:
            self.stopped = True
        return not self.stopped


def _part(root: Path, name: str) -> Path:
    return root / name if (root / name).is_dir() else root


def _check_model_index(path: Path) -> None:
    """Every class must be one that pydiff knows by heart; names in the file are only compared."""
    index = read_config(path)
    name = index.get("_class_name")
    if name not in PIPELINES:
        raise ConfigError(f"{path}: _class_name = {name!r}; pydiff knows {', '.join(PIPELINES)}")
    known = {
        "unet": [["diffusers", "UNet2DModel"]],
        "scheduler": [["diffusers", name] for name in SCHEDULERS],
    }
    for key, value in index.items():
        if key.startswith("_") or value == [None, None]:
            continue
        if key not in known or value not in known[key]:
            raise ConfigError(
                f"{path}: {key} = {value!r:.80}; known: {known.get(key, list(known))}"
            )
