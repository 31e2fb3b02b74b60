"""The same U-Net in diffusers and torch. Run as a script it prints the parity table."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DModel
from diffusers.utils import logging
from unet_cases import (
    CASES,
    LARGE,
    Case,
    Result,
    gradient_error,
    inputs,
    largest,
    random_weights,
    run,
)

from pydiff.nn.embeddings import sinusoids

logging.set_verbosity_error()


def build(case: Case, dtype: torch.dtype = torch.float32) -> UNet2DModel:
    """diffusers' network with the case's weights."""
    model = UNet2DModel(**case.config).to(dtype).eval()
    if case.labels == "times":  # diffusers forgets to convert these features to the model's dtype
        model.class_embedding.register_forward_pre_hook(lambda _, args: (args[0].to(dtype),))
    weights = random_weights({name: tuple(v.shape) for name, v in model.state_dict().items()})
    model.load_state_dict({name: torch.from_numpy(v) for name, v in weights.items()})
    return model


def run_peer(case: Case, dtype: torch.dtype, share_sinusoids: bool = False) -> Result:
    """Forward and backward of sum(y dy) in torch.

    diffusers computes the sinusoids of t in float32 in any model, and torch's float32 sine may
    differ from ours in the last bit: to compare the rest to 1e-9 both must take the same table.
    """
    model = build(case, dtype)
    if share_sinusoids and case.config.get("time_embedding_type", "positional") == "positional":
        model.time_proj.forward = _shared_sinusoids(model.config)
    given = inputs(case)
    labels = given["class_labels"]
    if labels is not None:
        labels = torch.from_numpy(labels)
        labels = labels.to(dtype) if labels.is_floating_point() else labels
    x = torch.from_numpy(given["x"].transpose(0, 3, 1, 2).copy()).to(dtype).requires_grad_()
    y = model(x, torch.from_numpy(given["t"]), class_labels=labels).sample
    y.backward(torch.from_numpy(given["dy"].transpose(0, 3, 1, 2).copy()).to(dtype))
    grads = {name: p.grad.numpy() for name, p in model.named_parameters() if p.requires_grad}
    return Result(
        y.detach().numpy().transpose(0, 2, 3, 1), x.grad.numpy().transpose(0, 2, 3, 1), grads
    )


def _shared_sinusoids(config: Any) -> Any:
    def forward(t: torch.Tensor) -> torch.Tensor:
        width = config.block_out_channels[0]
        table = sinusoids(t.numpy(), width, config.flip_sin_to_cos, config.freq_shift)
        return torch.from_numpy(table)

    return forward


def main() -> None:
    """Print, per configuration, the largest differences to torch in float32 and float64."""
    columns = ("y f32", "dx f32", "grads f32", "y f64", "grads f64")
    print(f"{'configuration':44} {'params':>10}", *(f"{column:>9}" for column in columns))
    for name, case in (CASES | LARGE).items():
        if sys.argv[1:] and sys.argv[1] not in name:
            continue
        single, single_peer = run(case, np.float32), run_peer(case, torch.float32)
        double = run(case, np.float64)
        double_peer = run_peer(case, torch.float64, share_sinusoids=True)
        count = sum(g.size for g in single.grads.values())
        errors = (
            largest(single.y, single_peer.y),
            largest(single.dx, single_peer.dx),
            gradient_error(single, single_peer),
            largest(double.y, double_peer.y),
            gradient_error(double, double_peer),
        )
        print(f"{name:44} {count:10,}", *(f"{error:9.1e}" for error in errors), flush=True)


if __name__ == "__main__":
    main()
