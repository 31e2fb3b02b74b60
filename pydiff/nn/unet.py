"""The U-Net of Ho et al. 2020 (arXiv:2006.11239), as diffusers' UNet2DModel defines it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from .. import backend
from ..autograd import Tensor
from ..errors import ConfigError
from ..io.config import read_config, write_config
from ..ops import as_tensor
from . import init
from .blocks import DownBlock, MidBlock, UpBlock
from .embeddings import GaussianFourier, TimestepEmbedding, Timesteps
from .layers import Activation, Conv2d, Embedding, GroupNorm, seed_dropout
from .module import Module, ModuleList
from .resnet import BlockStyle
from .unet_config import DOWN_BLOCKS, UP_BLOCKS, checked_config
from .unet_inputs import UNetInputs

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
_DIFFUSERS_CLASS = "UNet2DModel"


class UNet2D(Module):
    """A U-Net on images (N, H, W, in_channels) with a time per image, and optionally a class.

    `config` takes the keys of diffusers' UNet2DModel with its defaults. `seed` determines the first
    weights; None leaves them empty for loading. Raises ConfigError naming key, value and what is
    allowed, also above `max_params` parameters, before anything is allocated.
    """

    independent_images: ClassVar[bool] = True

    def __init__(self, *, seed: int | None = 0, max_params: int = 1 << 31, **config: Any) -> None:
        self.config = checked_config(config)
        with init.building(seed=None, max_params=max_params):
            self._build_embeddings()
            self._build_levels()
        seed_dropout(self, seed or 0, step=0)
        if seed is not None:
            parameters = self.parameters()
            values = init.draw_values(((p.shape, p.init) for p in parameters), seed)
            for parameter, value in zip(parameters, values, strict=True):
                parameter.data = value

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike[str],
        *,
        dtype: DTypeLike = np.float32,
        max_params: int = 1 << 31,
    ) -> UNet2D:
        """The network in `folder`, or in its subfolder "unet", in evaluation mode.

        Reads config.json and diffusion_pytorch_model.safetensors. Raises ConfigError or
        CheckpointError naming the file and what is wrong in it.
        """
        model, path = cls.described(folder, max_params=max_params)
        model.astype(dtype).load_weights(path)
        return model

    @classmethod
    def described(
        cls, folder: str | os.PathLike[str], *, max_params: int = 1 << 31
    ) -> tuple[UNet2D, Path]:
        """The network of `folder` without its weights, in evaluation mode, and their file.

        Raises ConfigError naming the file and what is wrong in it.
        """
        path = _model_folder(Path(folder))
        config = read_config(path / CONFIG_FILE)
        name = config.get("_class_name", _DIFFUSERS_CLASS)
        if name != _DIFFUSERS_CLASS:
            raise ConfigError(
                f"{path / CONFIG_FILE}: _class_name = {name!r:.80}; allowed: {_DIFFUSERS_CLASS!r}"
            )
        try:
            model = cls(seed=None, max_params=max_params, **config).eval()
        except ConfigError as error:
            raise ConfigError(f"{path / CONFIG_FILE}: {error}") from error
        pickle = path / WEIGHTS_FILE.replace(".safetensors", ".bin")
        only_pickle = pickle.exists() and not (path / WEIGHTS_FILE).exists()
        return model, pickle if only_pickle else path / WEIGHTS_FILE

    def save_pretrained(
        self, folder: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write config.json and diffusion_pytorch_model.safetensors, which diffusers loads too.

        `metadata` strings go into the weights file. Each file is replaced atomically; WriteError.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self.save_weights(path / WEIGHTS_FILE, metadata)
        write_config(path / CONFIG_FILE, {"_class_name": _DIFFUSERS_CLASS, **self.config})

    def forward(
        self,
        x: Tensor | np.ndarray,
        t: Tensor | np.ndarray | float,
        class_labels: np.ndarray | int | None = None,
    ) -> Tensor:
        """The prediction (N, H, W, out_channels) for images x at times t, (N,) or one number.

        `class_labels` (N,) or one integer, required where the network has a class embedding (floats
        (N,) for type "timestep", (N, time_embedding_dim) for "identity"). H and W must be divisible
        by 2^(levels - 1). Raises ShapeError, DtypeError or ConfigError.
        """
        inputs = self.inputs(x, t, class_labels)
        images, times = as_tensor("UNet2D", inputs["x"]), inputs["t"]
        temb = self.time_act(self._embedding(times, inputs.get("class_labels")))
        h: Tensor = self.conv_in(2 * images - 1 if self.config["center_input_sample"] else images)
        skips = [h]
        for down in self.down_blocks:
            h, outputs = down(h, temb)
            skips += outputs
        if self.mid_block is not None:
            h = self.mid_block(h, temb)
        for up in self.up_blocks:
            h = up(h, skips, temb)
        h = self.conv_out(self.conv_norm_out(h))
        if self.config["time_embedding_type"] == "fourier":
            h = h / backend.cast(times, h.dtype).reshape(-1, 1, 1, 1)
        return h

    @property
    def inputs(self) -> UNetInputs:
        """How x, t and class_labels are checked and converted to the dtype of the network."""
        return UNetInputs(self.config, self.time_features, self.conv_in.weight.dtype)

    def _build_embeddings(self) -> None:
        config = self.config
        kind, width = config["time_embedding_type"], config["block_out_channels"][0]
        features = 2 * width if kind == "fourier" else width
        self.time_features = config["time_embedding_dim"] or 4 * width
        self.time_proj: Module
        if kind == "fourier":
            self.time_proj = GaussianFourier(width)
        elif kind == "learned":
            self.time_proj = Embedding(config["num_train_timesteps"], width)
        else:
            self.time_proj = Timesteps(width, config["flip_sin_to_cos"], config["freq_shift"])
        self.time_embedding = TimestepEmbedding(features, self.time_features)
        self.time_act = Activation(config["act_fn"])
        self.class_embedding: Module | None = None
        if config["class_embed_type"] == "timestep":
            self.class_embedding = TimestepEmbedding(features, self.time_features)
        elif config["class_embed_type"] is None and config["num_class_embeds"] is not None:
            self.class_embedding = Embedding(config["num_class_embeds"], self.time_features)

    def _build_levels(self) -> None:
        config = self.config
        widths, layers = config["block_out_channels"], config["layers_per_block"]
        style = BlockStyle(
            time_features=self.time_features,
            groups=config["norm_num_groups"],
            eps=config["norm_eps"],
            act=config["act_fn"],
            dropout=config["dropout"],
            scale_shift=config["resnet_time_scale_shift"] == "scale_shift",
        )
        self.conv_in = Conv2d(config["in_channels"], widths[0], 3, padding=1)
        self.down_blocks = ModuleList()
        skips = [widths[0]]  # channels of the skip connections, in the order of their making
        x_channels = widths[0]
        for level, width in enumerate(widths):
            attends, resample = DOWN_BLOCKS[config["down_block_types"][level]]
            last = level == len(widths) - 1
            how = None if last else resample or config["downsample_type"]
            head_dim = self._head_dim(width) if attends else None
            padding = config["downsample_padding"]
            block = DownBlock(x_channels, width, layers, style, head_dim, how, padding)
            self.down_blocks.append(block)
            skips += [width] * (layers if last else layers + 1)
            x_channels = width
        self.mid_block = self._mid_block(style)
        self.up_blocks = ModuleList()
        for level, width in enumerate(reversed(widths)):
            attends, resample = UP_BLOCKS[config["up_block_types"][level]]
            how = None if level == len(widths) - 1 else resample or config["upsample_type"]
            head_dim = self._head_dim(width) if attends else None
            taken = [skips.pop() for _ in range(layers + 1)]
            self.up_blocks.append(UpBlock(x_channels, width, taken, style, head_dim, how))
            x_channels = width
        self.conv_norm_out = GroupNorm(style.groups, widths[0], style.eps, "silu")
        self.conv_out = Conv2d(widths[0], config["out_channels"], 3, padding=1)

    def _mid_block(self, style: BlockStyle) -> MidBlock | None:
        config, width = self.config, self.config["block_out_channels"][-1]
        if config["mid_block_type"] is None:
            return None
        head_dim = self._head_dim(width) if config["add_attention"] else None
        groups = config["attn_norm_num_groups"]
        if groups is None and not style.scale_shift:
            groups = style.groups
        return MidBlock(width, style, head_dim, groups, config["mid_block_scale_factor"])

    def _head_dim(self, width: int) -> int:
        return int(self.config["attention_head_dim"] or width)

    def _embedding(self, times: np.ndarray, labels: np.ndarray | None) -> Tensor:
        """The sum of the embeddings of time and class, (N, time_features)."""
        embedding: Tensor = self.time_embedding(self._features(times))
        if labels is None:
            return embedding
        if self.class_embedding is None:  # of type "identity": the labels are the vectors
            return embedding + labels
        as_time = self.config["class_embed_type"] == "timestep"
        return embedding + self.class_embedding(self._features(labels) if as_time else labels)

    def _features(self, times: np.ndarray) -> Any:
        if isinstance(self.time_proj, Timesteps):
            return self.time_proj(times, self.conv_in.weight.dtype)
        return self.time_proj(times)


def _model_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "unet"):
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    raise ConfigError(f"{folder}: holds no {CONFIG_FILE}, nor does its subfolder unet")
