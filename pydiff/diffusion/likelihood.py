"""How likely data are under a diffusion model: a lower bound, and the density of its ODE."""

from .ode_likelihood import LogLikelihood, ode_log_likelihood
from .statistics import bits_per_dim, dequantize
from .vlb import VariationalBound, vlb

__all__ = [
    "LogLikelihood",
    "VariationalBound",
    "bits_per_dim",
    "dequantize",
    "ode_log_likelihood",
    "vlb",
]
