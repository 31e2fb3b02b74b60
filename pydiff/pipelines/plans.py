"""The compiled plans of a model, one for each batch size in use."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np

from .. import backend, config
from ..errors import PlanError
from ..nn import UNet2D
from ..plan import Plan, compile
from ..plan.parameters import Parameters

_KEPT = 4  # batch sizes


class ModelPlans:
    """Plans by batch size, compiled on first use and again when the weights have changed.

    Threads may share one: who comes second waits for the plan that the first one compiles.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self._parameters = Parameters(())

    def get(self, model: UNet2D, shape: tuple[int, ...]) -> UNet2D | Plan:
        """A plan of `model` for images of `shape` (N, H, W, C); `model` where plans cannot run."""
        if backend.name() != "cpu":
            return model
        with self._lock:
            if not self._parameters.are_those_of(model):
                self._plans.clear()
                self._parameters = Parameters.of(model)
            key = (shape, config.conv_algorithm())
            if key not in self._plans:
                try:
                    self._plans[key] = self._compiled(model, *key)
                except PlanError as error:
                    warnings.warn(f"pydiff: sampling without a plan: {error}", stacklevel=4)
                    return model
            self._plans.move_to_end(key)
            while len(self._plans) > _KEPT:
                self._plans.popitem(last=False)
            return self._plans[key]

    def _compiled(self, model: UNet2D, shape: tuple[int, ...], algorithm: str) -> Plan:
        for (known, other), plan in self._plans.items():
            if known[1:] == shape[1:] and other == algorithm:
                return plan.for_batch(shape[0])  # shares the weights
        inputs: dict[str, Any] = {}
        if model.config["num_class_embeds"] is not None:
            inputs["class_labels"] = np.zeros(shape[0], np.int64)
        return compile(model, np.zeros(shape, model.dtype), 1, **inputs)
