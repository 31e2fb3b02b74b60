"""What a sampler is: a frozen dataclass that makes one step, with all state passed in and out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..diffusion.denoiser import Predictor as Predictor
from ..diffusion.prediction import Prediction

Noise = Callable[[], np.ndarray]


class Step(NamedTuple):
    """The result of one step: the new x (N, ...), the prediction at its start, and the state.

    x is a new array: callers may keep every x and x_0 that they are given. `prediction` has the x_0
    that callbacks get, or is that array itself. t is the time that was reached, for adaptive
    samplers that stop before t_next; None means t_next.
    """

    x: np.ndarray
    prediction: Prediction | np.ndarray
    state: Any = None
    t: float | None = None


class Sampler:
    """Base of all samplers.

    Subclasses are frozen dataclasses whose fields are options; nothing changes between calls, so
    threads may share one. A multistep method keeps its history in `state`.

    name: the key in SAMPLERS. paper: author, year, title, arXiv number, equation or algorithm.
    adaptive: whether it chooses its own steps between the times of the grid, which by default are
    then only the first and the last one.
    inverse: whether it goes from data to noise: the loop then walks the grid from its end.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    adaptive: ClassVar[bool] = False
    inverse: ClassVar[bool] = False

    @property
    def order(self) -> int:
        """Order of convergence of the global error (for stochastic ones, weak order)."""
        raise NotImplementedError

    @property
    def evaluations(self) -> int:
        """Model evaluations per step (for adaptive ones, per attempted step)."""
        return 1

    @property
    def stochastic(self) -> bool:
        """Whether steps draw noise."""
        raise NotImplementedError

    def start(self, times: Sequence[float]) -> Any:
        """The state before the first step; times is the whole grid, its end included."""
        return None

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """One step of x (N, ...), float32 or float64, from time t to t_next, which is less noisy
        (of an inverse sampler noisier).

        t_next is `schedule.t_clean` in a step that ends at the data. noise() draws a fresh standard
        normal array like x; it is called only where noise enters.
        """
        raise NotImplementedError
