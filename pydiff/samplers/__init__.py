"""Samplers: one loop, one frozen dataclass per method, time grids."""

from . import grids
from .base import Sampler, Step
from .consistency import Consistency
from .ddim import DDIM
from .ddim_inverse import DDIMInverse
from .ddpm import DDPM
from .deis import DEIS
from .dpm2 import DPM2, DPM2Ancestral
from .dpm_adaptive import DPMAdaptive
from .dpm_solver import DPMSolver
from .dpmpp_2s_ancestral import DPMpp2SAncestral
from .dpmpp_multistep import DPMpp2M, DPMpp2MSDE, DPMpp3M, DPMpp3MSDE
from .dpmpp_sde import DPMppSDE
from .dpmpp_single import DPMppSingle
from .dps import DPS, MCG
from .editing import edit, image_to_image, slerp
from .euler import Euler
from .euler_ancestral import EulerAncestral
from .grids import GRIDS, make_grid
from .heun import Heun
from .ipndm import IPNDM
from .langevin import AnnealedLangevin, Langevin
from .lcm import LCM
from .lms import LMS
from .loop import sample
from .ode import ODE
from .pndm import PNDM
from .predictor_corrector import PredictorCorrector
from .registry import SAMPLERS, make_sampler
from .repaint import RePaint
from .replacement import Replacement
from .sa_solver import SASolver
from .sde import EulerMaruyama, ReverseDiffusion
from .tcd import TCD
from .twisted import TwistedSMC
from .unipc import UniPC

__all__ = [
    "DDIM",
    "DDPM",
    "DEIS",
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
    "DPS",
    "MCG",
    "RePaint",
    "Replacement",
    "TwistedSMC",
    "edit",
    "grids",
    "image_to_image",
    "make_grid",
    "make_sampler",
    "sample",
    "slerp",
]
