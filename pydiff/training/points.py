"""Training on points in one screen: what the Trainer does, without files and without resuming."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import ops, random
from ..checks import check_count
from ..diffusion.denoiser import Denoiser
from ..diffusion.loss_weights import edm_weights
from ..diffusion.losses import Loss
from ..diffusion.noise_schedule import NoiseSchedule
from ..diffusion.preconditioning import Preconditioned
from ..diffusion.times import DrawnTimes, Times, uniforms
from ..errors import ConfigError, NonFiniteError, ShapeError
from ..nn import EMA, MLP, AdamW, LearningRate

C_NOISE_FREQUENCY = 8.0  # c_noise is a quarter of log(sigma / alpha): a few units wide


@dataclass(frozen=True)
class LevelTimes(Times):
    """Uniform over a list of times, the noise levels of NCSN (Song & Ermon 2019, eq. 6)."""

    levels: tuple[float, ...] = ()

    def draw(
        self, schedule: NoiseSchedule, seed: int, n: int, step: int = 0, first_image: int = 0
    ) -> DrawnTimes:
        """n times, keyed by (seed, step, image index)."""
        u = uniforms(seed, n, step, first_image, self.low_discrepancy)
        place = np.minimum((u * len(self.levels)).astype(np.int64), len(self.levels) - 1)
        return DrawnTimes(np.asarray(self.levels)[place], np.ones(n))


def edm_loss(sigma_data: float) -> Loss:
    """EDM's loss for data of this standard deviation: on any schedule the levels sigma / alpha are
    log-normal, as far below the data as in Karras et al. 2022 (table 1, for sigma_data = 0.5)."""
    times = Times("lognormal", low_discrepancy=True, mean=math.log(2.0 * sigma_data) - 1.2, std=1.2)
    return Loss("sample", weight=partial(edm_weights, sigma_data=sigma_data), times=times)


class Fitted(NamedTuple):
    """The averaged network as a Denoiser, the network itself, and the loss of each step."""

    denoiser: Denoiser
    network: MLP
    losses: np.ndarray


def fit_points(
    points: Any,
    schedule: NoiseSchedule,
    *,
    steps: int = 2000,
    batch_size: int = 512,
    lr: float = 3e-3,
    seed: int = 0,
    loss: Loss | None = None,
    network: MLP | None = None,
    callback: Callable[[int, float], Any] | None = None,
) -> Fitted:
    """Train a network to denoise points (N, D) on any schedule, with EDM's preconditioning.

    points: floats, finite. schedule: discrete or continuous. steps, batch_size, lr: of AdamW, the
    rate falling along a cosine; the returned weights are averages over the last steps.
    loss: a Loss of prediction "sample"; by default `edm_loss` for the points' own standard
    deviation. network: by default MLP(D), from `seed`,
    which also keys the batches, times and noise. callback: (step, loss) after each step; False
    stops.

    The same arguments give the same bits. Raises ConfigError, ShapeError, and NonFiniteError, which
    names the step, as soon as a loss is not finite.
    """
    data = _checked(points)
    steps, batch_size = check_count("steps", steps), check_count("batch_size", batch_size)
    sigma_data = float(data.std())
    network = network or MLP(data.shape[1], frequency=C_NOISE_FREQUENCY, seed=seed)
    loss = loss or edm_loss(sigma_data)
    if loss.prediction != "sample":
        raise ConfigError(
            f"loss.prediction = {loss.prediction!r}; a preconditioned network: sample"
        )
    model = Preconditioned(network, schedule, sigma_data)
    optimizer = AdamW(network.parameters(), lr=lr, weight_decay=0.0)
    rate, average = LearningRate(lr, "cosine", steps, min(100, steps - 1)), EMA(network, 0.995)
    losses = []
    for step in range(steps):
        rows = _rows(len(data), batch_size, seed, step)
        example = loss.draw(schedule, data[rows], seed, step)
        optimizer.zero_grad()
        value = ops.mean(loss(model, example, schedule))
        value.backward()
        losses.append(float(value.item()))
        if not math.isfinite(losses[-1]):
            raise NonFiniteError(f"fit_points: the loss of step {step} is {losses[-1]}; lower lr")
        optimizer.lr = rate(step)
        optimizer.step(ema=average)
        if callback is not None and callback(step, losses[-1]) is False:
            break
    for name, parameter in network.named_parameters():
        parameter.data = average.arrays[name]
    network.eval()
    return Fitted(model.denoiser(), network, np.array(losses))


def _rows(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Which points a step sees: uniform, with replacement."""
    u = random.uniform(seed, (1, batch_size), step=step, stream="augment", dtype=np.float64)
    return np.minimum((u[0] * count).astype(np.int64), count - 1)


def _checked(points: Any) -> np.ndarray:
    data = np.asarray(points)
    if data.ndim != 2 or data.size == 0 or data.dtype.kind != "f":
        raise ShapeError(
            f"fit_points: points have shape {data.shape}, dtype {data.dtype}; floats (N, D) needed"
        )
    if not np.isfinite(data).all():
        raise NonFiniteError("fit_points: points hold NaN or infinity")
    return data.astype(np.float32)
