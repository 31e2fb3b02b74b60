"""The progress bar of a training run."""

from __future__ import annotations

from typing import Any


class Progress:
    """A tqdm bar with loss, speed and time left; a context manager.

    wanted: None shows it where stderr is a terminal, True always, False never.
    """

    def __init__(self, total: int, done: int, wanted: bool | None) -> None:
        from tqdm import tqdm

        disable = None if wanted is None else not wanted
        self._bar = tqdm(total=total, initial=done, unit="step", desc="train", disable=disable)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.close()

    def advance(self, loss: float) -> None:
        """One more step, which had this loss."""
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update()
