"""backward(only=leaf): the same gradient for that leaf, none for any other."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import Tensor, ops
from pydiff.errors import AutogradError


def network(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    hidden = ops.silu(ops.linear(x, w, b))
    return hidden * hidden + ops.silu(b)


def leaves() -> list[Tensor]:
    generator = np.random.default_rng(0)
    shapes = [(4, 3), (3, 5), (5,)]
    return [Tensor(generator.standard_normal(s), requires_grad=True) for s in shapes]


def test_one_leaf_gets_what_it_gets_among_all() -> None:
    weight = np.random.default_rng(1).standard_normal((4, 5))
    everything = leaves()
    network(*everything).backward(weight)
    for i in range(3):
        alone = leaves()
        network(*alone).backward(weight, only=alone[i])
        for j, leaf in enumerate(alone):
            if i == j:
                np.testing.assert_array_equal(leaf.grad, everything[i].grad)
            else:
                assert leaf.grad is None


def test_the_leaf_itself_and_a_stranger() -> None:
    x, w, b = leaves()
    x.backward(np.ones((4, 3)), only=x)
    np.testing.assert_array_equal(x.grad, np.ones((4, 3)))
    with pytest.raises(AutogradError, match="does not depend"):
        network(x, w, b).backward(np.ones((4, 5)), only=Tensor(1.0, requires_grad=True))
