"""Learning rates warm up, then follow their curve to the end."""

from __future__ import annotations

from typing import Any

import pytest

from pydiff.errors import ConfigError
from pydiff.nn import LearningRate


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    rate = LearningRate(0.4, warmup=4)
    assert [rate(step) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_cosine_and_linear_fall_from_peak_to_final() -> None:
    cosine = LearningRate(1.0, "cosine", steps=12, warmup=2, final=0.2)
    assert [cosine(step) for step in (2, 7, 12, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    linear = LearningRate(1.0, "linear", steps=10)
    assert [linear(step) for step in (0, 4, 10)] == pytest.approx([1.0, 0.6, 0.0])
    assert all(cosine(step) > cosine(step + 1) for step in range(2, 12))


@pytest.mark.parametrize(
    "options",
    [
        {"peak": -1.0},
        {"peak": float("inf")},
        {"peak": 1.0, "final": -0.1},
        {"peak": 1.0, "kind": "cubic"},
        {"peak": 1.0, "kind": "cosine"},
        {"peak": 1.0, "kind": "cosine", "steps": 5, "warmup": 5},
        {"peak": 1.0, "warmup": -1},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LearningRate(**options)
