"""The list of samplers by name."""

from __future__ import annotations

from ..errors import ConfigError
from .base import Sampler
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
from .euler import Euler
from .euler_ancestral import EulerAncestral
from .heun import Heun
from .ipndm import IPNDM
from .langevin import AnnealedLangevin, Langevin
from .lcm import LCM
from .lms import LMS
from .ode import ODE
from .pndm import PNDM
from .predictor_corrector import PredictorCorrector
from .sa_solver import SASolver
from .sde import EulerMaruyama, ReverseDiffusion
from .tcd import TCD
from .unipc import UniPC

_CLASSES: tuple[type[Sampler], ...] = (
    DDPM,
    DDIM,
    Euler,
    EulerAncestral,
    Heun,
    DPM2,
    DPM2Ancestral,
    DPMpp2SAncestral,
    DPMppSDE,
    DPMAdaptive,
    ODE,
    DDIMInverse,
    Langevin,
    AnnealedLangevin,
    EulerMaruyama,
    ReverseDiffusion,
    PredictorCorrector,
    LCM,
    TCD,
    Consistency,
    DPMSolver,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp3M,
    DPMpp3MSDE,
    UniPC,
    LMS,
    DPMppSingle,
    DEIS,
    SASolver,
    IPNDM,
    PNDM,
)
SAMPLERS: dict[str, type[Sampler]] = {cls.name: cls for cls in _CLASSES}


def make_sampler(sampler: object) -> Sampler:
    """The sampler of that name with its default options, or the sampler object itself.

    Raises ConfigError that lists the names, or says what was passed instead.
    """
    if isinstance(sampler, Sampler):
        return sampler
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return SAMPLERS[sampler]()
    if isinstance(sampler, type):
        raise ConfigError(f"sampler is the class {sampler.__name__}; pass {sampler.__name__}()")
    raise ConfigError(f"sampler = {sampler!r}; known: {', '.join(SAMPLERS)}, or a sampler object")
