"""Diffusion mathematics: schedules, prediction types, the denoiser, the process, the targets.

One coordinate system throughout: x_t = alpha(t) x_0 + sigma(t) eps, channels last.
"""

from . import conditioning, guidance, operators, schedules, thresholding
from .denoiser import Denoiser
from .discrete_schedule import DiscreteSchedule
from .losses import min_snr_weights, training_target, training_times
from .noise_schedule import NoiseSchedule
from .parameterization import PREDICTIONS
from .prediction import Prediction
from .process import diffuse, forward_chain, posterior, transition

__all__ = [
    "PREDICTIONS",
    "Denoiser",
    "DiscreteSchedule",
    "NoiseSchedule",
    "Prediction",
    "conditioning",
    "diffuse",
    "forward_chain",
    "guidance",
    "min_snr_weights",
    "operators",
    "posterior",
    "schedules",
    "thresholding",
    "training_target",
    "training_times",
    "transition",
]
