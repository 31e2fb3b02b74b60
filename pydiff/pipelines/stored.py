"""A network whose weights stay in their file until somebody asks for the network itself."""

from __future__ import annotations

import mmap
import os
import threading

import numpy as np

from ..io.weights import WeightsFile
from ..nn import UNet2D


class StoredModel:
    """A U-Net as its folder describes it. A compiled plan reads one weight at a time from the file
    and packs it: there is one copy of the weights in memory, not two.

    The file stays open, so it may be replaced or deleted meanwhile.
    Raises ConfigError and CheckpointError like `UNet2D.from_pretrained`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.network, path = UNet2D.described(folder)
        self._file = WeightsFile(path)
        self._sources = self.network.matched_weights(self._file)
        self._parameters = list(self.network.named_parameters())
        self._lock = threading.Lock()
        self._place_nowhere()

    def _place_nowhere(self) -> None:
        """Arrays of the right shapes that overlap: only where each begins is its own."""
        parameters = [parameter for _, parameter in self._parameters]
        largest = max(parameter.size for parameter in parameters)
        memory = np.zeros(largest + len(parameters), np.float32)
        for i, parameter in enumerate(parameters):
            parameter.data = memory[i : i + parameter.size].reshape(parameter.shape)
        sizes = (info.end - info.begin for info in self._file.tensors.values())
        # Of the array being read: pages of its own, which go back to the system in `rest`.
        self._size = max(sizes, default=1)
        self._memory: np.ndarray | None = None

    def read(self, index: int) -> np.ndarray:
        """Parameter number `index`, in the layout that the network holds it in."""
        name, parameter = self._parameters[index]
        with self._lock:
            if self._memory is None:
                self._memory = np.frombuffer(mmap.mmap(-1, self._size), np.uint8)
            return parameter.converted(self._file.read(self._sources[name], self._memory))

    def rest(self) -> None:
        """Give back what `read` keeps from one call to the next."""
        with self._lock:
            self._memory = None

    def load(self) -> UNet2D:
        """The network with its weights."""
        for index, (_, parameter) in enumerate(self._parameters):
            parameter.data = self.read(index)
        return self.network
