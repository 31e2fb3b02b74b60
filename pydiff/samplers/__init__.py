"""Samplers: one loop, one frozen dataclass per method, time grids."""

from . import grids
from .base import Sampler, Step
from .ddim import DDIM
from .ddpm import DDPM
from .deis import DEIS
from .dpm2 import DPM2, DPM2Ancestral
from .dpm_solver import DPMSolver
from .dpmpp_2s_ancestral import DPMpp2SAncestral
from .dpmpp_multistep import DPMpp2M, DPMpp2MSDE, DPMpp3M, DPMpp3MSDE
from .dpmpp_sde import DPMppSDE
from .dpmpp_single import DPMppSingle
from .euler import Euler
from .euler_ancestral import EulerAncestral
from .grids import GRIDS, make_grid
from .heun import Heun
from .ipndm import IPNDM
from .lms import LMS
from .loop import sample
from .pndm import PNDM
from .registry import SAMPLERS, make_sampler
from .sa_solver import SASolver
from .unipc import UniPC

__all__ = [
    "DDIM",
    "DDPM",
    "DEIS",
    "DPM2",
    "DPM2Ancestral",
    "DPMSolver",
    "DPMpp2M",
    "DPMpp2MSDE",
    "DPMpp2SAncestral",
    "DPMpp3M",
    "DPMpp3MSDE",
    "DPMppSDE",
    "DPMppSingle",
    "Euler",
    "EulerAncestral",
    "Heun",
    "GRIDS",
    "IPNDM",
    "LMS",
    "PNDM",
    "SAMPLERS",
    "SASolver",
    "Sampler",
    "Step",
    "UniPC",
    "grids",
    "make_grid",
    "make_sampler",
    "sample",
]
