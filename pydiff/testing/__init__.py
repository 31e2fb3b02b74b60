"""What the project's own tests use, public so that anyone can check an op, a kernel or a sampler.

`gradcheck` compares gradients with finite differences; `cases.CASES` lists every op with random
arguments; `oracles` holds data whose denoiser is known exactly.
"""

from __future__ import annotations

import importlib
from typing import Any

# Not lazy: importing a submodule would hide a function of the same name.
from .gradcheck import CaseRow, GradcheckReport, check_gradients, gradcheck, run_case

_HOME = {
    "CASES": "cases",
    "Case": "case",
}

__all__ = [
    "CASES",
    "Case",
    "CaseRow",
    "GradcheckReport",
    "check_gradients",
    "gradcheck",
    "run_case",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pydiff.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
