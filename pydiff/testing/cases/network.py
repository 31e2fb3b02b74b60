"""Normalisation and attention."""

from __future__ import annotations

import numpy as np

from ... import backend
from ..case import Args, Array, Bound, Case, Draw, Rng, normwise
from .shapes import shape, size


def largest(*arrays: Array | None) -> float:
    """The largest absolute value in any of the arrays; 0 for none."""
    return max((float(np.max(np.abs(x), initial=0)) for x in arrays if x is not None), default=0.0)


def normalised(ulps: float) -> Bound:
    """ulps eps kappa (max|y| + the largest term of the gradient).

    kappa = 1 + max|x| max(rstd): normalisation amplifies the rounding of x - mean by rstd.
    """

    def bound(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
        rstd = largest(args.get("rstd", outputs[-1]))
        kappa = 1 + largest(args["x"]) * rstd
        terms = largest(args.get("dy")) * (1 + largest(args["weight"])) * (1 + rstd)
        return [np.full_like(y, ulps * eps * kappa * (largest(y) + terms)) for y in outputs]

    return bound


def group_norm(rng: Rng) -> Args:
    groups = size(rng, 5)
    dims = (size(rng, 3), *shape(rng, 0, 2), groups * size(rng, 7))
    return grouped(dims, groups, "silu" if rng.random() < 0.5 else "none", rng.random() < 0.8)


def grouped(dims: tuple[int, ...], groups: int, act: str = "silu", affine: bool = True) -> Args:
    weight = Draw(dims[-1]) if affine else None
    return {"x": Draw(*dims), "groups": groups, "weight": weight, "bias": weight, "act": act}


def layer_norm(rng: Rng) -> Args:
    return layered((*shape(rng, 0, 3), size(rng)), rng.random() < 0.8)


def layered(dims: tuple[int, ...], affine: bool = True) -> Args:
    weight = Draw(dims[-1]) if affine else None
    return {"x": Draw(*dims), "weight": weight, "bias": weight}


def with_group_statistics(args: Args) -> Args:
    with backend.use("reference"):
        _, mean, rstd = backend.group_norm(**args)
    return {"mean": mean, "rstd": rstd, "dy": args["x"][..., ::-1] - 0.5}


def with_layer_statistics(args: Args) -> Args:
    with backend.use("reference"):
        _, mean, rstd = backend.layer_norm(args["x"])
    return {"mean": mean, "rstd": rstd, "dy": args["x"][..., ::-1] - 0.5}


def without_bias(args: Args) -> Args:
    return {name: value for name, value in args.items() if name != "bias"}


def attention(rng: Rng) -> Args:
    heads = size(rng, 3)
    return tokens(size(rng, 3), size(rng), size(rng), heads, size(rng, 9))


def tokens(n: int, tq: int, tk: int, heads: int, d: int) -> Args:
    q, k = Draw(n, tq, heads * d), Draw(n, tk, heads * d)
    return {"q": q, "k": k, "v": k, "heads": heads}


def with_output(args: Args) -> Args:
    with backend.use("reference"):
        o, lse = backend.attention(**args)
    return {"o": o, "lse": lse, "dy": args["q"][..., ::-1] - 0.5}


GROUP_EDGES = (
    grouped((1, 1), 1),
    grouped((0, 3, 4), 2),
    grouped((2, 33, 31, 12), 4),
    grouped((3, 70, 96), 32, "none"),
    grouped((1, 5, 130), 2, "silu", False),
)
GROUP_BENCH = (grouped((16, 32, 32, 128), 32), grouped((1, 32, 32, 128), 32, "none"))
LAYER_EDGES = (layered((1,)), layered((0, 3)), layered((700, 67)))
LAYER_BENCH = (layered((16, 256, 512)),)
ATTENTION_EDGES = (
    tokens(1, 1, 1, 1, 1),
    tokens(0, 3, 4, 2, 2),
    tokens(2, 0, 4, 2, 2),
    tokens(1, 300, 1, 1, 3),
    tokens(2, 131, 259, 2, 40),
    tokens(1, 65, 129, 1, 130),
)
ATTENTION_BENCH = (tokens(16, 256, 256, 1, 256), tokens(1, 1024, 1024, 8, 64))

NETWORK = (
    Case(
        "group_norm",
        group_norm,
        normalised(16),
        gradients=("x", "weight", "bias"),
        edges=GROUP_EDGES,
        bench=GROUP_BENCH,
    ),
    Case(
        "group_norm_backward",
        group_norm,
        normalised(64),
        complete=with_group_statistics,
        edges=GROUP_EDGES,
        bench=GROUP_BENCH,
    ),
    Case(
        "layer_norm",
        layer_norm,
        normalised(16),
        gradients=("x", "weight", "bias"),
        edges=LAYER_EDGES,
        bench=LAYER_BENCH,
    ),
    Case(
        "layer_norm_backward",
        lambda rng: without_bias(layer_norm(rng)),
        normalised(64),
        complete=with_layer_statistics,
        edges=tuple(without_bias(args) for args in LAYER_EDGES),
        bench=tuple(without_bias(args) for args in LAYER_BENCH),
    ),
    Case(
        "attention",
        attention,
        normwise(64, "v"),
        gradients=("q", "k", "v"),
        edges=ATTENTION_EDGES,
        bench=ATTENTION_BENCH,
    ),
    Case(
        "attention_backward",
        attention,
        normwise(64, "dy"),
        complete=with_output,
        edges=ATTENTION_EDGES,
        bench=ATTENTION_BENCH,
    ),
)
