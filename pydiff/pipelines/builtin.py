"""Models that come with the package."""

from __future__ import annotations

from pathlib import Path

from .pipeline import Pipeline


def digits() -> Pipeline:
    """A class-conditional model of 8 x 8 handwritten digits; class_labels 0 to 9.

    Trained on `data.digits("train")`; `digits/README.md` beside this file says how, and how good
    it is.
    """
    return Pipeline.from_pretrained(Path(__file__).with_name("digits"))
