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
    "AnnealedLangevin",
    "Consistency",
    "DDIM",
    "DDIMInverse",
    "DDPM",
    "DEIS",
    "DPM2",
    "DPM2Ancestral",
    "DPMAdaptive",
    "DPMSolver",
    "DPMpp2M",
    "DPMpp2MSDE",
    "DPMpp2SAncestral",
    "DPMpp3M",
    "DPMpp3MSDE",
    "DPMppSDE",
    "DPMppSingle",
    "DPS",
    "Euler",
    "EulerAncestral",
    "EulerMaruyama",
    "GRIDS",
    "Heun",
    "IPNDM",
    "LCM",
    "LMS",
    "Langevin",
    "MCG",
    "ODE",
    "PNDM",
    "PredictorCorrector",
    "RePaint",
    "Replacement",
    "ReverseDiffusion",
    "SAMPLERS",
    "SASolver",
    "Sampler",
    "Step",
    "TCD",
    "TwistedSMC",
    "UniPC",
    "edit",
    "grids",
    "image_to_image",
    "make_grid",
    "make_sampler",
    "sample",
    "slerp",
]
