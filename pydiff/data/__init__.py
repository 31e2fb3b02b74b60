"""Data sets: (N, H, W, C) float32 in [-1, 1]."""

from .arrays import arrays, load_array
from .digits import digits
from .folder import ImageFolder, folder
from .transforms import center_crop, denormalise, normalise, random_flip, resize

__all__ = [
    "ImageFolder",
    "arrays",
    "center_crop",
    "denormalise",
    "digits",
    "folder",
    "load_array",
    "normalise",
    "random_flip",
    "resize",
]
