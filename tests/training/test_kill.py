"""SIGKILL at any moment loses at most the step that was running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import training_runs

from pydiff.training.checkpoint import list_checkpoints


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_again_and_again_it_ends_at_the_same_bits(tmp_path):
    straight = training_runs.make_trainer()
    straight.train()
    delays = np.random.default_rng(3).uniform(0.0, 0.05, size=4)
    for delay in delays:
        child = start(tmp_path)
        wait_for_progress(tmp_path, child)
        time.sleep(delay)
        child.kill()
        child.communicate()
    child = start(tmp_path)
    output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    assert output.strip() == training_runs.fingerprint(straight)


def start(folder: Path) -> subprocess.Popen[str]:
    paths = [str(Path(training_runs.__file__).parent), *sys.path]
    return subprocess.Popen(
        [sys.executable, training_runs.__file__, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_progress(folder: Path, child: subprocess.Popen[str]) -> None:
    """Until the child has written one more checkpoint, or has finished."""
    before = list_checkpoints(folder / "checkpoints")[:1]
    deadline = time.monotonic() + 60
    while list_checkpoints(folder / "checkpoints")[:1] == before and child.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint within a minute"
        time.sleep(0.005)
