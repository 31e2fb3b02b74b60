"""Exact answers to grade samplers by: data whose denoiser is known in closed form."""

from .mixture import GaussianMixture

__all__ = ["GaussianMixture"]
