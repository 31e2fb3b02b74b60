"""Samplers: one loop, one frozen dataclass per method, time grids."""

from . import grids
from .base import Sampler, Step
from .ddim import DDIM
from .ddpm import DDPM
from .dpm2 import DPM2, DPM2Ancestral
from .dpmpp_2s_ancestral import DPMpp2SAncestral
from .dpmpp_sde import DPMppSDE
from .euler import Euler
from .euler_ancestral import EulerAncestral
from .grids import GRIDS, make_grid
from .heun import Heun
from .loop import sample
from .registry import SAMPLERS, make_sampler

__all__ = [
    "DDIM",
    "DDPM",
    "DPM2",
    "DPM2Ancestral",
    "DPMpp2SAncestral",
    "DPMppSDE",
    "Euler",
    "EulerAncestral",
    "Heun",
    "GRIDS",
    "SAMPLERS",
    "Sampler",
    "Step",
    "grids",
    "make_grid",
    "make_sampler",
    "sample",
]
