"""Makes pydiff/data/digits.npz from scikit-learn's copy of the UCI digits.

Run where scikit-learn is installed: python tools/make_digits.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

FILE = Path(__file__).parents[1] / "pydiff" / "data" / "digits.npz"


def main() -> None:
    """Write the file and print its size."""
    data = load_digits()
    images, labels = data.images.astype(np.uint8), data.target.astype(np.uint8)
    assert images.shape == (1797, 8, 8) and np.array_equal(images, data.images)
    np.savez_compressed(FILE, images=images, labels=labels)
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
