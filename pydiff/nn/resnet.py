"""Residual blocks conditioned on time, and resampling by two. Shapes are (N, H, W, C)."""

from __future__ import annotations

from dataclasses import dataclass

from .. import ops
from ..autograd import Tensor
from .layers import Activation, Conv2d, Dropout, GroupNorm, Linear, Padding, rescaled
from .module import Module


@dataclass(frozen=True)
class BlockStyle:
    """What all blocks of a U-Net share.

    `time_features` is the width of the time embedding, `scale_shift` whether it scales and shifts
    the normalized activations (Dhariwal & Nichol 2021, arXiv:2105.05233, "AdaGN") or is added.
    """

    time_features: int
    groups: int
    eps: float
    act: str
    dropout: float
    scale_shift: bool


class ResnetBlock2D(Module):
    """x + conv2(act(norm2(conv1(act(norm1(x))) with time))), then / output_scale.

    `resample` is "down" or "up" to halve or double H and W before conv1 on both paths, or None.
    `temb` is the *activated* time embedding (N, time_features): the network computes it once.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style: BlockStyle,
        resample: str | None = None,
        output_scale: float = 1.0,
    ) -> None:
        wide = out_channels * (2 if style.scale_shift else 1)
        # With scale and shift the activation follows them, so norm2 cannot apply it.
        norm2_act = "none" if style.scale_shift else style.act
        self.norm1 = GroupNorm(style.groups, in_channels, style.eps, style.act)
        self.conv1 = Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = Linear(style.time_features, wide)
        self.norm2 = GroupNorm(style.groups, out_channels, style.eps, norm2_act)
        self.dropout = Dropout(style.dropout)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1)
        changes = in_channels != out_channels
        self.conv_shortcut = Conv2d(in_channels, out_channels, 1) if changes else None
        self.act = Activation(style.act)
        self.scale_shift = style.scale_shift
        self.resample = resample
        self.output_scale = output_scale

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.norm1(x)
        if self.resample is not None:
            resample = ops.avg_pool2d if self.resample == "down" else ops.upsample_nearest
            x, h = resample(x), resample(h)
        h = self.dropout(self._with_time(h, self.time_emb_proj(temb)))
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return rescaled(self.conv2(h, residual=shortcut), self.output_scale)

    def _with_time(self, h: Tensor, time: Tensor) -> Tensor:
        """act(norm2(conv1(h) + time)), or act(norm2(conv1(h)) * (1 + scale) + shift)."""
        if not self.scale_shift:
            return self.norm2(self.conv1(h, add=time))
        h = self.conv1(h)
        n, features = time.shape
        time = ops.reshape(time, (n, 1, 1, features))
        half = features // 2
        scale, shift = time[..., :half], time[..., half:]
        return self.act(self.norm2(h) * (1 + scale) + shift)


class Downsample2D(Module):
    """A 3x3 convolution of stride 2. `padding` 0 pads one row and column at the end only."""

    def __init__(self, channels: int, padding: int) -> None:
        sides: Padding = (0, 1, 0, 1) if padding == 0 else padding
        self.conv = Conv2d(channels, channels, 3, stride=2, padding=sides)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return self.conv(x)


class Upsample2D(Module):
    """Nearest neighbours by two, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return self.conv(ops.upsample_nearest(x))
