"""Diffusion mathematics: schedules, prediction types, the denoiser, the process, the targets.

One coordinate system throughout: x_t = alpha(t) x_0 + sigma(t) eps, channels last.
"""

from . import conditioning, guidance, operators, schedules, thresholding
from .denoiser import Denoiser
from .discrete_schedule import DiscreteSchedule
from .loss_weights import WEIGHTS, edm_weights, min_snr_weights, p2_weights
from .losses import OBJECTIVES, Loss, training_target
from .noise_schedule import NoiseSchedule
from .parameterization import PREDICTIONS
from .preconditioning import Preconditioned, edm_preconditioning
from .prediction import Prediction
from .process import diffuse, forward_chain, posterior, transition
from .times import TIMES, LossHistory, Times, training_times

__all__ = [
    "OBJECTIVES",
    "PREDICTIONS",
    "TIMES",
    "WEIGHTS",
    "Denoiser",
    "DiscreteSchedule",
    "Loss",
    "LossHistory",
    "NoiseSchedule",
    "Preconditioned",
    "Prediction",
    "Times",
    "conditioning",
    "diffuse",
    "edm_preconditioning",
    "edm_weights",
    "forward_chain",
    "guidance",
    "min_snr_weights",
    "operators",
    "p2_weights",
    "posterior",
    "schedules",
    "thresholding",
    "training_target",
    "training_times",
    "transition",
]
