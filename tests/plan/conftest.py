"""Makes the U-Net cases of tests/nn importable, and holds the networks that tests compile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pydiff import nn

pytest.importorskip("pydiff._native", reason="the native module is not built")
sys.path.insert(0, str(Path(__file__).parents[1] / "nn"))

from unet_cases import SMALL, Case, random_weights


def network(case: Case, dtype: Any = np.float32) -> nn.UNet2D:
    """The U-Net of a case with weights from a seed, in evaluation mode."""
    model = nn.UNet2D(seed=None, **case.config).astype(dtype).eval()
    model.load_state_dict(random_weights({k: v.shape for k, v in model.state_dict().items()}))
    return model


@pytest.fixture
def small() -> nn.UNet2D:
    """A small network that a test may change."""
    return network(Case(SMALL))


@pytest.fixture(scope="session")
def labelled() -> nn.UNet2D:
    """A small network of four classes."""
    return network(Case(SMALL | {"num_class_embeds": 4}))


@pytest.fixture(scope="session")
def build() -> Any:
    """`network`, for tests that build their own."""
    return network
