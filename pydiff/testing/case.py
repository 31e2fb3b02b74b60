"""What a case of the table is: random arguments, an error bound, and where the op is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import backend, ops

Array = NDArray[Any]
Rng = np.random.Generator
Args = dict[str, Any]
Bound = Callable[["Case", Args, list[Array], float], list[Array]]


class Draw:
    """An array to be drawn: a shape and the kind of numbers in it (a key of `KINDS`)."""

    def __init__(self, *shape: int, kind: str = "normal") -> None:
        self.shape = shape
        self.kind = kind

    def __call__(self, rng: Rng, dtype: DTypeLike) -> Array:
        return np.asarray(KINDS[self.kind](rng, self.shape)).astype(dtype)


def _distinct(rng: Rng, shape: tuple[int, ...]) -> Array:
    """Numbers at least 0.05 apart: a maximum has no ties and no kink nearby."""
    order = rng.permutation(math.prod(shape))
    return (0.05 * (order - order.size / 2)).reshape(shape)


def _rows(rng: Rng, shape: tuple[int, ...]) -> Array:
    """Positive rows that sum to 1."""
    e = np.exp(rng.standard_normal(shape))
    return e / e.sum(axis=-1, keepdims=True)


KINDS: dict[str, Callable[[Rng, tuple[int, ...]], Any]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: np.exp(rng.standard_normal(shape)) + 0.1,
    "nonzero": lambda rng, shape: rng.choice([-1, 1], shape) * rng.uniform(0.25, 3, shape),
    "unit": lambda rng, shape: rng.uniform(0.05, 0.95, shape),
    "distinct": _distinct,
    "rows": _rows,
    "zeros": lambda rng, shape: np.zeros(shape),
}


@dataclass(frozen=True)
class Case:
    """One op.

    name: of the backend function if `bound` is given, and of the op in `pydiff.ops` if `gradients`
        is given (`op` replaces that op by any callable on Tensors).
    draw: rng -> keyword arguments of both, with `Draw` in place of arrays.
    bound: largest allowed |kernel - reference| for each output; see below.
    gradients: the arguments that have a gradient.
    complete: adds arguments that depend on others, such as saved statistics.
    edges: arguments at the edges of what is legal: size 1, empty, larger than a kernel's blocks.
    bench: arguments worth timing.
    in_place: the arguments that the function changes instead of returning something.
    wide: whether the outputs are float64 whatever the inputs are.
    """

    name: str
    draw: Callable[[Rng], Args]
    bound: Bound | None = None
    gradients: tuple[str, ...] = ()
    op: Callable[..., Any] | None = None
    complete: Callable[[Args], Args] | None = None
    edges: tuple[Args, ...] = ()
    bench: tuple[Args, ...] = ()
    in_place: tuple[str, ...] = ()
    wide: bool = False

    def make(self, rng: Rng, dtype: DTypeLike, template: Args | None = None) -> Args:
        """Keyword arguments with arrays, drawn at random or from one of `edges` or `bench`."""
        template = self.draw(rng) if template is None else template
        args = {name: _filled(value, rng, dtype) for name, value in template.items()}
        return args | self.complete(args) if self.complete else args

    def run(self, args: Args) -> list[Array]:
        """Outputs of the active backend for `make`'s arguments; None outputs are left out."""
        changing = {name: _mapped(args[name], np.copy) for name in self.in_place}
        result = getattr(backend, self.name)(**{**args, **changing})
        if self.in_place:
            return _flat(list(changing.values()))
        return [y for y in (result if isinstance(result, tuple) else (result,)) if y is not None]

    def oracle(self, args: Args, eps: float) -> tuple[list[Array], list[Array]]:
        """The reference's float64 outputs, and the error that arithmetic in `eps` may have."""
        assert self.bound is not None
        wide = widened(args)
        with backend.use("reference"):
            outputs = self.run(wide)
            return outputs, self.bound(self, wide, outputs, eps)

    def inputs(self, rng: Rng) -> tuple[Callable[..., Any], list[Array]]:
        """A function of Tensors and float64 arrays to call it with, for `gradcheck`."""
        args = self.make(rng, np.float64)
        names = [name for name in self.gradients if args.get(name) is not None]
        op = self.op or getattr(ops, self.name)

        def fn(*tensors: Any) -> Any:
            return op(**{**args, **dict(zip(names, tensors, strict=True))})

        return fn, [args[name] for name in names]

    def templates(self, rng: Rng, count: int) -> Iterator[Args]:
        """The edges, then `count` random templates."""
        yield from self.edges
        for _ in range(count):
            yield self.draw(rng)


def _filled(value: Any, rng: Rng, dtype: DTypeLike) -> Any:
    if isinstance(value, Draw):
        return value(rng, dtype)
    if isinstance(value, list):
        return [_filled(item, rng, dtype) for item in value]
    return np.dtype(dtype) if value is DTYPE else value


def _flat(value: Any) -> list[Array]:
    """The arrays of lists of lists; None has none."""
    if isinstance(value, list):
        return [x for item in value for x in _flat(item)]
    return [] if value is None else [value]


DTYPE = object()  # stands for the dtype itself among the arguments


def widened(args: Args) -> Args:
    """The same arguments in float64."""
    return {name: _mapped(value, lambda x: x.astype(np.float64)) for name, value in args.items()}


def absolute(args: Args) -> Args:
    """The same arguments with absolute values."""
    return {name: _mapped(value, np.abs) for name, value in args.items()}


def _mapped(value: Any, f: Callable[[Array], Array]) -> Any:
    if isinstance(value, list):
        return [_mapped(item, f) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.asarray(f(value))
    return np.dtype(np.float64) if isinstance(value, np.dtype) else value


# ---- error bounds: (case, float64 arguments, float64 outputs, eps) -> one array per output


def exact(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
    """The same numbers: the op only moves or selects them."""
    return [np.zeros_like(y) for y in outputs]


def relative(ulps: float) -> Bound:
    """ulps eps |y|."""
    return lambda case, args, outputs, eps: [ulps * eps * np.abs(y) for y in outputs]


def against(name: str, ulps: float) -> Bound:
    """ulps eps (|y| + |argument|), where y is a difference of terms of that size."""
    return lambda case, args, outputs, eps: [
        ulps * eps * (np.abs(y) + np.abs(args[name])) for y in outputs
    ]


def linear(length: Callable[[Args], int]) -> Bound:
    """4 (sqrt(K) + 1) eps op(|arguments|), for sums of K products in any order.

    Rounding errors of a sum of K terms grow as sqrt(K) with a probability that a factor of 4 makes
    practically certain (Higham & Mary 2019, theorem 2.4); the worst case is K.
    """

    def bound(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
        factor = 4 * (math.sqrt(length(args)) + 1) * eps
        return [factor * magnitude for magnitude in case.run(absolute(args))]

    return bound


def convolved(length: Callable[[Args], int], axes: tuple[int, int]) -> Bound:
    """`linear`, taken at the largest of `axes` where Winograd's algorithms may compute the op.

    They mix all pixels of a tile (or taps of a kernel), so each carries the error of the largest:
    a border pixel that meets few taps, too.
    """
    exactly = linear(length)

    def bound(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
        (b,) = exactly(case, args, outputs, eps)
        shape = args["weight"].shape if "weight" in args else args["weight_shape"]
        if shape[:2] != (3, 3) or args["stride"] not in (1, (1, 1)) or b.size == 0:
            return [b]
        return [np.broadcast_to(b.max(axis=axes, keepdims=True), b.shape)]

    return bound


def normwise(ulps: float, *names: str) -> Bound:
    """ulps eps (max|y| + max|arguments|), where the terms of y are of that size."""

    def bound(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
        terms = sum(np.max(np.abs(args[name]), initial=0) for name in names)
        scales = [np.max(np.abs(y), initial=0) + terms for y in outputs]
        return [
            np.full_like(y, ulps * eps * scale) for y, scale in zip(outputs, scales, strict=True)
        ]

    return bound


def rounded_once(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
    """Computed in float64 to 32 ulp of 1, then rounded to the dtype."""
    return [eps * np.abs(y) + 32 * np.finfo(np.float64).eps for y in outputs]
