"""DDPM and DDIM against states that diffusers' schedulers gave (tests/golden); needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sampler_cases import CASES, KEPT, Case, assert_same, run

GOLDEN = Path(__file__).parents[1] / "golden" / "samplers.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as stored:
        return dict(zip(stored["names"].tolist(), stored["states"], strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_states(golden: dict[str, np.ndarray], case: Case) -> None:
    states = run(case.sampler, case.prediction, case.clip, spacing=case.spacing)
    assert_same([states[i][:1] for i in KEPT], list(golden[case.name]))
