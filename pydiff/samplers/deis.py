"""DEIS in log-rho: the exponential integrator over eps of Zhang & Chen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .dpm_solver import Ordered


@dataclass(frozen=True)
class DEIS(Ordered):
    """The polynomial through the last values of eps, in log(sigma / alpha), integrated exactly.

    In lambda = -log(rho) this is DPMSolver(solver_type="heun"), up to its default options: the two
    papers have one method here. solver_order: 1 (DDIM), 2 or 3. solver_type: "heun", exactly, or
    "midpoint" for order 2. Other options: see Multistep.
    """

    solver_type: str = "heun"

    name: ClassVar[str] = "deis"
    paper: ClassVar[str] = (
        "Zhang & Chen 2023, Fast Sampling of Diffusion Models with Exponential Integrator, arXiv "
        "2204.13902, eq. 15, with the polynomial in log rho"
    )
    data: ClassVar[bool] = False
