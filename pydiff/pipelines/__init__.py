"""Applications: a model, its schedule and a sampler, from and to a folder."""

from .builtin import digits
from .pipeline import Pipeline
from .scheduler_config import SchedulerConfig, read_scheduler, write_scheduler

__all__ = ["Pipeline", "SchedulerConfig", "digits", "read_scheduler", "write_scheduler"]
