"""Data sets: images (N, H, W, C) float32 in [-1, 1]; `toy` has points of the plane, (N, 2)."""

from . import toy
from .image_folder import ImageFolder, folder
from .numpy_files import arrays, load_array
from .transforms import center_crop, denormalise, normalise, random_flip, resize
from .uci_digits import digits

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
    "toy",
]
