"""The U-Net equals diffusers' in outputs, gradients and files."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from unet_cases import CASES, LARGE, Case, gradient_error, inputs, largest, run

from pydiff import nn

pytestmark = pytest.mark.peers
EVERY = CASES | LARGE


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    """The helpers that import torch and diffusers; skips without them."""
    return pytest.importorskip("unet_peer")


@pytest.mark.parametrize("name", EVERY)
def test_float32_outputs_and_gradients(name: str, peer: ModuleType) -> None:
    ours, theirs = run(EVERY[name], np.float32), peer.run_peer(EVERY[name], peer.torch.float32)
    assert largest(ours.y, theirs.y) <= 1e-5
    assert largest(ours.dx, theirs.dx) <= 1e-4
    assert gradient_error(ours, theirs) <= 1e-4


@pytest.mark.parametrize("name", CASES)
def test_float64_outputs_and_gradients(name: str, peer: ModuleType) -> None:
    ours = run(CASES[name], np.float64)
    theirs = peer.run_peer(CASES[name], peer.torch.float64, share_sinusoids=True)
    assert largest(ours.y, theirs.y) <= 1e-9
    assert largest(ours.dx, theirs.dx) <= 1e-9
    assert gradient_error(ours, theirs) <= 1e-9


def predictions(case: Case, ours: nn.UNet2D, theirs: Any) -> tuple[np.ndarray, ...]:
    torch = pytest.importorskip("torch")
    given = inputs(case)
    x = given["x"].astype(np.float32)
    with torch.no_grad():
        y = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(given["t"]))
    return ours(x, given["t"]).data, y.sample.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", ["plain", "resnet resampling", "fourier"])
def test_a_folder_of_diffusers_loads_here(name: str, peer: ModuleType, tmp_path: Path) -> None:
    theirs = peer.build(CASES[name])
    theirs.save_pretrained(tmp_path / "unet")
    ours = nn.UNet2D.from_pretrained(tmp_path)
    assert not ours.training
    y, wanted = predictions(CASES[name], ours, theirs)
    assert largest(y, wanted) <= 1e-4
    for key, value in ours.state_dict().items():
        np.testing.assert_array_equal(value, theirs.state_dict()[key].numpy(), err_msg=key)


@pytest.mark.parametrize("name", ["plain", "resnet resampling", "fourier"])
def test_a_folder_written_here_loads_in_diffusers(
    name: str, peer: ModuleType, tmp_path: Path
) -> None:
    ours = nn.UNet2D(seed=3, **CASES[name].config)
    ours.save_pretrained(tmp_path)
    theirs, report = type(peer.build(CASES[name])).from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.values()), report
    y, wanted = predictions(CASES[name], ours, theirs)
    assert largest(y, wanted) <= 1e-4


def test_half_precision_files_of_diffusers(peer: ModuleType, tmp_path: Path) -> None:
    for dtype in (peer.torch.float16, peer.torch.bfloat16):
        theirs = peer.build(CASES["plain"], dtype)
        theirs.save_pretrained(tmp_path)
        ours = nn.UNet2D.from_pretrained(tmp_path)
        for key, value in ours.state_dict().items():
            assert value.dtype == np.float32
            np.testing.assert_array_equal(value, theirs.state_dict()[key].float().numpy())
