"""Reverse-mode automatic differentiation over a tape that knows no formulas."""

from __future__ import annotations

from .rules import RULES, Rule, rule
from .tape import Node, is_grad_enabled, no_grad, record
from .tensor import OPS, Tensor

__all__ = ["OPS", "RULES", "Node", "Rule", "Tensor", "is_grad_enabled", "no_grad", "record", "rule"]
