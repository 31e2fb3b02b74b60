"""U-Net configurations on which pydiff must equal diffusers, with inputs and weights from seeds.

Weights and inputs come from NumPy's RandomState, whose stream is frozen for ever, so that the
golden file needs to hold outputs alone.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

import pydiff
from pydiff import nn

SMALL = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "norm_num_groups": 4,
    "attention_head_dim": None,
    "layers_per_block": 1,
}
CIFAR10 = {  # google/ddpm-cifar10-32
    "sample_size": 32,
    "block_out_channels": [128, 256, 256, 256],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": None,
    "norm_eps": 1e-6,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}
RESNET = {
    "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "block_out_channels": [8, 16, 16],
    "downsample_type": "resnet",
    "upsample_type": "resnet",
}


@dataclass(frozen=True)
class Case:
    """A configuration, the images' shape (N, H, W), and how times and labels are drawn."""

    config: dict[str, Any]
    images: tuple[int, int, int] = (2, 8, 8)
    times: tuple[float, ...] = (3, 741)
    labels: str | None = None  # "integers", "times" or "vectors"


CASES: dict[str, Case] = {
    "plain": Case(SMALL),
    "cifar10 options": Case(
        SMALL
        | {k: CIFAR10[k] for k in ("norm_eps", "downsample_padding", "freq_shift")}
        | {"flip_sin_to_cos": False}
    ),
    "classes": Case(SMALL | {"num_class_embeds": 5}, labels="integers"),
    "class times": Case(SMALL | {"class_embed_type": "timestep"}, labels="times"),
    "class vectors": Case(SMALL | {"class_embed_type": "identity"}, labels="vectors"),
    "scale_shift": Case(SMALL | {"resnet_time_scale_shift": "scale_shift"}),
    "scale_shift, normed mid attention": Case(
        SMALL | {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 8}
    ),
    "resnet resampling": Case(SMALL | RESNET),
    "resnet resampling, scale_shift, classes": Case(
        SMALL | RESNET | {"resnet_time_scale_shift": "scale_shift", "num_class_embeds": 3},
        labels="integers",
    ),
    "heads": Case(SMALL | {"attention_head_dim": 4, "block_out_channels": [8, 24]}),
    "head width that does not divide": Case(SMALL | {"attention_head_dim": 5}),
    "odd sizes": Case(SMALL, images=(3, 10, 14), times=(0, 999, 17)),
    "one level, prime sizes": Case(
        SMALL
        | {
            "block_out_channels": [8],
            "down_block_types": ["AttnDownBlock2D"],
            "up_block_types": ["AttnUpBlock2D"],
        },
        images=(2, 5, 7),
    ),
    "fourier": Case(SMALL | {"time_embedding_type": "fourier"}, times=(0.03, 71.5)),
    "fourier, integer times": Case(SMALL | {"time_embedding_type": "fourier"}),
    "learned times": Case(SMALL | {"time_embedding_type": "learned", "num_train_timesteps": 1000}),
    "time width": Case(SMALL | {"time_embedding_dim": 24, "freq_shift": 1}),
    "odd first width": Case(SMALL | {"block_out_channels": [9, 18], "norm_num_groups": 3}),
    "centred input": Case(SMALL | {"center_input_sample": True}),
    "mid scale": Case(SMALL | {"mid_block_scale_factor": 2**0.5}),
    "mid without attention": Case(SMALL | {"add_attention": False}),
    "no mid block": Case(SMALL | {"mid_block_type": None}),
    "gelu": Case(SMALL | {"act_fn": "gelu"}),
    "mish": Case(SMALL | {"act_fn": "mish"}),
    "relu": Case(SMALL | {"act_fn": "relu"}),
    "swish, channels": Case(SMALL | {"act_fn": "swish", "in_channels": 1, "out_channels": 6}),
}
LARGE: dict[str, Case] = {
    "CIFAR-10 at full size": Case(CIFAR10, images=(1, 32, 32), times=(500,)),
    "digits at full size": Case(
        SMALL
        | {
            "in_channels": 1,
            "out_channels": 1,
            "block_out_channels": [32, 64],
            "layers_per_block": 2,
        }
        | {"num_class_embeds": 10, "norm_num_groups": 8},
        labels="integers",
    ),
}


def inputs(case: Case) -> dict[str, Any]:
    """x (N, H, W, C) float64, t (N,), class_labels, and the gradient dy of the output."""
    n, height, width = case.images
    config = {"in_channels": 3, "out_channels": 3} | case.config
    random = np.random.RandomState(0)
    times = np.array(case.times)
    labels = {
        None: None,
        "integers": random.randint(0, config.get("num_class_embeds", 1), n),
        "times": random.randint(0, 1000, n),
        "vectors": random.standard_normal((n, 4 * config["block_out_channels"][0])),
    }
    return {
        "x": random.standard_normal((n, height, width, config["in_channels"])),
        "t": times.astype(np.float32) if times.dtype.kind == "f" else times,
        "class_labels": labels[case.labels],
        "dy": random.standard_normal((n, height, width, config["out_channels"])),
    }


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Float32 weights in the files' layout, scaled so that activations stay of size 1."""
    weights = {}
    for name, shape in shapes.items():
        random = np.random.RandomState(zlib.crc32(name.encode()))
        values = random.standard_normal(shape)
        if len(shape) > 1:
            values /= np.sqrt(np.prod(shape[1:]))
        elif name.endswith("weight"):
            values = 1 + 0.2 * values
        else:
            values *= 0.2
        weights[name] = values.astype(np.float32)
    return weights


@dataclass(frozen=True)
class Result:
    """The output, its gradient in x, and in every parameter by its name and layout in files."""

    y: np.ndarray
    dx: np.ndarray
    grads: dict[str, np.ndarray]


def run(case: Case, dtype: type[np.floating]) -> Result:
    """Forward and backward of sum(y dy) in pydiff."""
    model = nn.UNet2D(seed=None, **case.config).astype(dtype)
    model.load_state_dict(random_weights({k: v.shape for k, v in model.state_dict().items()}))
    given = inputs(case)
    x = pydiff.Tensor(given["x"].astype(dtype), requires_grad=True)
    y = model(x, given["t"], class_labels=given["class_labels"])
    y.backward(given["dy"].astype(dtype))
    grads = {
        name: p.grad.transpose(p.file_axes)
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    return Result(y.data, x.grad, grads)


def largest(a: np.ndarray, b: np.ndarray) -> float:
    """max |a - b| / max |b|."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def gradient_error(ours: Result, theirs: Result) -> float:
    """The largest ||g - g'|| / ||g'|| over all parameters.

    The bias of the keys adds a constant to each row of q k^T, which the softmax cancels: its
    gradient is zero and holds rounding alone, so there the mean norm stands for ||g'||.
    """
    assert ours.grads.keys() == theirs.grads.keys()
    norms = {name: np.linalg.norm(g) for name, g in theirs.grads.items()}
    mean = np.mean(list(norms.values()))
    return max(
        float(
            np.linalg.norm(ours.grads[name] - g)
            / (mean if name.endswith("to_k.bias") else norms[name])
        )
        for name, g in theirs.grads.items()
    )


def fingerprint(result: Result) -> np.ndarray:
    """Every other pixel of y, then norm and one random projection of dx and of every gradient."""
    arrays = {"": result.dx, **result.grads}
    rows = [result.y[:, ::2, ::2].ravel()]
    for name in sorted(arrays):
        random = np.random.RandomState(zlib.crc32(name.encode()))
        direction = random.standard_normal(arrays[name].shape)
        projection = np.vdot(arrays[name], direction / np.linalg.norm(direction))
        rows.append(np.array([np.linalg.norm(arrays[name]), projection]))
    return np.concatenate(rows)
