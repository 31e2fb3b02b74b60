"""DPM-Solver++ as a multistep method, for the ODE and the SDE, orders 2 and 3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..checks import check_number
from .dpm_solver import Multistep, Ordered, UpToThree
from .exponential import Interval

_PAPER = "Lu et al. 2022, DPM-Solver++, arXiv 2211.01095, "


@dataclass(frozen=True)
class DPMpp2M(Ordered):
    """Interpolates x_0 over lambda; diffusers' `algorithm_type` "dpmsolver++".

    solver_order: 2, or 1 (DDIM). Other options: see Multistep.
    """

    name: ClassVar[str] = "dpmpp_2m"
    paper: ClassVar[str] = _PAPER + "Algorithm 2"
    most: ClassVar[int] = 2


@dataclass(frozen=True)
class _Noisy(Multistep):
    """eta: 0 solves the probability-flow ODE, 1 the reverse SDE. s_noise: a factor of the noise."""

    eta: float = 1.0
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("eta", self.eta)
        check_number("s_noise", self.s_noise)

    @property
    def noisiness(self) -> float:
        """eta."""
        return self.eta

    @property
    def _s_noise(self) -> float:
        return self.s_noise


@dataclass(frozen=True)
class DPMpp2MSDE(Ordered, _Noisy):
    """DPMpp2M for the reverse SDE; diffusers' `algorithm_type` "sde-dpmsolver++".

    solver_order: 2 or 1. eta: 0 is DPMpp2M, 1 the reverse SDE. s_noise: a factor for the noise
    alone. Other options: see Multistep.
    """

    name: ClassVar[str] = "dpmpp_2m_sde"
    paper: ClassVar[str] = (
        _PAPER + "section 5; Crowson 2022, k-diffusion, sample_dpmpp_2m_sde (eta)"
    )
    most: ClassVar[int] = 2


@dataclass(frozen=True)
class DPMpp3M(UpToThree):
    """DPMpp2M with one more value; diffusers' "dpmsolver++" with solver_order = 3.

    third_order: "exact", or "halved" as in diffusers, which is of order 2. Other options: see
    Multistep.
    """

    name: ClassVar[str] = "dpmpp_3m"
    paper: ClassVar[str] = _PAPER + "section 4.2, with eq. 8 for three values"
    highest: ClassVar[int] = 3


@dataclass(frozen=True)
class DPMpp3MSDE(_Noisy, UpToThree):
    """DPMpp3M for the reverse SDE.

    eta: 0 is DPMpp3M, 1 the reverse SDE. s_noise: a factor for the noise alone. third_order:
    "exact"; "halved" as in k-diffusion; or "diffusers", its "sde-dpmsolver++" with
    solver_order = 3, which has a sign wrong: its factor of the second derivative does not vanish
    with the step. Other options: see Multistep.
    """

    name: ClassVar[str] = "dpmpp_3m_sde"
    paper: ClassVar[str] = (
        _PAPER + "section 5, with three values; Crowson 2022, k-diffusion, sample_dpmpp_3m_sde"
    )
    highest: ClassVar[int] = 3
    third_orders: ClassVar[tuple[str, ...]] = ("exact", "halved", "diffusers")

    @property
    def order(self) -> int:
        """3 without noise, 2 if halved; with noise weak order 2, but 1 as in diffusers."""
        if self.third_order == "diffusers":
            return 1
        return super().order

    def _integrals(self, part: Interval, count: int) -> list[float]:
        integrals = super()._integrals(part, count)
        if count == 3 and self.third_order == "diffusers":
            integrals[2] += part.constant / math.expm1(part.exponent)  # minus alpha'
        return integrals
