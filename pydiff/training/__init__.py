"""Training: `Trainer`, its settings, and checkpoints that continue bitwise."""

from .config import TrainConfig
from .metrics import MetricsLog
from .plots import save_loss_curve
from .trainer import Trainer, clear_run

__all__ = [
    "MetricsLog",
    "TrainConfig",
    "Trainer",
    "clear_run",
    "save_loss_curve",
]
