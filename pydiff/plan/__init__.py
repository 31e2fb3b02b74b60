"""Compiled plans: a model traced once, fused, laid out in memory, and run by one native call."""

from .entry import compile
from .plan import Plan
from .program import Instruction, Timing

__all__ = ["Instruction", "Plan", "Timing", "compile"]
