"""The tape without Cython: the same file, interpreted, passes the same tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pydiff.autograd import tape

SCRIPT = """
import importlib.util, sys, pytest

class Interpreted:
    def find_spec(self, name, path=None, target=None):
        if name == "pydiff.autograd.tape":
            return importlib.util.spec_from_file_location(name, sys.argv[1])

sys.meta_path.insert(0, Interpreted())
from pydiff.autograd import tape
assert tape.__file__.endswith("tape.py")
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


@pytest.mark.skipif(tape.__file__.endswith(".py"), reason="the tape is not compiled anyway")
def test_tape_runs_uncompiled() -> None:
    here = Path(__file__).parent
    source = Path(tape.__file__).with_name("tape.py")
    tests = [str(here / "test_tape.py"), str(here / "test_tensor.py")]
    command = [sys.executable, "-c", SCRIPT, str(source), *tests]
    result = subprocess.run(command, capture_output=True, text=True, cwd=here.parent.parent)
    assert result.returncode == 0, result.stdout + result.stderr
