"""Fingerprints: exact for small arrays, sampled for large ones, whatever the memory layout."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff.autograd import arrays

LAYOUTS = {
    "plain": lambda a: a,
    "transposed": lambda a: a.T,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[::-1],
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
}


@pytest.fixture(params=["python", "active"])
def fingerprint(request):
    """The portable function, and the one in use (the native one where it is built)."""
    chosen = arrays.portable_fingerprint if request.param == "python" else arrays.fingerprint
    return lambda array, version=0: chosen(array, version)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 1), (0, 3), (7, 9), (64, 32), (300, 400)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_arrays_have_equal_fingerprints(fingerprint, layout, shape, dtype, rng) -> None:
    a = LAYOUTS[layout](rng.standard_normal(shape).astype(dtype))
    a.flags.writeable = False
    assert fingerprint(a) == fingerprint(a)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 17, 2047, 2048])
def test_every_bit_of_a_small_array_counts(fingerprint, n, rng) -> None:
    a = rng.standard_normal(n)
    before = fingerprint(a)
    for i in {0, n // 2, n - 1}:
        for bit in (0, 31, 63):
            a.view(np.uint64)[i] ^= np.uint64(1) << np.uint64(bit)
            assert fingerprint(a) != before
            a.view(np.uint64)[i] ^= np.uint64(1) << np.uint64(bit)
    assert fingerprint(a) == before


def test_order_counts(fingerprint) -> None:
    assert fingerprint(np.array([1.0, 2.0])) != fingerprint(np.array([2.0, 1.0]))


def test_the_version_counts(fingerprint) -> None:
    for a in (np.ones(3), np.ones(100_000)):
        assert len({fingerprint(a, version) for version in range(9)}) == 9


def test_large_arrays_are_sampled_all_over(fingerprint, rng) -> None:
    a = rng.standard_normal(100_000)
    before = fingerprint(a)
    for start in range(0, len(a), 10_000):
        b = a.copy()
        b[start : start + 10_000] += 1
        assert fingerprint(b) != before


def test_an_array_is_sole_where_only_its_container_knows_it() -> None:
    box = [np.ones(3), np.ones((2, 3))[0], np.ones((3, 3))[::2], np.ones(3)]
    assert [arrays.is_sole(box, i) for i in range(4)] == [True, False, False, True]
    other = box[3]
    assert not arrays.is_sole(box, 3)
    del other
    assert arrays.is_sole((np.ones(3), None), 0)
    view = box[0][:1]
    assert not arrays.is_sole(box, 0) and view.size
    box[3].flags.writeable = False
    assert not arrays.is_sole(box, 3)
