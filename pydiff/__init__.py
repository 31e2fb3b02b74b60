"""pydiff: diffusion models for Python, from native kernels to pictures.

Everything is resolved on first use (PEP 562), so `import pydiff` costs almost nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> module that has it. A module whose last part is the name itself is the value.
_HOME = {
    "Denoiser": "pydiff.diffusion.denoiser",
    "Pipeline": "pydiff.pipelines",
    "Tensor": "pydiff.ops",  # with the ops that its operators call
    "autograd": "pydiff.autograd",
    "backend": "pydiff.backend",
    "config": "pydiff.config",
    "data": "pydiff.data",
    "diffusion": "pydiff.diffusion",
    "errors": "pydiff.errors",
    "gradcheck": "pydiff.testing",
    "io": "pydiff.io",
    "nn": "pydiff.nn",
    "no_grad": "pydiff.autograd",
    "num_threads": "pydiff.config",
    "ops": "pydiff.ops",
    "pipelines": "pydiff.pipelines",
    "random": "pydiff.random",
    "sample": "pydiff.samplers",
    "samplers": "pydiff.samplers",
    "schedules": "pydiff.diffusion.schedules",
    "set_num_threads": "pydiff.config",
    "testing": "pydiff.testing",
    "training": "pydiff.training",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pydiff' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    return module if module.__name__.endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
