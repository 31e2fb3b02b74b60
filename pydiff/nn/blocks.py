"""The levels of a U-Net: downwards, in the middle, upwards. Shapes are (N, H, W, C).

`temb` is the activated time embedding (N, time_features). An attention width of None means that the
level has no attention; resampling is "conv", "resnet" or None for the last level.
"""

from __future__ import annotations

from ..autograd import Tensor
from ..ops import concat
from .layers import Attention
from .module import Module, ModuleList
from .resnet import BlockStyle, Downsample2D, ResnetBlock2D, Upsample2D


class DownBlock(Module):
    """Residual blocks, each with attention or none, then downsampling; keeps all outputs."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        layers: int,
        style: BlockStyle,
        head_dim: int | None,
        downsample: str | None,
        padding: int,
    ) -> None:
        self.resnets = ModuleList(
            ResnetBlock2D(in_channels if i == 0 else out_channels, out_channels, style)
            for i in range(layers)
        )
        self.attentions = _attentions(layers if head_dim else 0, out_channels, style, head_dim)
        self.downsamplers = ModuleList()
        if downsample == "conv":
            self.downsamplers.append(Downsample2D(out_channels, padding))
        elif downsample == "resnet":
            self.downsamplers.append(ResnetBlock2D(out_channels, out_channels, style, "down"))

    def forward(self, x: Tensor, temb: Tensor) -> tuple[Tensor, list[Tensor]]:
        outputs = []
        for index, resnet in enumerate(self.resnets):
            x = resnet(x, temb)
            if len(self.attentions):
                x = self.attentions[index](x)
            outputs.append(x)
        for downsampler in self.downsamplers:
            x = downsampler(x, temb)
            outputs.append(x)
        return x, outputs


class MidBlock(Module):
    """Residual block, attention or none, residual block; `groups` None: attention without norm."""

    def __init__(
        self,
        channels: int,
        style: BlockStyle,
        head_dim: int | None,
        groups: int | None,
        output_scale: float,
    ) -> None:
        self.resnets = ModuleList(
            ResnetBlock2D(channels, channels, style, output_scale=output_scale) for _ in range(2)
        )
        self.attentions = ModuleList()
        if head_dim is not None:
            attention = Attention(channels, head_dim, groups, style.eps, output_scale)
            self.attentions.append(attention)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        x = self.resnets[0](x, temb)
        for attention in self.attentions:
            x = attention(x)
        return self.resnets[1](x, temb)


class UpBlock(Module):
    """Residual blocks on [x, skip], each with attention or none, then upsampling.

    `skips` lists the channels of the skip connections in the order in which they are taken.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        skips: list[int],
        style: BlockStyle,
        head_dim: int | None,
        upsample: str | None,
    ) -> None:
        self.resnets = ModuleList(
            ResnetBlock2D((in_channels if i == 0 else out_channels) + skip, out_channels, style)
            for i, skip in enumerate(skips)
        )
        self.attentions = _attentions(len(skips) if head_dim else 0, out_channels, style, head_dim)
        self.upsamplers = ModuleList()
        if upsample == "conv":
            self.upsamplers.append(Upsample2D(out_channels))
        elif upsample == "resnet":
            self.upsamplers.append(ResnetBlock2D(out_channels, out_channels, style, "up"))

    def forward(self, x: Tensor, skips: list[Tensor], temb: Tensor) -> Tensor:
        """Takes one skip connection per residual block off the end of `skips`."""
        for index, resnet in enumerate(self.resnets):
            x = resnet(concat([x, skips.pop()], axis=-1), temb)
            if len(self.attentions):
                x = self.attentions[index](x)
        for upsampler in self.upsamplers:
            x = upsampler(x, temb)
        return x


def _attentions(count: int, channels: int, style: BlockStyle, head_dim: int | None) -> ModuleList:
    if head_dim is None:
        return ModuleList()
    return ModuleList(Attention(channels, head_dim, style.groups, style.eps) for _ in range(count))
