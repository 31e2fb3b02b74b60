"""The built-in data set: 1,797 handwritten digits of 8 x 8 pixels.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, doi.org/10.24432/C50P49, licence CC BY 4.0 (see DATA_LICENSE beside this file).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError

NUM_TRAIN = 1500
_SPLITS = {"train": slice(0, NUM_TRAIN), "test": slice(NUM_TRAIN, None), "all": slice(None)}


def digits(split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 8, 8, 1) float32 in [-1, 1], ink = 1, and labels (N,) int64 in 0 .. 9.

    split: "train" (the first 1,500), "test" (the last 297) or "all", in the order of the source.
    """
    if split not in _SPLITS:
        raise ConfigError(f"split = {split!r}; allowed: {', '.join(_SPLITS)}")
    file = Path(__file__).with_name("digits.npz")
    try:
        with np.load(file, allow_pickle=False) as stored:
            images, labels = stored["images"], stored["labels"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file} is damaged, install pydiff again: {error}") from error
    chosen = _SPLITS[split]
    ink = images[chosen, :, :, None].astype(np.float32)  # 0 .. 16
    return ink / 8.0 - 1.0, labels[chosen].astype(np.int64)
