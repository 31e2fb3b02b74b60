"""Three continuous schedules in a few lines: flow, variance exploding, EDM-like."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydiff.diffusion import NoiseSchedule


class Flow(NoiseSchedule):
    """alpha = 1 - t, sigma = t (Lipman et al. 2023)."""

    t_clean, t_first, t_last = 0.0, 1e-3, 1.0

    def alpha(self, t: Any) -> Any:
        return 1.0 - t

    def sigma(self, t: Any) -> Any:
        return t * 1.0

    def log_snr(self, t: Any) -> Any:
        with np.errstate(divide="ignore"):
            value = 2.0 * (np.log(1.0 - np.asarray(t, float)) - np.log(np.asarray(t, float)))
        return value if value.ndim else float(value)

    def time(self, log_snr: Any) -> Any:
        return 1.0 / (1.0 + np.exp(0.5 * log_snr))


class Exploding(NoiseSchedule):
    """alpha = 1; sigma is the time."""

    t_clean, t_first, t_last, prior_std = 0.0, 0.002, 80.0, 80.0

    def alpha(self, t: Any) -> Any:
        return np.ones_like(t, float) if np.ndim(t) else 1.0

    def sigma(self, t: Any) -> Any:
        return t * 1.0

    def log_snr(self, t: Any) -> Any:
        value = -2.0 * np.log(np.asarray(t, float))
        return value if value.ndim else float(value)

    def time(self, log_snr: Any) -> Any:
        return np.exp(-0.5 * log_snr)
