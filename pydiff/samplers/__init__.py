"""Samplers: one loop, one frozen dataclass per method, time grids."""

from . import grids
from .base import Sampler, Step
from .consistency import Consistency
from .ddim import DDIM
from .ddim_inverse import DDIMInverse
from .ddpm import DDPM
from .dpm2 import DPM2, DPM2Ancestral
from .dpm_adaptive import DPMAdaptive
from .dpmpp_2s_ancestral import DPMpp2SAncestral
from .dpmpp_sde import DPMppSDE
from .euler import Euler
from .euler_ancestral import EulerAncestral
from .grids import GRIDS, make_grid
from .heun import Heun
from .langevin import AnnealedLangevin, Langevin
from .lcm import LCM
from .loop import sample
from .ode import ODE
from .predictor_corrector import PredictorCorrector
from .registry import SAMPLERS, make_sampler
from .sde import EulerMaruyama, ReverseDiffusion
from .tcd import TCD

__all__ = [
    "DDIM",
    "DDPM",
    "Consistency",
    "DDIMInverse",
    "DPMAdaptive",
    "AnnealedLangevin",
    "Langevin",
    "LCM",
    "ODE",
    "PredictorCorrector",
    "EulerMaruyama",
    "ReverseDiffusion",
    "TCD",
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
