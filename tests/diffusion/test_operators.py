"""Observation operators: exact transposes, solvers and pseudo-inverses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff.diffusion.operators import (
    AveragePool,
    Blur,
    ChannelMean,
    Mask,
    Matrix,
    conjugate_gradients,
)
from pydiff.errors import ConfigError, NonFiniteError, ShapeError

RNG = np.random.default_rng(0)
SHAPE = (6, 8, 3)
KERNEL = RNG.uniform(0.0, 1.0, (3, 5)) + 2.0 * np.eye(3, 5, 1)
OPERATORS: dict[str, Any] = {
    "mask": Mask(RNG.random(SHAPE) < 0.4),
    "mask of pixels": Mask(RNG.random((6, 8, 1)) < 0.4),
    "pool": AveragePool(2),
    "grey": ChannelMean(),
    "luma": ChannelMean([0.299, 0.587, 0.114]),
    "circular": Blur(KERNEL / KERNEL.sum()),
    "zero": Blur(KERNEL / KERNEL.sum(), "zero"),
    "matrix": Matrix(RNG.standard_normal((10, 144)), SHAPE),
    "deficient": Matrix(np.ones((3, 1)) * RNG.standard_normal(144), SHAPE),
}


@pytest.fixture(params=OPERATORS)
def operator(request: Any) -> Any:
    return OPERATORS[request.param]


def test_the_transpose_is_exact(operator: Any) -> None:
    """<A x, y> = <x, A^T y>, and the matrix says the same."""
    x = RNG.standard_normal((2, *SHAPE))
    seen = operator.apply(x)
    y = RNG.standard_normal(seen.shape)
    back = operator.transpose(y)
    assert back.shape == x.shape
    assert (seen * y).sum() == pytest.approx((x * back).sum(), rel=1e-12)
    a = operator.matrix(SHAPE)
    np.testing.assert_allclose(seen.reshape(2, -1), x.reshape(2, -1) @ a.T, atol=1e-12)
    np.testing.assert_allclose(back.reshape(2, -1), y.reshape(2, -1) @ a, atol=1e-12)


def test_solve_against_a_dense_solver(operator: Any) -> None:
    x = RNG.standard_normal((2, *SHAPE))
    y, a = operator.apply(x), operator.matrix(SHAPE)
    flat = y.reshape(2, -1)
    dense = np.linalg.solve(0.7 * a @ a.T + 0.2 * np.eye(len(a)), flat.T).T
    ours = operator.solve(y, 0.7, 0.2)
    np.testing.assert_allclose(ours.reshape(2, -1), dense, atol=1e-7)


def test_pseudo_inverse_and_impose(operator: Any) -> None:
    """A^+ A x is the projection of x on what A sees; impose moves x no further than needed."""
    x, other = RNG.standard_normal((2, 2, *SHAPE))
    y, a = operator.apply(x), operator.matrix(SHAPE)
    onto = np.linalg.pinv(a, rcond=1e-10) @ a
    expected = x.reshape(2, -1) @ onto.T
    np.testing.assert_allclose(
        operator.pseudo_inverse(y).reshape(2, -1), expected, atol=1e-5, rtol=1e-5
    )
    imposed = operator.impose(other, y)
    np.testing.assert_allclose(operator.apply(imposed), y, atol=1e-6)
    moved = (imposed - other).reshape(2, -1)
    np.testing.assert_allclose(moved @ onto.T, moved, atol=1e-5)


def test_float32_stays(operator: Any) -> None:
    x = RNG.standard_normal((2, *SHAPE)).astype(np.float32)
    y = operator.apply(x)
    arrays = [y, operator.transpose(y), operator.solve(y, 1.0, 0.1), operator.impose(x, y)]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_known_elements_are_taken_bit_for_bit() -> None:
    mask = OPERATORS["mask"]
    y = RNG.standard_normal((1, *SHAPE)).astype(np.float32)
    missing = np.where(mask.mask, y, np.nan)
    x = mask.impose(np.zeros((2, *SHAPE), np.float32), mask.observed(missing))
    for image in x:
        np.testing.assert_array_equal(image[mask.mask], y[0][mask.mask])
        assert not image[~mask.mask].any()


def test_a_blur_is_a_correlation_and_pooling_a_mean() -> None:
    x = RNG.standard_normal((1, *SHAPE))
    blurred = Blur(KERNEL, "zero").apply(x)
    patch = x[0, 1:4, 2:7, 1]
    assert blurred[0, 2, 4, 1] == pytest.approx((patch * KERNEL).sum())
    assert AveragePool(2).apply(x)[0, 1, 2, 0] == pytest.approx(x[0, 2:4, 4:6, 0].mean())
    rolled = Blur(KERNEL).apply(np.roll(x, (2, 3), (1, 2)))
    np.testing.assert_allclose(rolled, np.roll(Blur(KERNEL).apply(x), (2, 3), (1, 2)), atol=1e-12)


def test_lost_frequencies_are_left_alone() -> None:
    """A box of width 2 in a period of 8 loses one frequency: the pseudo-inverse gives it 0."""
    blur = Blur(np.array([[0.5, 0.5, 0.0]]))
    lost = np.tile(np.array([1.0, -1.0] * 4), (1, 6, 1))[..., None]
    x = RNG.standard_normal((1, 6, 8, 1))
    back = blur.pseudo_inverse(blur.apply(x + 5.0 * lost))
    np.testing.assert_allclose(back, x - (x * lost).mean(2, keepdims=True) * lost, atol=1e-9)


def test_conjugate_gradients_treat_images_apart() -> None:
    """In M iterations exact; an image that is done, or indefinite, does not disturb the others."""
    root = RNG.standard_normal((3, 5, 5))
    matrices = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(5)
    matrices[2] *= -1.0
    y = RNG.standard_normal((3, 5))
    y[1] = 0.0
    v = conjugate_gradients(lambda v: np.einsum("nij,nj->ni", matrices, v), y, 8, 1e-12)
    np.testing.assert_allclose(v[0], np.linalg.solve(matrices[0], y[0]), rtol=1e-6)
    assert not v[1:].any()


def test_bad_input() -> None:
    x = np.zeros((1, *SHAPE))
    for match, build in {
        "bool": lambda: Mask(np.ones(3)),
        "factor": lambda: AveragePool(0),
        "weights": lambda: ChannelMean([0.0, 0.0]),
        "kernel": lambda: Blur(np.ones((2, 3))),
        "boundary": lambda: Blur(np.ones((3, 3)), "reflect"),
        "finite matrix": lambda: Matrix(np.ones(3)),
    }.items():
        with pytest.raises(ConfigError, match=match):
            build()
    for build in (
        lambda: Mask(np.ones((5, 8, 1), bool)).apply(x),
        lambda: AveragePool(4).apply(x),
        lambda: ChannelMean(4).apply(x),
        lambda: Blur(np.ones((7, 7))).apply(x),
        lambda: Matrix(np.ones((2, 3))).apply(x),
        lambda: Matrix(np.ones((2, 3)), (4,)),
    ):
        with pytest.raises(ShapeError):
            build()
    with pytest.raises(NonFiniteError):
        AveragePool(2).observed(np.full((1, 3, 4, 3), np.nan))
