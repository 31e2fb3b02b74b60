"""Optimisers: they change parameters in place from the gradients that `backward` left in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backend
from ..autograd import Tensor
from ..errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from .ema import EMA

State = dict[str, Any]
Arrays = list[np.ndarray]
Average = tuple[Arrays, float]  # the averages of the parameters, and their decay


class Optimizer:
    """Base: the trainable parameters among those given, the learning rate, the number of steps.

    `lr` may be assigned between steps. Parameters without a gradient are passed over.
    """

    slots: tuple[str, ...] = ()  # names of the arrays kept per parameter
    averages = False  # whether `_update` moves averages too

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise ConfigError(f"{type(self).__name__}: no trainable parameters")
        self.lr = _checked("lr", lr, lr >= 0, "a number >= 0")
        self.weight_decay = _checked("weight_decay", weight_decay, weight_decay >= 0, ">= 0")
        self.steps = 0
        self.arrays = {
            f"{index}.{slot}": np.zeros(parameter.shape, parameter.dtype)
            for index, parameter in enumerate(self.parameters)
            for slot in self.slots
        }

    def step(self, grad_scale: float = 1.0, ema: EMA | None = None) -> None:
        """Update every parameter that has a gradient.

        grad_scale: what gradients count times, as clipping has it; they stay as they are. ema: to
        be updated after this step, by AdamW in the same pass over memory.
        """
        self.steps += 1
        used = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        fused = ema if self.averages and ema and ema.covers(self._chosen(used)) else None
        for dtype in dict.fromkeys(self.parameters[i].dtype for i in used):
            self._step([i for i in used if self.parameters[i].dtype == dtype], grad_scale, fused)
        if fused is not None:
            fused.updates += 1
        elif ema is not None:
            ema.update()

    def _step(self, used: list[int], grad_scale: float, ema: EMA | None) -> None:
        """One dtype's part of `step`."""
        parameters = self._chosen(used)
        slots = [[self.arrays[f"{i}.{slot}"] for i in used] for slot in self.slots]
        p, g = [x.data for x in parameters], [x.grad for x in parameters if x.grad is not None]
        average = None if ema is None else ema.part(parameters)
        self._update(p, g, slots, grad_scale, average)
        for parameter in parameters:
            parameter.mark_changed()

    def _chosen(self, used: list[int]) -> list[Tensor]:
        return [self.parameters[i] for i in used]

    def _update(
        self, p: Arrays, g: Arrays, slots: list[Arrays], scale: float, average: Average | None
    ) -> None:
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> State:
        """Everything needed to go on exactly: copies of the arrays, and numbers."""
        copies = {name: array.copy() for name, array in self.arrays.items()}
        return {"steps": self.steps, "lr": self.lr, **copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state of the same optimiser and parameters. Raises CheckpointError."""
        check_state(type(self).__name__, self.state_dict(), state)
        self.steps, self.lr = int(state["steps"]), float(state["lr"])
        for name, array in self.arrays.items():
            array[...] = state[name]


class SGD(Optimizer):
    """v <- momentum v + g + weight_decay p;  p <- p - lr v (Polyak 1964)."""

    slots = ("momentum",)

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum = _checked("momentum", momentum, 0 <= momentum < 1, "0 <= momentum < 1")

    def _update(
        self, p: Arrays, g: Arrays, slots: list[Arrays], scale: float, average: Average | None
    ) -> None:
        for pi, gi, velocity in zip(p, g, slots[0], strict=True):
            number = pi.dtype.type
            velocity *= number(self.momentum)
            velocity += gi if scale == 1 else gi * number(scale)
            if self.weight_decay:
                velocity += pi * number(self.weight_decay)
            pi -= velocity * number(self.lr)


class AdamW(Optimizer):
    """Adam with decoupled decay (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2)."""

    slots = ("m", "v")
    averages = True
    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas = tuple(_checked("betas", b, 0 <= b < 1, "0 <= beta < 1") for b in betas)
        self.eps = _checked("eps", eps, eps > 0, "eps > 0")

    def _update(
        self, p: Arrays, g: Arrays, slots: list[Arrays], scale: float, average: Average | None
    ) -> None:
        beta1, beta2 = self.betas
        decay = self.weight_decay if self.decoupled else 0.0
        (m, v), (e, d) = slots, average or (None, 0.0)
        options = self.lr, beta1, beta2, self.eps, decay, self.steps
        backend.adamw(p, g, m, v, *options, scale=scale, e=e, decay=d)


class Adam(AdamW):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1); decay is added to the gradient."""

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def _update(
        self, p: Arrays, g: Arrays, slots: list[Arrays], scale: float, average: Average | None
    ) -> None:
        if self.weight_decay:
            g = [
                gi * gi.dtype.type(scale) + pi * pi.dtype.type(self.weight_decay)
                for pi, gi in zip(p, g, strict=True)
            ]
            scale = 1.0
        super()._update(p, g, slots, scale, average)


def grad_norm(parameters: Iterable[Tensor]) -> float:
    """The joint Euclidean norm of all gradients.

    Squares are summed in float64 in a fixed order: any number of threads gives the same bits.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    dtypes = dict.fromkeys(grad.dtype for grad in grads)
    parts = [[grad for grad in grads if grad.dtype == dtype] for dtype in dtypes]
    return math.sqrt(sum(float(backend.sum_of_squares(part)) for part in parts))


def clip_scale(norm: float, max_norm: float) -> float:
    """The factor that brings gradients of this norm to at most `max_norm` (inf: any).

    1 for a norm that is not finite: the caller sees it and can stop. Raises ConfigError.
    """
    if not max_norm > 0:
        raise ConfigError(f"clip_grad_norm: max_norm = {max_norm!r}; allowed: a number > 0")
    return max_norm / norm if math.isfinite(norm) and norm > max_norm else 1.0


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients so that their joint Euclidean norm is at most `max_norm` (inf: measure).

    Returns the norm before clipping. A norm that is not finite leaves the gradients alone. To save
    a pass over memory, give `clip_scale(grad_norm(parameters), max_norm)` to `Optimizer.step`.
    """
    parameters = list(parameters)
    norm = grad_norm(parameters)
    scale = clip_scale(norm, max_norm)
    if scale != 1:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad *= parameter.dtype.type(scale)
    return norm


def check_state(owner: str, own: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless `state` has the keys of `own` and the same shapes."""
    problems = [f"missing {name}" for name in own if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in own]
    problems += [
        f"{name} has shape {np.shape(state[name])}, expected {np.shape(own[name])}"
        for name in own
        if name in state and np.shape(state[name]) != np.shape(own[name])
    ]
    if problems:
        raise CheckpointError(f"{owner}: the state does not fit: {'; '.join(problems[:20])}")


def _checked(name: str, value: float, valid: bool, allowed: str) -> float:
    if not valid or not math.isfinite(value):
        raise ConfigError(f"{name} = {value!r}; allowed: {allowed}")
    return float(value)
