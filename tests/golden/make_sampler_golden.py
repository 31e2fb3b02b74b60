"""Writes samplers.npz: states of diffusers' schedulers on the cases of tests/samplers.

Run where torch and diffusers are installed: python tests/golden/make_sampler_golden.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "samplers"))


def main() -> None:
    import diffusers
    import torch
    from sampler_cases import CASES, KEPT
    from sampler_peer import run_peer

    arrays = {"versions": np.array(f"torch {torch.__version__}, diffusers {diffusers.__version__}")}
    states = [np.stack(run_peer(case))[KEPT, :1] for case in CASES]
    arrays |= {"names": np.array([case.name for case in CASES])}
    arrays |= {"states": np.array(states, np.float32)}
    np.savez_compressed(FOLDER / "samplers.npz", **arrays)
    print(f"{FOLDER / 'samplers.npz'}: {(FOLDER / 'samplers.npz').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
