"""The built-in digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import pydiff.data
from pydiff.data import digits
from pydiff.errors import ConfigError

DIGEST = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_splits() -> None:
    (train, a), (test, b), (every, c) = (digits(split) for split in ("train", "test", "all"))
    assert train.shape == (1500, 8, 8, 1) and test.shape == (297, 8, 8, 1)
    np.testing.assert_array_equal(np.concatenate([train, test]), every)
    np.testing.assert_array_equal(np.concatenate([a, b]), c)
    assert train.dtype == np.float32 and a.dtype == np.int64
    assert every.min() == -1.0 and every.max() == 1.0
    assert np.bincount(a).min() > 140 and np.bincount(b).min() > 20
    with pytest.raises(ConfigError, match="train, test, all"):
        digits("valid")


def test_content_is_that_of_the_source() -> None:
    images, labels = digits("all")
    ink = ((images + 1) * 8).astype(np.uint8)
    assert hashlib.sha256(ink.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest() == DIGEST
    first = [0, 0, 5, 13, 9, 1, 0, 0]
    assert labels[0] == 0 and ink[0, 0, :, 0].tolist() == first


def test_the_file_is_small_and_its_licence_is_beside_it() -> None:
    folder = Path(pydiff.data.__file__).parent
    assert (folder / "digits.npz").stat().st_size < 60_000
    assert "CC BY 4.0" in (folder / "DATA_LICENSE").read_text()


def test_equal_to_scikit_learn() -> None:
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    images, labels = digits("all")
    np.testing.assert_array_equal((images[..., 0] + 1) * 8, load_digits().images)
    np.testing.assert_array_equal(labels, load_digits().target)
