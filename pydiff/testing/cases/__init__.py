"""The case table: every op once, with random arguments, edges, an error bound and gradients.

Kernel tests, gradient checks, `pydiff gradcheck` and the benchmarks expand from it.
"""

from __future__ import annotations

from ..case import Case
from .elementwise import ELEMENTWISE
from .moves import MOVES, UPDATES
from .network import NETWORK
from .products import PRODUCTS
from .reduce import REDUCE
from .times import TIMES

CASES: tuple[Case, ...] = (*ELEMENTWISE, *REDUCE, *PRODUCTS, *NETWORK, *MOVES, *TIMES, *UPDATES)
KERNEL_CASES = tuple(case for case in CASES if case.bound)  # each is a function of the backend
GRADIENT_CASES = tuple(case for case in CASES if case.gradients)  # each is a differentiable op

__all__ = ["CASES", "GRADIENT_CASES", "KERNEL_CASES"]
