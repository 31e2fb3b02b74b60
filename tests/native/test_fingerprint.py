"""fingerprint: every element of a small array, a fixed sample of a large one, any strides."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff._native import fingerprint


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2000,), (2, 25, 40)])
def test_every_element_of_a_small_array_counts(shape: tuple[int, ...], dtype: type):
    x = np.linspace(1, 2, int(np.prod(shape)), dtype=dtype).reshape(shape)
    for view in (x, x.T, x[..., ::-1] if x.ndim else x):
        before = fingerprint(view, 0)
        for index in np.ndindex(view.shape):
            kept = view[index]
            view[index] = np.nextafter(kept, np.inf, dtype=dtype)
            assert fingerprint(view, 0) != before
            view[index] = kept
        assert fingerprint(view, 0) == before


def test_a_change_of_all_elements_of_a_large_array_is_seen():
    x = np.linspace(1, 2, 1_000_003)
    for view in (x, x[::-3]):
        before = fingerprint(view, 0)
        view += 1e-9
        assert fingerprint(view, 0) != before


def test_the_sample_of_a_large_array_reaches_both_ends():
    x = np.zeros((512, 512), np.float32)
    before = fingerprint(x, 0)
    for index in ((0, 0), (511, 511 - (512 * 512 - 1) % 127)):
        x[index] = 1
        assert fingerprint(x, 0) != before
        x[index] = 0


def test_empty_arrays_and_other_types():
    assert fingerprint(np.zeros((0, 3)), 0) == fingerprint(np.zeros((0, 3)), 0)
    assert fingerprint(np.arange(4), 0) != fingerprint(np.arange(1, 5), 0)


@pytest.mark.parametrize("arguments", [(), ([1.0], 0), (np.ones(3),), (np.ones(3), 0, 0)])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(TypeError, match="an ndarray and a version are needed"):
        fingerprint(*arguments)


@pytest.mark.parametrize(("version", "error"), [("1", TypeError), (-1, OverflowError)])
def test_a_wrong_version_is_an_error(version, error):
    with pytest.raises(error):
        fingerprint(np.ones(3), version)
