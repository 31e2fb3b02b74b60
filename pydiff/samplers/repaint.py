"""RePaint: replacement with jumps back to more noise, so that both parts come to agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..checks import check_count
from ..diffusion.prediction import Prediction
from ..diffusion.process import diffuse
from .base import Noise, Predictor, Step
from .replacement import Wrapper, replaced


class _Place(NamedTuple):
    """Where a run is in its grid, and the inner sampler's state."""

    times: tuple[float, ...]
    position: int
    inner: Any


@dataclass(frozen=True, eq=False)
class RePaint(Wrapper):
    """Replacement steps; every jump_length of them are undone by noise and made again.

    jump_length: how many steps are repeated at a time (j in the paper). resamplings: how often
    each step is made in all (r); 1 is plain replacement. The paper's 250 steps with 10 and 10
    cost about 2,500 evaluations. All repetitions belong to one step of the loop, so a callback sees
    x after the last of them.
    """

    jump_length: int = 10
    resamplings: int = 10

    name: ClassVar[str] = "repaint"
    paper: ClassVar[str] = (
        "Lugmayr et al. 2022, RePaint: Inpainting using Denoising Diffusion Probabilistic Models, "
        "arXiv 2201.09865, Algorithm 1 and appendix B (jumps)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("jump_length", "resamplings"):
            check_count(option, getattr(self, option))

    def start(self, times: Sequence[float]) -> _Place:
        """At the start of the grid."""
        return _Place(tuple(times), 0, self.inner.start(times))

    def step(
        self,
        denoiser: Predictor,
        x: np.ndarray,
        t: float,
        t_next: float,
        state: _Place,
        noise: Noise,
    ) -> Step:
        """One step down; where a jump ends, back up and down again resamplings - 1 times."""
        x, said, place = self._down(denoiser, x, state, noise)
        if self._jumps(place):
            for _ in range(self.resamplings - 1):
                back = place.position - self.jump_length
                x = diffuse(denoiser.schedule, x, t_next, place.times[back], noise())
                place = place._replace(position=back, inner=self.inner.start(place.times[back:]))
                for _ in range(self.jump_length):
                    x, said, place = self._down(denoiser, x, place, noise)
        return Step(x, said, place)

    def _down(
        self, denoiser: Predictor, x: np.ndarray, place: _Place, noise: Noise
    ) -> tuple[np.ndarray, Prediction | np.ndarray, _Place]:
        t, t_next = place.times[place.position : place.position + 2]
        made = self.inner.step(denoiser, x, t, t_next, place.inner, noise)
        x = replaced(self.observation, denoiser, made.x, t_next, noise)
        return x, made.prediction, place._replace(position=place.position + 1, inner=made.state)

    def _jumps(self, place: _Place) -> bool:
        """At every jump_length-th noisy time, counted from the last, that has a start to go to."""
        left = len(place.times) - 2 - place.position
        return left >= 0 and left % self.jump_length == 0 and place.position >= self.jump_length
