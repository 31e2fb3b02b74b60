"""pydiff: diffusion models for Python, from native kernels to pictures.

Everything is resolved on first use (PEP 562), so `import pydiff` costs almost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for editors and type checkers
    from . import autograd as autograd
    from . import backend as backend
    from . import config as config
    from . import data as data
    from . import diffusion as diffusion
    from . import errors as errors
    from . import io as io
    from . import measures as measures
    from . import nn as nn
    from . import ops as ops
    from . import pipelines as pipelines
    from . import plan as plan
    from . import random as random
    from . import samplers as samplers
    from . import schedulers as schedulers
    from . import testing as testing
    from . import training as training
    from .autograd import Tensor as Tensor
    from .autograd import no_grad as no_grad
    from .config import num_threads as num_threads
    from .config import set_num_threads as set_num_threads
    from .diffusion import guidance as guidance
    from .diffusion import likelihood as likelihood
    from .diffusion import schedules as schedules
    from .diffusion.denoiser import Denoiser as Denoiser
    from .pipelines import Pipeline as Pipeline
    from .plan import compile as compile
    from .samplers import sample as sample
    from .testing.gradcheck import gradcheck as gradcheck

__version__ = "0.1.0"

# Public name -> module that has it. A module whose last part is the name itself is the value.
_HOME = {
    "Denoiser": "pydiff.diffusion.denoiser",
    "Pipeline": "pydiff.pipelines",
    "Tensor": "pydiff.ops",  # with the ops that its operators call
    "autograd": "pydiff.autograd",
    "backend": "pydiff.backend",
    "compile": "pydiff.plan",
    "config": "pydiff.config",
    "data": "pydiff.data",
    "diffusion": "pydiff.diffusion",
    "errors": "pydiff.errors",
    "gradcheck": "pydiff.testing",
    "guidance": "pydiff.diffusion.guidance",
    "io": "pydiff.io",
    "likelihood": "pydiff.diffusion.likelihood",
    "measures": "pydiff.measures",
    "nn": "pydiff.nn",
    "no_grad": "pydiff.autograd",
    "num_threads": "pydiff.config",
    "ops": "pydiff.ops",
    "pipelines": "pydiff.pipelines",
    "plan": "pydiff.plan",
    "random": "pydiff.random",
    "sample": "pydiff.samplers",
    "samplers": "pydiff.samplers",
    "schedulers": "pydiff.schedulers",
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
