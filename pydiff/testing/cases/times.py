"""Features of times, which are integers here: their conversion to floats is exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..case import DTYPE, Args, Array, Case, Draw, Rng, relative
from .shapes import shape, size

SINGLE = float(np.finfo(np.float32).eps)


def times(rng: Rng) -> Any:
    return rng.integers(1, 1000, size(rng))


def sinusoids(rng: Rng) -> Args:
    features = 2 * size(rng) + int(rng.integers(2))
    return tabulated(times(rng), features, bool(rng.integers(2)))


def tabulated(t: Any, features: int, cosine_first: bool = False) -> Args:
    frequency = (10000.0 ** -np.linspace(0, 1, features // 2)).astype(np.float32)
    options = {"features": features, "cosine_first": cosine_first, "dtype": DTYPE}
    return {"t": np.asarray(t), "frequency": frequency, **options}


def rounded_to_single(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
    """The last bit of float32, in which sine and cosine are given."""
    return [SINGLE * np.abs(y) + 32 * np.finfo(np.float64).eps for y in outputs]


def fourier(rng: Rng) -> Args:
    return {"t": times(rng), "weight": Draw(size(rng))}


def of_angles(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
    """Angles of that size are rounded four times; log(t) to float32 in kernel and reference."""
    angle = 2 * np.pi * np.log(args["t"].max(initial=1)) * np.abs(args["weight"]).max(initial=0)
    return [np.full_like(y, 4 * eps * (angle + 1)) for y in outputs]


def doubles(rng: Rng) -> Args:
    return {"x": rng.standard_normal(shape(rng)), "dtype": DTYPE}


TIMES = (
    Case(
        "sinusoids",
        sinusoids,
        rounded_to_single,
        edges=(tabulated([], 6), tabulated([999], 0), tabulated(np.arange(1000), 257, True)),
        bench=(tabulated(np.arange(16), 128),),
    ),
    Case(
        "fourier",
        fourier,
        of_angles,
        edges=(
            {"t": np.zeros(0, int), "weight": Draw(3)},
            {"t": np.arange(1, 500), "weight": Draw(131)},
        ),
        bench=({"t": np.arange(1, 17), "weight": Draw(128)},),
    ),
    Case(
        "cast",
        doubles,
        relative(0.5),
        edges=(
            {"x": np.zeros((0, 2)), "dtype": DTYPE},
            {"x": np.arange(9000.0) / 7, "dtype": DTYPE},
        ),
        bench=({"x": np.arange(16.0), "dtype": DTYPE},),
    ),
)
