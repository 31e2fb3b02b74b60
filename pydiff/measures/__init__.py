"""Distances between sets of samples: how far what was drawn is from what was meant.

Sets are arrays (N, ...), flattened to N points; arithmetic is float64, memory is bounded, and what
is random (directions of projection) is keyed by a seed.
"""

from .frechet import frechet_distance, frechet_of_moments
from .kernels import energy_distance, mmd
from .manifold import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from .modes import Modes, modes
from .neighbours import NearestTraining, nearest_training
from .wasserstein import sliced_energy, sliced_wasserstein, wasserstein_1d

__all__ = [
    "DensityCoverage",
    "Modes",
    "NearestTraining",
    "PrecisionRecall",
    "density_coverage",
    "energy_distance",
    "frechet_distance",
    "frechet_of_moments",
    "mmd",
    "modes",
    "nearest_training",
    "precision_recall",
    "sliced_energy",
    "sliced_wasserstein",
    "wasserstein_1d",
]
