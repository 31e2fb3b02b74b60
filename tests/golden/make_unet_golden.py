"""Writes unet.npz: what diffusers' UNet2DModel gives in float64 on tests/nn/unet_cases.

Run where torch and diffusers are installed: python tests/golden/make_unet_golden.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "nn"))


def main() -> None:
    import diffusers
    import torch
    from unet_cases import CASES, fingerprint
    from unet_peer import run_peer

    rows = [fingerprint(run_peer(case, torch.float64)) for case in CASES.values()]
    np.savez_compressed(
        FOLDER / "unet.npz",
        versions=np.array(f"torch {torch.__version__}, diffusers {diffusers.__version__}"),
        names=np.array(list(CASES)),
        ends=np.cumsum([len(row) for row in rows]),
        values=np.concatenate(rows).astype(np.float32),
    )
    print(f"{FOLDER / 'unet.npz'}: {(FOLDER / 'unet.npz').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
