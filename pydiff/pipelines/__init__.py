"""Applications: a model, its schedule and a sampler, from and to a folder."""

from .builtin import digits
from .pipeline import Pipeline
from .scheduler_config import scheduler_for, write_scheduler

__all__ = ["Pipeline", "digits", "scheduler_for", "write_scheduler"]
