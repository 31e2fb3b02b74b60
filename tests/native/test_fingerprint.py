"""fingerprint: every element of a small array, a fixed sample of a large one, any strides."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import _native


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2000,), (2, 25, 40)])
def test_every_element_of_a_small_array_counts(shape: tuple[int, ...], dtype: type):
    x = np.linspace(1, 2, int(np.prod(shape)), dtype=dtype).reshape(shape)
    for view in (x, x.T, x[..., ::-1] if x.ndim else x):
        before = _native.fingerprint(view)
        for index in np.ndindex(view.shape):
            kept = view[index]
            view[index] = np.nextafter(kept, np.inf, dtype=dtype)
            assert _native.fingerprint(view) != before
            view[index] = kept
        assert _native.fingerprint(view) == before


def test_a_change_of_all_elements_of_a_large_array_is_seen():
    x = np.linspace(1, 2, 1_000_003)
    for view in (x, x[::-3]):
        before = _native.fingerprint(view)
        view += 1e-9
        assert _native.fingerprint(view) != before


def test_the_sample_of_a_large_array_reaches_both_ends():
    x = np.zeros((512, 512), np.float32)
    before = _native.fingerprint(x)
    for index in ((0, 0), (511, 511 - (512 * 512 - 1) % 511)):
        x[index] = 1
        assert _native.fingerprint(x) != before
        x[index] = 0


def test_empty_arrays_and_other_types():
    assert _native.fingerprint(np.zeros((0, 3))) == _native.fingerprint(np.zeros((0, 3)))
    assert _native.fingerprint(np.arange(4)) != _native.fingerprint(np.arange(1, 5))
    with pytest.raises(TypeError):
        _native.fingerprint([1.0])
