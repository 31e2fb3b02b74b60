"""The command line; `main(["demo", ...])` runs a command and returns its exit code."""

from .main import main as main
