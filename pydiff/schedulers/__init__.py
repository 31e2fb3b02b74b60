"""Schedulers of diffusers' model folders as schedule, sampler and grid."""

from .config import SCHEDULERS, from_config, to_config
from .scheduler import Scheduler

__all__ = ["SCHEDULERS", "Scheduler", "from_config", "to_config"]
