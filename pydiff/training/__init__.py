"""Training: `Trainer`, its settings, checkpoints that continue bitwise; `fit_points` for points."""

from .config import TrainConfig
from .metrics import MetricsLog
from .plots import save_loss_curve
from .points import Fitted, fit_points
from .trainer import Trainer, clear_run

__all__ = [
    "Fitted",
    "MetricsLog",
    "TrainConfig",
    "Trainer",
    "clear_run",
    "fit_points",
    "save_loss_curve",
]
