"""Optimisers: they change parameters in place from the gradients that `backward` left in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor
from ..errors import CheckpointError, ConfigError

State = dict[str, Any]


class Optimizer:
    """Base: the trainable parameters among those given, the learning rate, the number of steps.

    `lr` may be assigned between steps. Parameters without a gradient are passed over.
    """

    slots: tuple[str, ...] = ()  # names of the arrays kept per parameter

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

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.steps += 1
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                slots = [self.arrays[f"{index}.{slot}"] for slot in self.slots]
                self._update(parameter.data, parameter.grad, slots)
                parameter.mark_changed()

    def _update(self, p: np.ndarray, g: np.ndarray, slots: list[np.ndarray]) -> None:
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

    def _update(self, p: np.ndarray, g: np.ndarray, slots: list[np.ndarray]) -> None:
        (velocity,) = slots
        velocity *= velocity.dtype.type(self.momentum)
        velocity += g
        if self.weight_decay:
            velocity += p * p.dtype.type(self.weight_decay)
        p -= velocity * p.dtype.type(self.lr)


class AdamW(Optimizer):
    """Adam with decoupled decay (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2)."""

    slots = ("m", "v")
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

    def _update(self, p: np.ndarray, g: np.ndarray, slots: list[np.ndarray]) -> None:
        m, v = slots
        beta1, beta2 = self.betas
        decay = self.weight_decay if self.decoupled else 0.0
        backend.adamw(p, g, m, v, self.lr, beta1, beta2, self.eps, decay, self.steps)


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

    def _update(self, p: np.ndarray, g: np.ndarray, slots: list[np.ndarray]) -> None:
        if self.weight_decay:
            g = g + p * p.dtype.type(self.weight_decay)
        super()._update(p, g, slots)


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients so that their joint Euclidean norm is at most `max_norm` (inf: measure).

    Returns the norm before clipping. A norm that is not finite leaves the gradients alone: the
    caller sees it and can stop. Squares are summed in float64 in a fixed order, so any number of
    threads gives the same bits.
    """
    if not max_norm > 0:
        raise ConfigError(f"clip_grad_norm: max_norm = {max_norm!r}; allowed: a number > 0")
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(_squares(grad.reshape(-1)) for grad in grads))
    if math.isfinite(norm) and norm > max_norm:
        for grad in grads:
            grad *= grad.dtype.type(max_norm / norm)
    return norm


def _squares(g: np.ndarray) -> float:
    """The sum of squares in float64; einsum makes no temporary array and calls no BLAS."""
    return float(np.einsum("i,i->", g, g, dtype=np.float64))


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
