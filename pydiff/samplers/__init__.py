"""Samplers: one loop, one frozen dataclass per method, time grids."""

from . import grids
from .base import Sampler, Step
from .ddim import DDIM
from .ddpm import DDPM
from .grids import GRIDS, make_grid
from .loop import sample
from .registry import SAMPLERS, make_sampler

__all__ = [
    "DDIM",
    "DDPM",
    "GRIDS",
    "SAMPLERS",
    "Sampler",
    "Step",
    "grids",
    "make_grid",
    "make_sampler",
    "sample",
]
