"""Training losses: an objective, a weight for each noise level, and a distribution of times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .. import ops, random
from ..autograd import Tensor
from ..errors import ConfigError, ShapeError
from .discrete_schedule import DiscreteSchedule
from .loss_weights import WEIGHTS
from .noise_schedule import NoiseSchedule, as_float, per_image
from .parameterization import PREDICTIONS, check_prediction, target, x0_coefficients
from .times import TIMES, LossHistory, Times
from .vlb import Chain, chain, decoder_bits, model_log_variance, step_bits

HYBRID = 1e-3  # lambda of L_hybrid: L_vlb must not overwhelm L_simple
# Step of the finite differences of sliced score matching, in units of sigma: its square is the
# relative error, and float32 loses 1e-7 / step.
_SLICE = 1e-2


class Example(NamedTuple):
    """What one step sees: x0 and eps (N, ...) of one dtype, t (N,), the weight (N,) of each draw.

    probe: random signs like x0, for the sliced objective; None for others.
    """

    x0: np.ndarray
    eps: np.ndarray
    t: np.ndarray
    weight: np.ndarray
    probe: np.ndarray | None = None


@dataclass(frozen=True)
class Loss:
    """What a network of one prediction type is trained to do.

    objective:
      mse      the squared error of the network's output, mean over elements, times `weight`
               (Ho et al. 2020, L_simple; denoising score matching; flow matching).
      hybrid   mse + 0.001 T L_t of a network that learns its variance by learned_range; L_t, a term
               of the variational bound in bits/dim, trains the variance alone (Nichol & Dhariwal
               2021, arXiv 2102.09672, eq. 16).
      vlb      T L_t, which also trains the mean: averaged over uniform t the bound less its prior.
      sliced   sliced score matching with variance reduction (Song et al. 2019, arXiv 1905.07088,
               eq. 8) at x_t, times sigma^2: v . J v + |s|^2 / 2 by finite differences along v
               (Pang et al. 2020, arXiv 2007.03317, section 3.2): one backward pass suffices.
    weight: a key of WEIGHTS, or (prediction, t, schedule) -> (N,), the factor of an image's squared
      error; not for vlb and sliced.
    times: a key of TIMES, or a Times or LossHistory.
    decoder: of L_0: discretized (images in 256 levels) or gaussian.

    Raises ConfigError for unknown options.
    """

    prediction: str = "epsilon"
    objective: str = "mse"
    weight: str | Callable[[str, Any, NoiseSchedule], np.ndarray] = "simple"
    times: str | Times | LossHistory = "uniform"
    decoder: str = "discretized"

    def __post_init__(self) -> None:
        check_prediction(self.prediction)
        for name, known in (("objective", OBJECTIVES), ("weight", WEIGHTS), ("times", TIMES)):
            value = getattr(self, name)
            if isinstance(value, str) and value not in known:
                raise ConfigError(f"{name} = {value!r}; known: {', '.join(known)}")
        if self.weight != "simple" and self.objective in ("vlb", "sliced"):
            raise ConfigError(f"objective = {self.objective!r} brings its own weight: leave it out")

    @property
    def learns_variance(self) -> bool:
        """Whether the network must return twice the channels."""
        return self.objective in ("hybrid", "vlb")

    def check(self, schedule: NoiseSchedule) -> None:
        """ConfigError where loss and schedule do not go together, before anything is trained."""
        self._times().draw(schedule, 0, 1)
        if self.learns_variance:
            times = np.array(_steps(schedule).times)
            x0_coefficients(self.prediction, schedule.alpha(times), schedule.sigma(times))
        if isinstance(schedule, DiscreteSchedule):
            self.weights(np.arange(schedule.num_train_timesteps), schedule)

    def weights(self, t: np.ndarray, schedule: NoiseSchedule) -> np.ndarray | None:
        """The factor (N,) float64 of the squared error of images at t (N,); None if it is 1.

        Raises ConfigError where it is infinite: at alpha = 0, if the weight speaks of x_0 and the
        network of epsilon.
        """
        weight = WEIGHTS[self.weight] if isinstance(self.weight, str) else self.weight
        if weight is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            values = weight(self.prediction, t, schedule)
        if not np.isfinite(values).all():
            raise ConfigError(
                f"weight = {self.weight!r:.80} is not finite at t = {t[~np.isfinite(values)][0]} "
                f"for a prediction of {self.prediction!r}; try v_prediction or sample"
            )
        return values

    def draw(
        self,
        schedule: NoiseSchedule,
        x0: np.ndarray,
        seed: int,
        step: int = 0,
        first_image: int = 0,
    ) -> Example:
        """Times and noise for images x0 (N, ...), keyed by (seed, step, image index)."""
        x0 = as_float(x0, "x0")
        t, weight = self._times().draw(schedule, seed, len(x0), step, first_image)
        key: dict[str, Any] = {"step": step, "first_image": first_image}
        # float32 draws, so that the noise is the same in both dtypes
        eps = random.normal(seed, x0.shape, stream="train_noise", **key).astype(x0.dtype)
        probe = None
        if self.objective == "sliced":
            probe = np.sign(random.normal(seed, x0.shape, stream="sampler", **key))
            probe = probe.astype(x0.dtype)
        return Example(x0, eps, t, weight, probe)

    def __call__(
        self, model: Callable[..., Any], example: Example, schedule: NoiseSchedule, **inputs: Any
    ) -> Tensor:
        """The loss of each image, (N,): take its mean, and backward from there.

        model: callable (x_t, t, **inputs) -> Tensor like x_t, or with twice the channels where it
        learns its variance (else ShapeError). The losses hold the weights of the draw.
        """
        values = OBJECTIVES[self.objective](self, model, example, schedule, inputs)
        return values * example.weight.astype(values.dtype)

    def mean(
        self, model: Callable[..., Any], example: Example, schedule: NoiseSchedule, **inputs: Any
    ) -> Tensor:
        """The mean over the images, a scalar; in one fused pass where every error counts alike."""
        if self.objective != "mse" or self.weight != "simple" or (example.weight != 1.0).any():
            return ops.mean(self(model, example, schedule, **inputs))
        x0, eps, t = example[:3]
        output = model(schedule.add_noise(x0, eps, t), t, **inputs)
        _check_shape(output, x0.shape)
        return ops.mse_loss(output, training_target(self.prediction, x0, eps, t, schedule))

    def _times(self) -> Times | LossHistory:
        return TIMES[self.times] if isinstance(self.times, str) else self.times


def training_target(
    prediction: str, x0: np.ndarray, eps: np.ndarray, t: Any, schedule: NoiseSchedule
) -> np.ndarray:
    """What the network should return at x_t = schedule.add_noise(x0, eps, t).

    x0 and eps (N, ...) of one shape; t a number or (N,). The result is a new array of that shape
    and of the dtype of x0 (float64 stays, else float32). The mean squared error against it is
    L_simple of Ho et al. 2020, eq. 14, for prediction = "epsilon".
    """
    x0, eps = as_float(x0, "x0"), as_float(eps, "eps")
    if x0.shape != eps.shape:
        raise ShapeError(f"training_target: x0 has shape {x0.shape}, eps {eps.shape}")
    return target(prediction, x0, eps, schedule.alpha(t), schedule.sigma(t))


Inputs = dict[str, Any]


def _mse(loss: Loss, model: Any, example: Example, schedule: NoiseSchedule, inputs: Inputs) -> Any:
    x0, eps, t = example[:3]
    output = model(schedule.add_noise(x0, eps, t), t, **inputs)
    return _squared_error(loss, output, example, schedule)


def _squared_error(loss: Loss, output: Any, example: Example, schedule: NoiseSchedule) -> Tensor:
    x0, eps, t = example[:3]
    _check_shape(output, x0.shape)
    wanted = training_target(loss.prediction, x0, eps, t, schedule)
    error = _mean(ops.square(ops.subtract(output, wanted)))
    weights = loss.weights(t, schedule)
    return error if weights is None else error * weights.astype(error.dtype)


def _vlb(loss: Loss, model: Any, example: Example, schedule: NoiseSchedule, inputs: Inputs) -> Any:
    output, v, steps = _halves(model, example, schedule, inputs)
    return _bound(loss, output, v, steps, example, schedule) * float(len(steps.times))


def _hybrid(
    loss: Loss, model: Any, example: Example, schedule: NoiseSchedule, inputs: Inputs
) -> Any:
    output, v, steps = _halves(model, example, schedule, inputs)
    bound = _bound(loss, output.detach(), v, steps, example, schedule)
    simple = _squared_error(loss, output, example, schedule)
    return simple + bound * (HYBRID * len(steps.times))


def _halves(
    model: Any, example: Example, schedule: NoiseSchedule, inputs: Inputs
) -> tuple[Tensor, Tensor, Chain]:
    """The prediction, what was learned of the variance, and the chain of all times."""
    steps = _steps(schedule)
    x0, eps, t = example[:3]
    output, channels = model(schedule.add_noise(x0, eps, t), t, **inputs), x0.shape[-1]
    _check_shape(output, (*x0.shape[:-1], 2 * channels))
    return output[..., :channels], output[..., channels:], steps


@lru_cache(8)  # it takes 2 ms for 1000 timesteps, and training asks in each step
def _steps(schedule: NoiseSchedule) -> Chain:
    if not isinstance(schedule, DiscreteSchedule):
        raise ConfigError("the hybrid and vlb objectives are for discrete schedules")
    return chain(schedule)


def _bound(
    loss: Loss, output: Tensor, v: Tensor, steps: Chain, example: Example, schedule: NoiseSchedule
) -> Tensor:
    """L_t of each image, bits per dimension: the decoder at t = 0, a KL at all others."""
    x0, eps, t = example[:3]
    x = schedule.add_noise(x0, eps, t)
    from_x, from_output = x0_coefficients(loss.prediction, schedule.alpha(t), schedule.sigma(t))
    x0_hat = _times(output, from_output, x) + _times(x, from_x, x)
    log_p = model_log_variance("learned_range", steps, t, x0, v)
    first = (t == 0).astype(x0.dtype)
    kl = step_bits(x0, x0_hat, log_p, steps, np.maximum(t, 1))
    if not first.any():
        return kl
    return kl * (1.0 - first) + decoder_bits(x0, x0_hat, log_p, loss.decoder) * first


def _sliced(
    loss: Loss, model: Any, example: Example, schedule: NoiseSchedule, inputs: Inputs
) -> Any:
    """sigma^2 (v . (s+ - s-) / (2h) + |s+ + s-|^2 / 8) / D with s+- the score at x_t +- h v."""
    x0, eps, t, _, v = example
    sigma = schedule.sigma(t)
    from_x, from_output = PREDICTIONS[loss.prediction].eps(schedule.alpha(t), sigma)
    x, h = schedule.add_noise(x0, eps, t), _SLICE * sigma
    assert v is not None

    def scaled_score(x: np.ndarray) -> Tensor:
        """sigma s = -eps."""
        output = model(x, t, **inputs)
        _check_shape(output, x.shape)
        return _times(output, -1.0 * from_output, x) + _times(x, -1.0 * from_x, x)

    ahead, behind = (scaled_score(x + per_image(s * h, x) * v) for s in (1.0, -1.0))
    curvature = (ahead - behind) * (v * (0.5 / _SLICE))
    return _mean(curvature + ops.square(ahead + behind) * 0.125)


OBJECTIVES: dict[str, Callable[[Loss, Any, Example, NoiseSchedule, Inputs], Any]] = {
    "mse": _mse,
    "hybrid": _hybrid,
    "vlb": _vlb,
    "sliced": _sliced,
}


def _times(values: Any, factor: Any, like: np.ndarray) -> Any:
    """values times a number or one factor for each image; values an array or a Tensor."""
    return values * per_image(np.broadcast_to(factor, len(like)), like)


def _mean(values: Tensor) -> Tensor:
    return ops.mean(values, axis=tuple(range(1, values.ndim)))


def _check_shape(output: Any, shape: tuple[int, ...]) -> None:
    if output.shape != shape:
        raise ShapeError(f"the model returned shape {output.shape}; the loss needs {shape}")
