"""The example runs, and both callables draw the same points."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "any_callable.py"


@pytest.mark.peers
def test_a_function_and_an_onnx_session_draw_the_same() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    first, second = runpy.run_path(str(EXAMPLE))["main"]().values()
    assert first.dtype == np.float32 and first.shape == (1000, 2)
    np.testing.assert_allclose(first, second, atol=1e-4)
    np.testing.assert_allclose(first.mean(axis=0), [1.0, -2.0], atol=0.06)
    np.testing.assert_allclose(first.std(axis=0), 0.5, atol=0.05)
