"""A Denoiser turns any model and prediction type into one thing: an estimate of x_0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..autograd import Tensor, no_grad
from ..checks import is_number
from ..errors import AutogradError, ConfigError, ShapeError
from .noise_schedule import NoiseSchedule, as_float
from .parameterization import check_prediction, combine, x0_coefficients
from .prediction import Prediction

Pullback = Callable[[np.ndarray], np.ndarray]  # v -> v^T J


class Predictor(Protocol):
    """What samplers need of a Denoiser; guidance wrappers offer the same.

    Wrappers that need more ask for `linearize` and `threshold` of Denoiser by name.
    """

    @property
    def schedule(self) -> NoiseSchedule:
        """alpha, sigma and log-SNR at any time."""

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """x_0 and the noise at x (N, ...), time t."""


class Denoiser:
    """An estimate of E[x_0 | x_t] from a model.

    model: any callable (x, t) -> array like x: a `pydiff.nn` module, a compiled plan, an ONNX
        session, a function. x (N, ...) is float32 or float64, t is a number; the result may be an
        ndarray, a Tensor, or anything with `.numpy()`, and the next call may write over it. It must
        not write to x. Gradients are off.
    schedule: the NoiseSchedule it was trained with.
    prediction: epsilon, sample, v_prediction, score or flow (see `parameterization`).
    clip: None; r > 0, which clips x_0 to [-r, r] (`clip_sample_range` of diffusers); or a callable
        x_0 -> x_0 (dynamic thresholding).
    timestep: what the model is told at time t, a function of t; by default t itself.
    learned_variance: the model's last axis holds twice the channels: the prediction, then what it
        learned of the variance (Nichol & Dhariwal 2021, arXiv 2102.09672, section 3.1).
    vjp: callable (x, t, v) -> v^T d model(x, t) / d x, like x, for `linearize`; t is what the model
        is told, v is like the model's output. By default the model is differentiated by autograd,
        which needs one of pydiff.ops (a `pydiff.nn` module; not a compiled plan).

    Raises ConfigError for an unknown prediction or clip, and at alpha = 0 for epsilon and score;
    ShapeError if the model's result does not have the shape of x. Immutable: threads may share it.
    """

    def __init__(
        self,
        model: Callable[[np.ndarray, Any], Any],
        schedule: NoiseSchedule,
        prediction: str = "epsilon",
        clip: float | Callable[[np.ndarray], np.ndarray] | None = None,
        timestep: Callable[[Any], Any] | None = None,
        learned_variance: bool = False,
        vjp: Callable[[np.ndarray, Any, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        if not callable(model):
            raise ConfigError(f"model must be callable as model(x, t), got {type(model).__name__}")
        if not isinstance(schedule, NoiseSchedule):
            raise ConfigError(f"schedule must be a NoiseSchedule, got {type(schedule).__name__}")
        self.model = model
        self.schedule = schedule
        self.prediction = check_prediction(prediction)
        self.clip = clip
        self.timestep = timestep
        self.learned_variance = learned_variance
        self.vjp = vjp
        self._threshold = _threshold(clip)

    def __call__(self, x: np.ndarray, t: float) -> np.ndarray:
        """x_0 (N, ...) in the dtype of x, thresholded; x (N, ...) at the time t (a number)."""
        return self.predict(as_float(x, "x"), t).x0

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """x_0 and the noise at x (N, ...) float32 or float64, at time t: what samplers call."""
        with no_grad():
            output = self.model(x, self._told(t))
        return self._prediction(x, t, output)

    def linearize(self, x: np.ndarray, t: float) -> tuple[Prediction, Pullback]:
        """`predict`, and the function v -> v^T d raw_x0 / d x for v (N, ...) like x.

        Thresholding has no part in the derivative. Parameters get no gradient. By autograd, each
        call after the first runs the model again. Raises ConfigError where it cannot be
        differentiated.
        """
        prediction, pulled = self._differentiated(x, t)
        from_x, from_output = x0_coefficients(self.prediction, prediction.alpha, prediction.sigma)

        def pull(v: np.ndarray) -> np.ndarray:
            padded = np.concatenate([v, np.zeros_like(v)], -1) if self.learned_variance else v
            return combine((from_x, from_output), (v, pulled(padded)))

        return prediction, pull

    def _differentiated(self, x: np.ndarray, t: float) -> tuple[Prediction, Pullback]:
        """The prediction, and v -> v^T d model / d x."""
        told, vjp = self._told(t), self.vjp
        if vjp is not None:
            return self.predict(x, t), lambda v: _as_array(vjp(x, told, v))
        graphs = [self._recorded(x, told)]

        def pulled(v: np.ndarray) -> np.ndarray:
            leaf, output = graphs.pop() if graphs else self._recorded(x, told)  # each serves once
            output.backward(v.astype(output.dtype, copy=False), only=leaf)
            return _as_array(leaf.grad)

        return self._prediction(x, t, graphs[0][1]), pulled

    def _recorded(self, x: np.ndarray, told: Any) -> tuple[Tensor, Tensor]:
        leaf: Any = Tensor(x, requires_grad=True)
        problem = ConfigError(
            f"the model ({type(self.model).__name__}) cannot be differentiated: give the Denoiser "
            "vjp=, or a model made of pydiff.ops (a module, not a compiled plan)"
        )
        try:
            output = self.model(leaf, told)
        except (AutogradError, TypeError) as error:  # it wants an ndarray
            raise problem from error
        if not isinstance(output, Tensor) or not output.requires_grad:
            raise problem
        return leaf, output

    def threshold(self, x0: np.ndarray) -> np.ndarray:
        """x_0 (N, ...) clipped as `clip` says."""
        return x0 if self._threshold is None else self._threshold(x0)

    def _told(self, t: float) -> Any:
        return t if self.timestep is None else self.timestep(t)

    def _prediction(self, x: np.ndarray, t: float, output: Any) -> Prediction:
        levels = self.schedule.levels(t)[:2]
        output, variance = self._split(x, t, _as_array(output))
        coefficients = x0_coefficients(self.prediction, *levels)
        return Prediction.of_output(x, output, coefficients, levels, self._threshold, variance)

    def _split(
        self, x: np.ndarray, t: float, output: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """What the model returned, like x, and the variance beside it."""
        if output.shape == x.shape and not self.learned_variance:
            return output, None
        channels = x.shape[-1] * (1 + self.learned_variance)
        if output.shape != (*x.shape[:-1], channels):
            wanted = f"; with learned_variance it must be {(*x.shape[:-1], channels)}"
            raise ShapeError(
                f"the model returned shape {output.shape} for x of shape {x.shape} at t = {t}"
                + wanted * self.learned_variance
            )
        return output[..., : x.shape[-1]], output[..., x.shape[-1] :]


def _threshold(clip: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    if clip is None or callable(clip):
        return clip
    if not is_number(clip) or not 0.0 < clip < np.inf:
        raise ConfigError(f"clip = {clip!r}; allowed: None, a number > 0, or a callable")
    bound = float(clip)
    return lambda x0: x0.clip(-bound, bound)


def _as_array(output: Any) -> np.ndarray:
    if not isinstance(output, np.ndarray):
        output = output.numpy() if hasattr(output, "numpy") else output
    return as_float(output, "the model's output")
