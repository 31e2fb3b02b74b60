"""Every error that pydiff raises on purpose; each is also the built-in that users would expect."""

from __future__ import annotations


class PydiffError(Exception):
    """Base of all errors raised by pydiff."""


class ShapeError(PydiffError, ValueError):
    """Array shapes or sizes do not fit; the message names op, argument and shapes."""


class DtypeError(PydiffError, TypeError):
    """An array has a dtype that the op does not take."""


class ConfigError(PydiffError, ValueError):
    """A configuration key or option has a value that is not allowed."""


class CheckpointError(PydiffError, ValueError):
    """A weights or checkpoint file is malformed, incomplete, or does not fit the model."""


class DataError(PydiffError, ValueError):
    """A data set cannot be read or is not what was asked for."""


class AutogradError(PydiffError, RuntimeError):
    """A gradient cannot be computed: no rule, a freed graph, or a saved array that was changed."""


class PlanError(PydiffError, RuntimeError):
    """A model cannot be compiled into a plan; the message names what stands in the way."""


class GradcheckError(PydiffError, AssertionError):
    """An analytic gradient differs from the numeric one."""


class NonFiniteError(PydiffError, FloatingPointError):
    """A NaN or an infinity appeared; the message names where."""


class Cancelled(PydiffError):
    """A long computation was stopped by its caller."""
