"""Exponential moving average of a model's parameters (Polyak & Juditsky 1992; Ho et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor
from ..errors import ConfigError
from .module import Module
from .optim import check_state


class EMA:
    """Averages e <- d e + (1 - d) p of the trainable parameters p of `model`.

    With `warmup` the decay d grows with the number n of updates as min(decay, 1 - (1 + n /
    inv_gamma)^-power), so that early averages forget the first weights (as in diffusers' EMAModel);
    without it d is `decay` from the first update on.
    """

    def __init__(
        self,
        model: Module,
        decay: float = 0.9999,
        warmup: bool = True,
        inv_gamma: float = 1.0,
        power: float = 2 / 3,
    ) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"EMA: decay = {decay!r}; allowed: 0 <= decay < 1")
        if not (inv_gamma > 0 and power > 0):
            raise ConfigError(f"EMA: inv_gamma = {inv_gamma!r}, power = {power!r}; allowed: > 0")
        self.model = model
        self.decay, self.warmup, self.inv_gamma, self.power = decay, warmup, inv_gamma, power
        self.updates = 0
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._names = {id(parameter): name for name, parameter in self._trained.items()}
        self.arrays = {name: p.data.copy() for name, p in self._trained.items()}

    def decay_at(self, update: int) -> float:
        """The decay of update number `update`, counted from 0."""
        if not self.warmup:
            return self.decay
        return min(self.decay, 1 - (1 + update / self.inv_gamma) ** -self.power)

    def update(self) -> None:
        """Move the averages towards the parameters' present values."""
        for dtype in dict.fromkeys(p.dtype for p in self._trained.values()):
            parameters = [p for p in self._trained.values() if p.dtype == dtype]
            averages, decay = self.part(parameters)
            backend.ema(averages, [p.data for p in parameters], decay)
        self.updates += 1

    def covers(self, parameters: Sequence[Tensor]) -> bool:
        """Whether `parameters` are those that are averaged, all of them, in any order."""
        return len(parameters) == len(self._names) and all(id(p) in self._names for p in parameters)

    def part(self, parameters: Sequence[Tensor]) -> tuple[list[np.ndarray], float]:
        """The averages of these parameters, and the decay of the next update.

        For optimisers that move the averages themselves; they add 1 to `updates` afterwards.
        """
        averages = [self.arrays[self._names[id(p)]] for p in parameters]
        return averages, self.decay_at(self.updates)

    @contextmanager
    def applied(self) -> Iterator[Module]:
        """The model with the averages as its parameters, for the length of a with block."""
        parameters = self._trained
        trained = {name: parameter.data for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            parameter.data = self.arrays[name]
        try:
            yield self.model
        finally:
            for name, parameter in parameters.items():
                parameter.data = trained[name]

    def state_dict(self) -> dict[str, Any]:
        """The number of updates and copies of the averages by parameter name."""
        return {"updates": self.updates, **{k: v.copy() for k, v in self.arrays.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state of an average over the same parameters. Raises CheckpointError."""
        check_state("EMA", self.state_dict(), state)
        self.updates = int(state["updates"])
        for name, array in self.arrays.items():
            array[...] = np.asarray(state[name])
