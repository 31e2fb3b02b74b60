"""The list of samplers by name."""

from __future__ import annotations

from ..errors import ConfigError
from .base import Sampler
from .ddim import DDIM
from .ddpm import DDPM

SAMPLERS: dict[str, type[Sampler]] = {cls.name: cls for cls in (DDPM, DDIM)}


def make_sampler(sampler: object) -> Sampler:
    """The sampler of that name with its default options, or the sampler object itself.

    Raises ConfigError that lists the names, or says what was passed instead.
    """
    if isinstance(sampler, Sampler):
        return sampler
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return SAMPLERS[sampler]()
    if isinstance(sampler, type):
        raise ConfigError(f"sampler is the class {sampler.__name__}; pass {sampler.__name__}()")
    raise ConfigError(f"sampler = {sampler!r}; known: {', '.join(SAMPLERS)}, or a sampler object")
