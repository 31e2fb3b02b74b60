"""Figures by matplotlib, which is optional and asked for only here."""

from __future__ import annotations

from typing import Any


def plotting_available() -> bool:
    """True if matplotlib can be imported."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def new_figure(width: float, height: float, dpi: int = 120) -> Any:
    """An empty figure of that size in inches, for `add_subplot` and `savefig`; no display is used.

    Raises ImportError without matplotlib, with the command that brings it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'pydiff[plot]'") from None
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
