"""Guidance: wrappers that change what a Denoiser says, and are denoisers themselves.

Each has `schedule` and `predict`, so samplers take it and wrappers nest freely. All of them work on
x_0 before thresholding, which is then applied once, to the guided x_0. x_0, the noise, the velocity
and the score are affine in each other at a given x_t, so an extrapolation of one is the same
extrapolation of all of them, and holds at alpha = 0 too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..checks import check_finite, check_number
from ..errors import ConfigError, ShapeError
from .denoiser import Denoiser, Predictor, Pullback
from .noise_schedule import NoiseSchedule
from .parameterization import combine, target, to_x0
from .prediction import Prediction

Gradient = Callable[[np.ndarray, float], np.ndarray]


class Guidance:
    """Base of the wrappers: schedule, prediction type and thresholding are those of `denoiser`."""

    def __init__(self, denoiser: Predictor) -> None:
        check_predictor(denoiser, type(self).__name__)
        self.denoiser = denoiser

    @property
    def schedule(self) -> NoiseSchedule:
        """That of the wrapped denoiser."""
        return self.denoiser.schedule

    @property
    def prediction(self) -> str:
        """What the model inside predicts; "sample" where it does not say."""
        return getattr(self.denoiser, "prediction", "sample")

    def threshold(self, x0: np.ndarray) -> np.ndarray:
        """x_0 (N, ...) clipped as the wrapped denoiser does."""
        inner = getattr(self.denoiser, "threshold", None)
        return x0 if inner is None else inner(x0)

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """The guided x_0 at x (N, ...), time t."""
        raise NotImplementedError

    def linearize(self, x: np.ndarray, t: float) -> tuple[Prediction, Pullback]:
        """`predict`, and v -> v^T d raw_x0 / d x. ConfigError where that is not available."""
        raise ConfigError(f"{type(self).__name__} does not give the derivative of its prediction")

    def __call__(self, x: np.ndarray, t: float) -> np.ndarray:
        """The guided x_0, thresholded."""
        return self.predict(x, t).x0

    def _with(self, p: Prediction, raw_x0: np.ndarray) -> Prediction:
        return p.replace(raw_x0=raw_x0, x0=self.threshold(raw_x0))


class ClassifierFree(Guidance):
    """Classifier-free guidance: x_0 = uncond + guidance_scale (cond - uncond).

    Ho & Salimans 2022, arXiv 2207.12598, eq. 6 with w = guidance_scale - 1: a scale of 1 is cond
    alone, 0 uncond alone.

    denoiser: with the condition; uncond: without it, of the same schedule.
    guidance_scale: a finite number.
    rescale: phi in [0, 1] of Lin et al. 2024, arXiv 2305.08891, section 3.4: pulls the standard
        deviation of each image's guided model output towards that of the conditional one, in the
        terms of the model's own prediction type.
    interval: (t_lo, t_hi): guidance acts at t_lo <= t <= t_hi; elsewhere only the conditional
        denoiser is evaluated (Kynkäänniemi et al. 2024, arXiv 2404.07724). A noise level becomes
        a time by `schedule.time`.

    Two evaluations per prediction (`BatchedClassifierFree`: one of a doubled batch).
    Raises ConfigError for options out of range and for schedules that differ.
    """

    def __init__(
        self,
        denoiser: Predictor,
        uncond: Predictor,
        guidance_scale: float,
        rescale: float = 0.0,
        interval: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(denoiser)
        check_predictor(uncond, type(self).__name__)
        self.uncond = uncond
        self.guidance_scale = check_finite("guidance_scale", guidance_scale)
        self.rescale = check_number("rescale", rescale, high=1.0)
        self.interval = _interval(interval)

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """Both predictions at x (N, ...), extrapolated."""
        if not self._acts(t):
            return self.denoiser.predict(x, t)
        return self._guided(*self._pair(x, t))

    def linearize(self, x: np.ndarray, t: float) -> tuple[Prediction, Pullback]:
        """As the denoisers do. ConfigError with rescale, whose factor depends on x."""
        if not self._acts(t):
            return linearize(self.denoiser, x, t)
        if self.rescale:
            raise ConfigError("no derivative of a rescaled guidance; use rescale = 0")
        cond, uncond, pull = self._linear_pair(x, t)
        w = self.guidance_scale
        return self._guided(cond, uncond), lambda v: pull(w * v, (1.0 - w) * v)

    def _acts(self, t: float) -> bool:
        return self.interval is None or self.interval[0] <= t <= self.interval[1]

    def _pair(self, x: np.ndarray, t: float) -> tuple[Prediction, Prediction]:
        return self.denoiser.predict(x, t).settled(), self.uncond.predict(x, t)

    def _linear_pair(
        self, x: np.ndarray, t: float
    ) -> tuple[Prediction, Prediction, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
        """Both predictions, and (v, w) -> v^T d cond / d x + w^T d uncond / d x."""
        cond, pull_cond = linearize(self.denoiser, x, t)
        cond.settled()
        uncond, pull_uncond = linearize(self.uncond, x, t)
        return cond, uncond, lambda v, w: pull_cond(v) + pull_uncond(w)

    def _guided(self, cond: Prediction, uncond: Prediction) -> Prediction:
        if (cond.alpha, cond.sigma) != (uncond.alpha, uncond.sigma):
            raise ConfigError(
                f"the two denoisers have different schedules: (alpha, sigma) = "
                f"{(cond.alpha, cond.sigma)} and {(uncond.alpha, uncond.sigma)}"
            )
        w = self.guidance_scale
        raw = combine((1.0 - w, w), (uncond.raw_x0, cond.raw_x0))
        if self.rescale:
            raw = self._rescaled(raw, cond)
        return self._with(cond, raw)

    def _rescaled(self, raw: np.ndarray, cond: Prediction) -> np.ndarray:
        """Section 3.4 of arXiv 2305.08891: factor phi std(cond) / std(guided) + 1 - phi."""
        level = cond.alpha, cond.sigma
        outputs = [
            target(self.prediction, x0, cond.noise_for(x0), *level) for x0 in (cond.raw_x0, raw)
        ]
        axes = tuple(range(1, raw.ndim))
        wanted, found = (np.std(output, axis=axes, keepdims=True) for output in outputs)
        ratio = np.divide(wanted, found, out=np.ones_like(found), where=found > 0.0)
        factor = (self.rescale * ratio + (1.0 - self.rescale)).astype(raw.dtype)
        return to_x0(self.prediction, factor * outputs[1], cond.x, *level)


class BatchedClassifierFree(ClassifierFree):
    """Classifier-free guidance by one model call: the batch twice, without and with the condition.

    model: callable (x (2N, ...), t, **inputs) -> like x; each input holds the N rows of `uncond`
        and then those of `cond`.
    cond, uncond: keyword inputs of the model, arrays (N, ...), or (1, ...) for the same in all
        images, such as {"class_labels": [3]} and {"class_labels": [10]}; of the same keys.
    options: those of `Denoiser`: prediction, clip, timestep, learned_variance, vjp.

    The rest as in ClassifierFree. Raises ShapeError where an input does not fit the batch.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        schedule: NoiseSchedule,
        cond: Mapping[str, Any],
        uncond: Mapping[str, Any],
        guidance_scale: float,
        rescale: float = 0.0,
        interval: tuple[float, float] | None = None,
        **options: Any,
    ) -> None:
        if set(cond) != set(uncond):
            raise ConfigError(f"cond has the inputs {sorted(cond)}, uncond {sorted(uncond)}")

        def alone(x: Any, t: Any) -> Any:
            return model(x, t, **{key: _rows(key, cond[key], x.shape[0]) for key in cond})

        def both(x: Any, t: Any) -> Any:
            n = x.shape[0] // 2
            inputs = {
                key: np.concatenate([_rows(key, part[key], n) for part in (uncond, cond)])
                for key in cond
            }
            return model(x, t, **inputs)

        denoiser = Denoiser(alone, schedule, **options)
        super().__init__(denoiser, denoiser, guidance_scale, rescale, interval)
        self._both = Denoiser(both, schedule, **options)

    def _pair(self, x: np.ndarray, t: float) -> tuple[Prediction, Prediction]:
        return _halves(self._both.predict(np.concatenate([x, x]), t), x)

    def _linear_pair(
        self, x: np.ndarray, t: float
    ) -> tuple[Prediction, Prediction, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
        prediction, pull = self._both.linearize(np.concatenate([x, x]), t)

        def pulled(v: np.ndarray, w: np.ndarray) -> np.ndarray:
            both = pull(np.concatenate([w, v]))
            return both[: len(x)] + both[len(x) :]

        return *_halves(prediction, x), pulled


class CFGPlusPlus(ClassifierFree):
    """CFG++: the guided x_0, but renoised with the unconditional noise.

    Chung et al. 2024, arXiv 2406.08070, Algorithm 2; guidance_scale is its lambda, in [0, 1]. It is
    for samplers that compose the next state of x_0 and the noise (ddim, euler); those that use x_0
    alone see ordinary guidance of a small scale.
    """

    def __init__(
        self,
        denoiser: Predictor,
        uncond: Predictor,
        guidance_scale: float,
        interval: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(denoiser, uncond, guidance_scale, 0.0, interval)
        if not 0.0 <= self.guidance_scale <= 1.0:
            raise ConfigError(
                f"guidance_scale = {guidance_scale!r}; CFG++ interpolates: allowed is [0, 1]"
            )

    def _guided(self, cond: Prediction, uncond: Prediction) -> Prediction:
        return super()._guided(cond, uncond).replace(other_eps=uncond.eps)


class Autoguidance(ClassifierFree):
    """A model guided by a bad version of itself: x_0 = weak + guidance_scale (denoiser - weak).

    Karras et al. 2024, "Guiding a Diffusion Model with a Bad Version of Itself", arXiv 2406.02507.
    weak: a smaller or less trained model of the same task and schedule.
    """

    def __init__(
        self,
        denoiser: Predictor,
        weak: Predictor,
        guidance_scale: float,
        interval: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(denoiser, weak, guidance_scale, 0.0, interval)


class ClassifierGuidance(Guidance):
    """Adds the gradient of a log-probability to the score: x_0 + scale sigma^2 / alpha gradient.

    With log p(y | x_t) and scale 1 this is Bayes' rule for scores; Dhariwal & Nichol 2021, arXiv
    2105.05233, Algorithm 2 (eps - sigma gradient) in terms of x_0.

    gradient: callable (x, t) -> gradient of log p(y | x_t) with respect to x, like x (N, ...).
        `gradient_of` makes it of a function of Tensors.
    Raises ConfigError at alpha = 0, where x_t says nothing of x_0, and ShapeError.
    """

    def __init__(self, denoiser: Predictor, gradient: Gradient, scale: float = 1.0) -> None:
        super().__init__(denoiser)
        if not callable(gradient):
            raise ConfigError(
                f"gradient must be callable (x, t) -> array, got {type(gradient).__name__}"
            )
        self.gradient = gradient
        self.scale = check_finite("scale", scale)

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """The prediction at x (N, ...), moved along the gradient."""
        p = self.denoiser.predict(x, t)
        if p.alpha == 0.0:
            raise ConfigError(
                "classifier guidance at alpha = 0 (pure noise): no finite gradient moves x_0 "
                "there; start at an earlier time"
            )
        gradient = np.asarray(self.gradient(x, t))
        if gradient.shape != x.shape:
            raise ShapeError(f"gradient(x, t) has shape {gradient.shape} for x of shape {x.shape}")
        gain = self.scale * p.sigma**2 / p.alpha
        return self._with(p, combine((1.0, gain), (p.raw_x0, gradient.astype(x.dtype, copy=False))))


def gradient_of(log_prob: Callable[[Tensor, float], Tensor]) -> Gradient:
    """The gradient of a function of Tensors, for ClassifierGuidance, by autograd.

    log_prob: callable (x, t) -> log p(y | x_t), made of pydiff.ops: a Tensor (N,) with one number
        per image, or a number, their sum. Parameters inside get no gradient.
    """

    def gradient(x: np.ndarray, t: float) -> np.ndarray:
        leaf = Tensor(x, requires_grad=True)
        value = log_prob(leaf, t)
        if not isinstance(value, Tensor) or not value.requires_grad:
            raise ConfigError("log_prob(x, t) must be computed from the Tensor x by pydiff.ops")
        value.backward(np.ones_like(value.data), only=leaf)
        return np.asarray(leaf.grad)

    return gradient


def linearize(denoiser: Predictor, x: np.ndarray, t: float) -> tuple[Prediction, Pullback]:
    """`denoiser.linearize`, or a ConfigError where it has none."""
    method = getattr(denoiser, "linearize", None)
    if method is None:
        raise ConfigError(
            f"{type(denoiser).__name__} has no derivative; this needs a denoiser with linearize"
        )
    return method(x, t)


def check_predictor(denoiser: Any, user: str) -> None:
    """A ConfigError unless it has a schedule and predict."""
    if not isinstance(getattr(denoiser, "schedule", None), NoiseSchedule) or not callable(
        getattr(denoiser, "predict", None)
    ):
        raise ConfigError(
            f"{user} needs a Denoiser or a wrapper of one, got {type(denoiser).__name__}"
        )


def _interval(interval: Any) -> tuple[float, float] | None:
    if interval is None:
        return None
    try:
        low, high = interval
    except (TypeError, ValueError):
        raise ConfigError(f"interval = {interval!r}; allowed: (t_lo, t_hi) or None") from None
    if not low <= high:
        raise ConfigError(f"interval = {interval!r}: t_lo must not exceed t_hi")
    return float(low), float(high)


def _rows(name: str, values: Any, n: int) -> np.ndarray:
    """An input with one row per image."""
    array = np.asarray(values)
    if array.ndim == 0 or len(array) not in (1, n):
        raise ShapeError(
            f"input {name} has shape {array.shape}; {n} images need ({n}, ...) or (1, ...)"
        )
    return np.broadcast_to(array, (n, *array.shape[1:]))


def _halves(p: Prediction, x: np.ndarray) -> tuple[Prediction, Prediction]:
    """The predictions of the second half of the batch (cond) and of the first (uncond)."""

    def part(rows: slice) -> Prediction:
        variance = None if p.variance is None else p.variance[rows]
        return p.replace(x=x, x0=p.x0[rows], raw_x0=p.raw_x0[rows], variance=variance)

    return part(slice(len(x), None)), part(slice(None, len(x)))
