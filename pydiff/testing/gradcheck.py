"""Gradients compared with finite differences, for ops, functions and whole modules.

Everything runs in float64. The derivative of phi(e) = sum v f(x + e s), v a random cotangent and s
one element or a random direction, is estimated by the fourth-order central difference
    (8 (phi(h) - phi(-h)) - (phi(2h) - phi(-2h))) / 12h,    error O(h^4) + O(eps / h),
and compared with the sum of (gradient s). Where the two differ the step is refined, for a kink near
x spoils a large step but not a small one; a wrong gradient is wrong at every step.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import ops
from ..autograd import Tensor, no_grad
from ..errors import DtypeError, GradcheckError

if TYPE_CHECKING:
    from .case import Case

Array = NDArray[Any]

SAMPLED_ELEMENTS = 8  # of inputs too large to check each element; first and last are among them
DIRECTION_NORM = 8.0  # of random directions: as long as if 64 elements moved
REFINEMENTS = (1.0, 1 / 16, 1 / 256)  # of the step h


@dataclass(frozen=True)
class GradcheckRow:
    """The largest disagreement found for one input or parameter."""

    name: str
    shape: tuple[int, ...]
    error: float  # max |analytic - numeric| / max(1, max |gradient|)
    index: tuple[int, ...]  # of the worst element
    analytic: float
    numeric: float


@dataclass(frozen=True)
class GradcheckReport:
    """What `check_gradients` found: one row per input and parameter."""

    rows: tuple[GradcheckRow, ...]
    tolerance: float

    @property
    def worst(self) -> GradcheckRow:
        return max(self.rows, key=lambda row: row.error)

    @property
    def error(self) -> float:
        """The largest error of all rows."""
        return self.worst.error

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance

    def message(self) -> str:
        """The worst element in words."""
        row = self.worst
        return (
            f"gradient of {row.name} {row.shape}: error {row.error:.2e} (tolerance "
            f"{self.tolerance:.0e}); worst element {row.index}: analytic {row.analytic:.12g}, "
            f"numeric {row.numeric:.12g}"
        )


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    parameters: Any = None,
    seed: int = 0,
    h: float = 1e-3,
    tolerance: float = 1e-7,
    elements: int = 64,
    directions: int = 4,
) -> bool:
    """True if the gradients of `fn` agree with finite differences; GradcheckError if not.

    Args:
        fn: takes `inputs` as positional arguments, returns a Tensor or a tuple of them. It must be
            deterministic. A module is checked with its parameters, on a float64 copy.
        inputs: one array or a sequence. Float arrays and tensors are copied to float64 and checked;
            integer arrays, numbers and None are passed on as they are.
        parameters: float64 tensors that `fn` uses besides its inputs, as a sequence or a dict of
            names; they are perturbed and put back.
        seed: of cotangents and directions.
        h: the largest step; scaled by max(1, |x|).
        tolerance: of max |analytic - numeric| / max(1, max |gradient|), for each input.
        elements: inputs up to this size are checked element by element; of larger ones the first,
            the last and some random elements, and random directions.
        directions: how many of those.

    The error names the input, its worst element, and the analytic and numeric value there. Values
    that are not finite, and functions that are not deterministic, are GradcheckErrors too.
    """
    report = check_gradients(
        fn, inputs, parameters=parameters, seed=seed, h=h, tolerance=tolerance,
        elements=elements, directions=directions,
    )  # fmt: skip
    if not report.passed:
        raise GradcheckError(f"gradcheck: {report.message()}")
    return True


def check_gradients(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    parameters: Any = None,
    seed: int = 0,
    h: float = 1e-3,
    tolerance: float = 1e-7,
    elements: int = 64,
    directions: int = 4,
) -> GradcheckReport:
    """The same check as a report. Raises GradcheckError only where there is nothing to compare."""
    if hasattr(fn, "named_parameters"):
        module: Any = copy.deepcopy(fn)
        fn = module.astype(np.float64)
        parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    arguments = [_argument(x) for x in _sequence(inputs)]
    leaves = {
        f"input {i}": x
        for i, x in enumerate(arguments)
        if isinstance(x, Tensor) and x.requires_grad
    }
    leaves.update(_named_parameters(parameters))
    if not leaves:
        raise GradcheckError("gradcheck: there is no float input and no parameter to check")
    generator = np.random.default_rng(seed)
    probe = _Probe(fn, arguments, leaves, generator)
    effort = elements, directions
    rows = [_check_leaf(probe, name, h, tolerance, effort, generator) for name in leaves]
    return GradcheckReport(tuple(rows), tolerance)


@dataclass(frozen=True)
class CaseRow:
    """Gradients of one case of the table over many random shapes: a row of `pydiff gradcheck`."""

    name: str
    shapes: int
    seconds: float
    report: GradcheckReport  # of the worst shape

    @property
    def error(self) -> float:
        return self.report.error

    @property
    def passed(self) -> bool:
        return self.report.passed


def run_case(case: Case, shapes: int = 100, *, seed: int = 0, tolerance: float = 1e-7) -> CaseRow:
    """Check the gradients of a case of `pydiff.testing.CASES` for `shapes` random arguments."""
    start = time.perf_counter()
    reports = []
    for i in range(shapes):
        fn, inputs = case.inputs(np.random.default_rng((seed, i)))
        if inputs:
            reports.append(check_gradients(fn, inputs, seed=i, tolerance=tolerance))
    if not reports:
        raise GradcheckError(f"gradcheck: case {case.name} names no argument with a gradient")
    worst = max(reports, key=lambda report: report.error)
    return CaseRow(case.name, len(reports), time.perf_counter() - start, worst)


class _Probe:
    """A function of its leaves, reduced to the scalar phi = sum of cotangent times output."""

    def __init__(
        self,
        fn: Callable[..., Any],
        arguments: Sequence[Any],
        leaves: dict[str, Tensor],
        generator: np.random.Generator,
    ) -> None:
        self.fn, self.arguments, self.leaves = fn, arguments, leaves
        before = {name: leaf.grad for name, leaf in leaves.items()}
        for leaf in leaves.values():
            leaf.grad = None
        outputs = self._call()
        self.cotangents = [generator.standard_normal(y.shape) for y in outputs]
        self._check_outputs(outputs)
        _backward(outputs, self.cotangents)
        self.gradients = {name: _gradient(name, leaf) for name, leaf in leaves.items()}
        for name, leaf in leaves.items():
            leaf.grad = before[name]

    def slope(self, name: str, step: Array, h: float) -> float:
        """d phi(x + e step) / de at e = 0, where x is the leaf `name`."""
        leaf = self.leaves[name]
        x = leaf.data
        try:
            y = {k: self._outputs_at(leaf, x + k * h * step) for k in (1, -1, 2, -2)}
        finally:
            leaf.data = x
        # Differences first: what does not depend on the leaf cancels without rounding.
        total = 0.0
        for i, v in enumerate(self.cotangents):
            total += float(np.sum(v * (8 * (y[1][i] - y[-1][i]) - (y[2][i] - y[-2][i]))))
        if not np.isfinite(total):
            raise GradcheckError(
                f"gradcheck: the function gives NaN or infinity within {2 * h:g} of {name}; move "
                "the input away from the edge of its domain, or take a smaller h"
            )
        return total / (12 * h)

    def _outputs_at(self, leaf: Tensor, x: Array) -> list[Array]:
        leaf.data = x
        with no_grad():
            return [y.data for y in self._call()]

    def _call(self) -> list[Tensor]:
        outputs = self.fn(*self.arguments)
        found = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        for y in found:
            if not isinstance(y, Tensor) or y.dtype != np.float64:
                what = f"a {y.dtype} Tensor" if isinstance(y, Tensor) else f"a {type(y).__name__}"
                raise DtypeError(f"gradcheck: the function returned {what}; float64 is needed")
        return found

    def _check_outputs(self, outputs: list[Tensor]) -> None:
        if not any(y.requires_grad for y in outputs):
            raise GradcheckError("gradcheck: the output does not depend on any recorded op")
        for i, y in enumerate(outputs):
            if not np.isfinite(y.data).all():
                raise GradcheckError(f"gradcheck: output {i} contains NaN or infinity")
        with no_grad():
            again = self._call()
        for i, (y, z) in enumerate(zip(outputs, again, strict=True)):
            if not np.array_equal(y.data, z.data):
                raise GradcheckError(
                    f"gradcheck: the function is not deterministic, output {i} differs from call "
                    "to call; fix its seeds"
                )


def _check_leaf(
    probe: _Probe,
    name: str,
    h: float,
    tolerance: float,
    effort: tuple[int, int],
    generator: np.random.Generator,
) -> GradcheckRow:
    """The worst of all elements, or of some elements and random directions of a large leaf."""
    elements, directions = effort
    gradient = probe.gradients[name]
    size = np.maximum(1.0, np.abs(probe.leaves[name].data))
    scale = max(1.0, float(np.abs(gradient).max(initial=0.0)))

    def compare(step: Array) -> tuple[float, float, float]:
        """(error, analytic, numeric) along `step`."""
        analytic = float(np.sum(gradient * step))
        best = (np.inf, analytic, np.nan)
        for refinement in REFINEMENTS:
            numeric = probe.slope(name, step, h * refinement)
            best = min(best, (abs(analytic - numeric) / scale, analytic, numeric))
            if best[0] <= tolerance:
                break
        return best

    worst = GradcheckRow(name, gradient.shape, 0.0, (), 0.0, 0.0)
    steps = [_element(size, i) for i in _sampled(gradient.size, elements, generator)]
    if gradient.size > elements:
        length = DIRECTION_NORM / np.sqrt(gradient.size)
        signs = generator.choice([-length, length], (directions, *gradient.shape))
        steps += [size * sign for sign in signs]
    for step in steps:
        error, *_ = compare(step)
        if error > worst.error:
            i = _localised(step, compare) if error > tolerance else int(np.flatnonzero(step)[0])
            _, analytic, numeric = compare(_element(size, i))
            index = tuple(map(int, np.unravel_index(i, size.shape)))
            values = analytic / float(size.flat[i]), numeric / float(size.flat[i])
            worst = GradcheckRow(name, gradient.shape, error, index, *values)
    return worst


def _sampled(n: int, elements: int, generator: np.random.Generator) -> list[int]:
    """Flat indices to check one by one."""
    if n <= elements:
        return list(range(n))
    between = generator.integers(0, n, max(0, min(elements, SAMPLED_ELEMENTS) - 2))
    return sorted({0, n - 1, *map(int, between)})


def _element(size: Array, i: int) -> Array:
    """The step that moves element i alone, by its size."""
    step = np.zeros_like(size)
    step.flat[i] = size.flat[i]
    return step


def _localised(step: Array, compare: Callable[[Array], tuple[float, ...]]) -> int:
    """The flat index of the element behind a disagreement along `step`, found by halving it."""
    support = np.flatnonzero(step)
    while len(support) > 1:
        halves = np.array_split(support, 2)
        errors = []
        for half in halves:
            part = np.zeros_like(step)
            part.flat[half] = step.flat[half]
            errors.append(compare(part)[0])
        support = halves[int(errors[1] > errors[0])]
    return int(support[0])


def _backward(outputs: list[Tensor], cotangents: list[Array]) -> None:
    if len(outputs) == 1:
        outputs[0].backward(cotangents[0])
        return
    phi = Tensor(np.zeros(()))
    for y, v in zip(outputs, cotangents, strict=True):
        phi = phi + ops.sum(y * v)
    phi.backward()


def _gradient(name: str, leaf: Tensor) -> Array:
    gradient = np.zeros_like(leaf.data) if leaf.grad is None else leaf.grad
    if not np.isfinite(gradient).all():
        raise GradcheckError(f"gradcheck: the gradient of {name} contains NaN or infinity")
    return gradient


def _argument(x: Any) -> Any:
    """A float64 leaf for a float array; anything else as it is."""
    data = x.data if isinstance(x, Tensor) else x
    if isinstance(data, np.ndarray) and data.dtype.kind == "f":
        return Tensor(data.astype(np.float64, order="C"), requires_grad=True)
    return x


def _sequence(inputs: Any) -> Sequence[Any]:
    return inputs if isinstance(inputs, (tuple, list)) else (inputs,)


def _named_parameters(
    parameters: Mapping[str, Tensor] | Iterable[Tensor] | None,
) -> dict[str, Tensor]:
    if parameters is None:
        return {}
    pairs = parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters)
    named = {f"parameter {name}": p for name, p in pairs}
    for name, p in named.items():
        if p.dtype != np.float64 or not p.requires_grad:
            raise DtypeError(
                f"gradcheck: {name} is {p.dtype} with requires_grad={p.requires_grad}; float64 and "
                "True are needed (convert a module with .astype('float64'))"
            )
    return named
