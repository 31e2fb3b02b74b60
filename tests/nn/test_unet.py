"""The U-Net equals golden outputs of diffusers, has the right gradients, and refuses bad input."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unet_cases import CASES, CIFAR10, SMALL, fingerprint, inputs, random_weights, run

import pydiff
from pydiff import nn
from pydiff.errors import CheckpointError, ConfigError, DtypeError, ShapeError
from pydiff.nn.unet_config import KEYS

GOLDEN = Path(__file__).parents[1] / "golden" / "unet.npz"
TINY = SMALL | {"block_out_channels": [4, 8], "norm_num_groups": 2}
X = np.zeros((2, 8, 8, 3), np.float32)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        rows = np.split(file["values"], file["ends"][:-1])
        return dict(zip(file["names"].tolist(), rows, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_golden_outputs_and_gradients_of_diffusers(
    name: str, golden: dict[str, np.ndarray]
) -> None:
    """The golden file holds float32 roundings; sinusoids may differ in the last float32 bit."""
    ours, theirs = fingerprint(run(CASES[name], np.float64)), golden[name]
    assert ours.shape == theirs.shape
    assert (np.abs(ours - theirs) <= 2e-6 * np.maximum(np.abs(theirs), 1)).all()


def test_every_golden_case_is_run(golden: dict[str, np.ndarray]) -> None:
    assert list(golden) == list(CASES)


@pytest.mark.parametrize(
    "options",
    [
        {"attention_head_dim": 4, "num_class_embeds": 3},
        {"resnet_time_scale_shift": "scale_shift", "class_embed_type": "timestep"},
        {
            "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"],
            "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D"],
            "time_embedding_type": "fourier",
            "act_fn": "mish",
            "mid_block_scale_factor": 1.5,
        },
    ],
)
def test_gradcheck_of_the_whole_network(options: dict[str, Any]) -> None:
    """Per parameter: its first and last element and one random direction."""
    model = nn.UNet2D(seed=None, **TINY | options).astype(np.float64)
    model.load_state_dict(random_weights({k: v.shape for k, v in model.state_dict().items()}))
    x = np.random.RandomState(1).standard_normal((2, 4, 4, 3))
    labels = np.array([0, 2]) if len(options) == 2 else None
    given = [x, np.array([5, 30]), labels]
    assert pydiff.gradcheck(model, given, tolerance=1e-6, elements=1, directions=1)


def test_parameter_counts() -> None:
    """CIFAR-10's is that of google/ddpm-cifar10-32."""
    assert nn.UNet2D(seed=None, **CIFAR10).num_parameters() == 35_746_307


def test_defaults_are_those_of_diffusers() -> None:
    model = nn.UNet2D(seed=None)
    assert model.config["block_out_channels"] == [224, 448, 672, 896]
    assert model.config["attention_head_dim"] == 8
    assert model.config["flip_sin_to_cos"] is True and model.config["downsample_padding"] == 1


@pytest.mark.peers
def test_keys_and_defaults_equal_diffusers() -> None:
    pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    import inspect

    signature = inspect.signature(diffusers.UNet2DModel.__init__).parameters
    theirs = {key: p.default for key, p in signature.items() if key != "self"}
    ours = {key: spec.default for key, spec in KEYS.items()}
    assert ours == {k: list(v) if isinstance(v, tuple) else v for k, v in theirs.items()}


def test_first_weights_depend_on_the_seed_alone() -> None:
    one, two, other = (nn.UNet2D(seed=seed, **TINY).state_dict() for seed in (7, 7, 8))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["conv_in.weight"], other["conv_in.weight"])
    assert not np.array_equal(one["down_blocks.0.resnets.0.conv1.bias"], one["conv_in.bias"])


def test_images_in_a_batch_do_not_depend_on_each_other() -> None:
    case = CASES["classes"]
    model = nn.UNet2D(seed=0, **case.config)
    given = inputs(case)
    x = given["x"].astype(np.float32)
    both = model(x, given["t"], given["class_labels"]).data
    for i in (0, 1):
        alone = model(x[i : i + 1], given["t"][i], int(given["class_labels"][i])).data
        np.testing.assert_allclose(alone[0], both[i], rtol=0, atol=1e-5)


def test_a_number_and_a_vector_of_times_give_the_same() -> None:
    model = nn.UNet2D(seed=0, **TINY)
    wanted = model(X + 1, np.array([5, 5])).data
    for t in (5, 5.0, np.float64(5), np.array([5]), pydiff.Tensor(np.array([5.0, 5.0]))):
        np.testing.assert_array_equal(model(X + 1, t).data, wanted)


def test_dropout_acts_in_training_alone_and_repeats_by_seed() -> None:
    model = nn.UNet2D(seed=0, **TINY | {"dropout": 0.5})
    x = np.random.RandomState(0).standard_normal(X.shape).astype(np.float32)

    def draw(step: int) -> np.ndarray:
        nn.seed_dropout(model, seed=1, step=step)
        return model(x, 3).data

    first = draw(0)
    assert not np.array_equal(first, model(x, 3).data)  # the step has advanced
    assert not np.array_equal(first, draw(1))
    np.testing.assert_array_equal(first, draw(0))
    model.eval()
    np.testing.assert_array_equal(model(x, 3).data, draw(1))


def test_folder_round_trip(tmp_path: Path) -> None:
    model = nn.UNet2D(seed=4, **CASES["fourier"].config)
    model.save_pretrained(tmp_path / "new" / "unet", metadata={"steps": "12"})
    for folder in (tmp_path / "new", tmp_path / "new" / "unet"):
        loaded = nn.UNet2D.from_pretrained(folder)
        assert loaded.config == model.config and not loaded.training
        for name, value in loaded.state_dict().items():
            np.testing.assert_array_equal(value, model.state_dict()[name])
    assert nn.UNet2D.from_pretrained(tmp_path / "new", dtype=np.float64).dtype == np.float64
    config = json.loads((tmp_path / "new" / "unet" / "config.json").read_text())
    assert config["_class_name"] == "UNet2DModel"


def test_folders_that_are_not_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no config\.json, nor does its subfolder unet"):
        nn.UNet2D.from_pretrained(tmp_path)
    config = {"_class_name": "UNet2DConditionModel", **TINY}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="_class_name = 'UNet2DConditionModel'"):
        nn.UNet2D.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"norm_num_groups": 3}))
    with pytest.raises(ConfigError, match=r"config\.json: UNet2D: norm_num_groups = 3"):
        nn.UNet2D.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: no such file"):
        nn.UNet2D.from_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="convert it once where torch is installed"):
        nn.UNet2D.from_pretrained(tmp_path)
    nn.UNet2D(**TINY | {"block_out_channels": [8, 8]}).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    with pytest.raises(CheckpointError, match=r"conv_in.weight has shape \(8, 3, 3, 3\), expected"):
        nn.UNet2D.from_pretrained(tmp_path)


HOSTILE = [
    ("block_out_channels", [2**40, 8]),
    ("block_out_channels", [-4, 8]),
    ("block_out_channels", []),
    ("block_out_channels", "48"),
    ("block_out_channels", [4.0, 8.0]),
    ("block_out_channels", [4, 8, 16]),
    ("block_out_channels", [4] * 10**6),
    ("layers_per_block", 10**6),
    ("layers_per_block", 0),
    ("layers_per_block", True),
    ("layers_per_block", float("nan")),
    ("in_channels", "3"),
    ("in_channels", None),
    ("norm_num_groups", 3),
    ("norm_num_groups", None),
    ("norm_eps", 0),
    ("norm_eps", float("nan")),
    ("norm_eps", float("inf")),
    ("norm_eps", 10**400),
    ("attention_head_dim", 0),
    ("attention_head_dim", 9),
    ("attn_norm_num_groups", 3),
    ("dropout", 1),
    ("dropout", -0.1),
    ("mid_block_scale_factor", 0),
    ("mid_block_type", "UNetMidBlock2DCrossAttn"),
    ("time_embedding_type", "Positional"),
    ("time_embedding_type", ["positional"]),
    ("freq_shift", 2),
    ("downsample_padding", 2),
    ("downsample_type", "fir"),
    ("act_fn", "selu"),
    ("act_fn", {}),
    ("class_embed_type", "projection"),
    ("num_class_embeds", -1),
    ("resnet_time_scale_shift", "ada_group"),
    ("down_block_types", ["DownBlock2D", "SkipDownBlock2D"]),
    ("up_block_types", ["UpBlock2D"]),
    ("sample_size", [8]),
    ("sample_size", 0),
    ("center_input_sample", 1),
]


@pytest.mark.parametrize(("key", "value"), HOSTILE)
def test_hostile_values_name_key_value_and_what_is_allowed(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"UNet2D: (\w+) = .*allowed: .+") as caught:
        nn.UNet2D(**TINY | {key: value})
    lengths = {"block_out_channels": "_block_types"}
    assert key in str(caught.value) or lengths[key] in str(caught.value)
    assert len(str(caught.value)) < 600


def test_unknown_keys_private_keys_and_unsupported_blocks() -> None:
    with pytest.raises(ConfigError, match="unknown key 'chanels'; allowed: act_fn, add_attention"):
        nn.UNet2D(**TINY, chanels=3)
    assert "_diffusers_version" not in nn.UNet2D(**TINY, _diffusers_version="0.0.4").config
    with pytest.raises(ConfigError, match=r"not supported yet.*'AttnDownBlock2D'"):
        nn.UNet2D(**TINY | {"down_block_types": ["DownBlock2D", "AttnSkipDownBlock2D"]})
    with pytest.raises(ConfigError, match="num_train_timesteps = None"):
        nn.UNet2D(**TINY, time_embedding_type="learned")


def test_too_many_parameters_are_refused_before_allocating() -> None:
    wide = TINY | {"block_out_channels": [2**20, 2**20], "layers_per_block": 64}
    with pytest.raises(ConfigError, match="more than max_params = 2,147,483,648 parameters"):
        nn.UNet2D(**wide)
    with pytest.raises(ConfigError, match="more than max_params = 1,000 parameters"):
        nn.UNet2D(**TINY, max_params=1000)


VALUES = st.one_of(
    st.integers(-3, 40),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=9),
    st.none(),
    st.booleans(),
    st.lists(st.integers(-2, 64) | st.none(), max_size=4),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=1),
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(KEYS)) | st.text(max_size=5), VALUES, max_size=3))
def test_any_config_is_built_or_refused(config: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):
        nn.UNet2D(seed=None, **TINY | config)


def call(**options: Any) -> None:
    config = options.pop("config", {})
    given = {"x": X, "t": 1} | options
    nn.UNet2D(seed=None, **TINY | config)(**given)


CLASSES = {"num_class_embeds": 3}
FOURIER = {"time_embedding_type": "fourier"}
VECTORS = {"class_embed_type": "identity"}


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ShapeError, r".2, 3, 8, 8.; expected \(N, H, W, 3\)", {"x": X.transpose(0, 3, 1, 2)}),
        (ShapeError, "divisible by 2", {"x": X[:, :7]}),
        (ShapeError, "divisible by 2", {"x": X[:, :, :5]}),
        (ShapeError, "expected", {"x": X[:, :0]}),
        (ShapeError, "expected", {"x": X[0]}),
        (DtypeError, "x has dtype uint8; allowed: floats", {"x": X.astype(np.uint8)}),
        (DtypeError, "float64 Tensor", {"x": pydiff.Tensor(X.astype(np.float64))}),
        (ShapeError, r"t has shape \(3,\); expected \(\) or \(2,\)", {"t": np.arange(3)}),
        (ShapeError, "t has shape", {"t": np.ones((2, 1))}),
        (DtypeError, "t has dtype", {"t": "now"}),
        (DtypeError, "t has dtype", {"t": None}),
        (ConfigError, "t = .*nan.*finite times", {"t": float("nan")}),
        (ConfigError, "allowed: finite times > 0", {"t": 0, "config": FOURIER}),
        (ConfigError, "class_labels is missing", {"config": CLASSES}),
        (ConfigError, "class_labels is missing", {"config": VECTORS}),
        (ConfigError, "this network has no classes", {"class_labels": [0, 1]}),
        (ConfigError, r"class_labels in \[0, 3\]; allowed: 0 to 2",
         {"class_labels": [0, 3], "config": CLASSES}),
        (ConfigError, r"\[-1, 0\]", {"class_labels": [-1, 0], "config": CLASSES}),
        (DtypeError, "allowed: integers", {"class_labels": [0.0, 1.0], "config": CLASSES}),
        (ShapeError, "class_labels has shape", {"class_labels": [0, 1, 2], "config": CLASSES}),
        (ShapeError, r"floats of shape \(2, 16\)", {"class_labels": [0, 1], "config": VECTORS}),
    ],
)  # fmt: skip
def test_bad_inputs_are_named(
    error: type[Exception], message: str, options: dict[str, Any]
) -> None:
    with pytest.raises(error, match=message):
        call(**options)
