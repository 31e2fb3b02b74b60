"""Samplers: one loop, one frozen dataclass per method, time grids."""

from . import grids
from .base import Sampler, Step
from .ddim import DDIM
from .ddpm import DDPM
from .dps import DPS, MCG
from .editing import edit, image_to_image, slerp
from .grids import GRIDS, make_grid
from .loop import sample
from .registry import SAMPLERS, make_sampler
from .repaint import RePaint
from .replacement import Replacement
from .twisted import TwistedSMC

__all__ = [
    "DDIM",
    "DDPM",
    "DPS",
    "GRIDS",
    "MCG",
    "RePaint",
    "Replacement",
    "SAMPLERS",
    "Sampler",
    "Step",
    "TwistedSMC",
    "edit",
    "grids",
    "image_to_image",
    "make_grid",
    "make_sampler",
    "sample",
    "slerp",
]
