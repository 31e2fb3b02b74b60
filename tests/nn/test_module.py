"""Modules find their parameters, use the files' layout, and list all mismatches at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pydiff import nn
from pydiff.errors import CheckpointError, ConfigError, DtypeError


class Net(nn.Module):
    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4, act="silu")
        self.blocks = nn.ModuleList([nn.Linear(4, 5), nn.Linear(5, 5, bias=False)])
        self.attention = nn.Attention(4, head_dim=2, groups=2)
        self.shared = self.norm.weight

    def forward(self, x: np.ndarray) -> object:
        x = self.attention(self.norm(self.conv(x)))
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture
def net() -> Net:
    with nn.building(seed=0):
        return Net()


NAMES = {
    "conv.weight": (4, 3, 3, 3),
    "conv.bias": (4,),
    "norm.bias": (4,),
    "blocks.0.weight": (5, 4),
    "blocks.0.bias": (5,),
    "blocks.1.weight": (5, 5),
    "attention.group_norm.weight": (4,),
    "attention.group_norm.bias": (4,),
    "attention.to_q.weight": (4, 4),
    "attention.to_q.bias": (4,),
    "attention.to_k.weight": (4, 4),
    "attention.to_k.bias": (4,),
    "attention.to_v.weight": (4, 4),
    "attention.to_v.bias": (4,),
    "attention.to_out.0.weight": (4, 4),
    "attention.to_out.0.bias": (4,),
    "shared": (4,),
}


def test_names_and_shapes_are_those_of_files(net: Net) -> None:
    assert {name: value.shape for name, value in net.state_dict().items()} == NAMES
    assert net.num_parameters() == sum(int(np.prod(shape)) for shape in NAMES.values())
    assert all(value.flags.c_contiguous for value in net.state_dict().values())


def test_layouts_in_memory_and_in_files(net: Net) -> None:
    state = net.state_dict()
    assert net.conv.weight.shape == (3, 3, 3, 4)
    np.testing.assert_array_equal(state["conv.weight"][1, 2], net.conv.weight.data[:, :, 2, 1])
    np.testing.assert_array_equal(state["blocks.0.weight"], net.blocks[0].weight.data.T)


def test_state_dict_is_a_copy_and_round_trips(net: Net) -> None:
    state = net.state_dict()
    before = state["conv.weight"].copy()
    net.conv.weight.data = net.conv.weight.data + 1
    np.testing.assert_array_equal(state["conv.weight"], before)
    net.load_state_dict(state)
    np.testing.assert_array_equal(net.state_dict()["conv.weight"], before)
    assert net.conv.weight.data.flags.c_contiguous


def test_everything_that_does_not_fit_is_listed_at_once(net: Net) -> None:
    state = net.state_dict()
    kept = {name: value.copy() for name, value in state.items()}
    del state["conv.bias"], state["norm.bias"]
    state["blocks.0.weight"] = np.zeros((4, 5), np.float32)
    state["extra"] = state["blocks.7.weight"] = np.zeros(1, np.float32)
    with pytest.raises(CheckpointError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert "weights do not fit Net" in message
    assert "wrong shape (1):\n  blocks.0.weight has shape (4, 5), expected (5, 4)" in message
    assert "missing (2):\n  conv.bias (4,)\n  norm.bias (4,)" in message
    assert "unexpected (2):\n  extra\n  blocks.7.weight" in message
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, kept[name])


def test_not_strict_passes_over_missing_and_unexpected_but_not_shapes(net: Net) -> None:
    net.load_state_dict({"conv.bias": np.full(4, 7.0), "extra": np.zeros(1)}, strict=False)
    np.testing.assert_array_equal(net.conv.bias.data, np.full(4, 7, np.float32))
    assert net.conv.bias.dtype == np.float32
    with pytest.raises(CheckpointError, match="wrong shape"):
        net.load_state_dict({"conv.bias": np.zeros(5)}, strict=False)
    with pytest.raises(CheckpointError, match="dtype int64, expected floats"):
        net.load_state_dict({"conv.bias": np.zeros(4, np.int64)}, strict=False)


def test_old_attention_names_and_convolution_shapes(net: Net) -> None:
    new = net.state_dict()
    old = {}
    for name, value in new.items():
        for now, before in [("to_q", "query"), ("to_k", "key"), ("to_v", "value")]:
            name = name.replace(f"attention.{now}", f"attention.{before}")
        name = name.replace("attention.to_out.0", "attention.proj_attn")
        is_matrix = name.startswith("attention") and value.ndim == 2
        old[name] = value[:, :, None, None] if is_matrix else value
    assert "attention.proj_attn.weight" in old and old["attention.query.weight"].ndim == 4
    with nn.building(seed=1):
        other = Net()
    other.load_state_dict(old)
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, new[name], err_msg=name)
    with pytest.raises(CheckpointError, match=r"unexpected \(1\):\n  attention\.query\.bias"):
        net.load_state_dict(new | {"attention.query.bias": np.zeros(4)})


def test_files_round_trip_and_name_themselves(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    net.save_weights(path)
    with nn.building(seed=1):
        other = Net()
    other.load_weights(path)
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, net.state_dict()[name])
    with pytest.raises(CheckpointError, match=r"w.safetensors: weights do not fit Linear"):
        nn.Linear(2, 2).load_weights(path)


def test_modes_reach_every_module(net: Net) -> None:
    assert net.training and net.blocks[0].training
    assert net.eval() is net and not net.attention.to_out[0].training
    net.train()
    assert net.attention.to_out[0].training


def test_astype_converts_all_and_refuses_others(net: Net) -> None:
    assert net.astype(np.float64).dtype == np.float64
    assert {p.data.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert net(np.zeros((1, 4, 4, 3))).dtype == np.float64
    with pytest.raises(DtypeError, match="float16"):
        net.astype(np.float16)


def test_modules_hidden_in_a_list_are_an_error() -> None:
    net = nn.Module()
    net.layers = [nn.Linear(1, 1)]
    with pytest.raises(TypeError, match=r"Module.layers is a list .* use pydiff.nn.ModuleList"):
        net.parameters()


def test_missing_attribute_and_forward_are_named() -> None:
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        nn.Linear(1, 1).wieght  # noqa: B018
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()()


def test_first_values_depend_on_seed_and_position_alone() -> None:
    with nn.building(seed=5):
        first, second = nn.Linear(9, 9), nn.Linear(9, 9)
    with nn.building(seed=5):
        again = nn.Linear(9, 9)
    with nn.building(seed=6):
        other = nn.Linear(9, 9)
    np.testing.assert_array_equal(first.weight.data, again.weight.data)
    assert not np.array_equal(first.weight.data, second.weight.data)
    assert not np.array_equal(first.weight.data, other.weight.data)


def test_first_values_have_the_distributions_of_torch() -> None:
    with nn.building(seed=0):
        conv, table = nn.Conv2d(8, 64, 3), nn.Embedding(200, 50)
    bound = 1 / np.sqrt(8 * 9)
    for values in (conv.weight.data, conv.bias.data):
        assert np.abs(values).max() <= bound
    assert abs(conv.weight.data.std() / (bound / np.sqrt(3)) - 1) < 0.03
    assert abs(conv.weight.data.mean()) < 0.02 * bound
    assert abs(table.weight.data.std() - 1) < 0.03


def test_building_counts_parameters_and_restores_the_outer_seed() -> None:
    error = pytest.raises(ConfigError, match="more than max_params = 10 parameters")
    with error, nn.building(seed=None, max_params=10):
        nn.Linear(1 << 40, 1 << 40)
    with nn.building(seed=None):
        placeholder = nn.Linear(1 << 20, 1 << 12)  # 16 GiB if it were allocated
    assert placeholder.weight.shape == (1 << 20, 1 << 12)
    assert np.abs(nn.Linear(3, 3).weight.data).max() > 0


def test_first_nonfinite_names_the_innermost_layer(net: Net) -> None:
    x = np.ones((1, 4, 4, 3), np.float32)
    assert nn.first_nonfinite(net, x) is None
    assert nn.first_nonfinite(net, np.full_like(x, np.nan)) == "inputs"
    values = net.attention.to_v.bias.data.copy()
    values[1] = np.inf
    net.attention.to_v.bias.data = values
    assert nn.first_nonfinite(net, x) == "attention.to_v"
    net.conv.weight.data = net.conv.weight.data * np.float32(np.nan)
    assert nn.first_nonfinite(net, x) == "conv"
