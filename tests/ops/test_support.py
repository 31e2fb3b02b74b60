"""Undoing broadcasting, for every pair of shapes that broadcast."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from pydiff.ops.support import unbroadcast


@given(mutually_broadcastable_shapes(num_shapes=2, max_side=4, max_dims=4))
def test_unbroadcast_is_the_adjoint_of_broadcasting(shapes) -> None:
    """<broadcast x, g> = <x, unbroadcast g>, in integers, so exactly."""
    shape, result = shapes.input_shapes[0], shapes.result_shape
    x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    g = np.arange(3.0, 3 + np.prod(result)).reshape(result)
    back = unbroadcast(g, shape)
    assert back.shape == shape
    assert np.sum(np.broadcast_to(x, result) * g) == np.sum(x * back)


def test_an_unwanted_gradient_stays_none() -> None:
    assert unbroadcast(np.ones((2, 3)), None) is None
