"""Configs: options and their defaults, bad values, the way back."""

from __future__ import annotations

import inspect
import json
import warnings
from typing import Any

import numpy as np
import pytest
from scheduler_cases import CASES, Case

from pydiff import samplers, schedulers
from pydiff.errors import ConfigError
from pydiff.schedulers import SCHEDULERS, from_config, to_config

QUIET = pytest.mark.filterwarnings("ignore:terminal SNR", "ignore::DeprecationWarning")


def load(name: str, **options: Any) -> schedulers.Scheduler:
    return from_config({"_class_name": f"{name}Scheduler", **options})


@pytest.mark.peers
@pytest.mark.parametrize("name", SCHEDULERS)
def test_options_and_defaults_are_those_of_diffusers(name: str) -> None:
    pytest.importorskip("diffusers")
    from scheduler_peer import peer_class

    parameters = inspect.signature(peer_class(name).__init__).parameters.values()
    theirs = {p.name: p.default for p in parameters if p.default is not p.empty}
    ours = {key: option.default for key, option in SCHEDULERS[name].options.items()}
    assert ours == {k: tuple(v) if isinstance(v, list) else v for k, v in theirs.items()}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_defaults_pass_their_own_checks(name: str) -> None:
    for key, option in SCHEDULERS[name].options.items():
        assert option.check(key, option.default) == option.default


@QUIET
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_round_trip(case: Case) -> None:
    first = from_config(case.config, case.compatible, **case.options)
    again = from_config(json.loads(json.dumps(to_config(first))), case.compatible, **case.options)
    assert again.options == first.options and again.sampler == first.sampler
    assert again.grid(7, mu=case.mu) == first.grid(7, mu=case.mu)
    assert again.timesteps(7, mu=case.mu) == first.timesteps(7, mu=case.mu)


@pytest.mark.peers
@QUIET
@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_diffusers_saves_is_read_and_back(tmp_path: Any, name: str) -> None:
    pytest.importorskip("diffusers")
    from scheduler_peer import peer_class

    peer_class(name)().save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "terminal SNR")
        scheduler = from_config(tmp_path)
    assert scheduler.options == load(name.removesuffix("Scheduler")).options
    config = {key: v for key, v in to_config(scheduler).items() if key[0] != "_"}
    assert dict(peer_class(name)(**config).config).items() >= config.items()


def test_folders_and_files_are_found(tmp_path: Any) -> None:
    config = {"_class_name": "DDIMScheduler", "steps_offset": 1}
    (tmp_path / "scheduler").mkdir()
    path = tmp_path / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(config))
    for source in (tmp_path, str(tmp_path), tmp_path / "scheduler", path):
        assert from_config(source).grid(2) == [501, 1, -1]
    with pytest.raises(ConfigError, match="no such file"):
        from_config(tmp_path / "absent.json")
    path.write_text(json.dumps({**config, "steps_offset": -1}))
    with pytest.raises(ConfigError, match=r"scheduler_config.json: steps_offset = -1"):
        from_config(tmp_path)


def test_the_infinity_that_diffusers_writes_is_read(tmp_path: Any) -> None:
    path = tmp_path / "scheduler_config.json"
    path.write_text('{"_class_name": "DDIMScheduler", "beta_start": Infinity}')
    with pytest.raises(ConfigError, match="beta_start = inf"):
        from_config(path)
    path.write_text('{"_class_name": "DDIMScheduler", "beta_start": NaN}')
    with pytest.raises(ConfigError, match="NaN is not JSON"):
        from_config(path)


def test_unknown_options_warn_and_change_nothing() -> None:
    with pytest.warns(UserWarning, match="DDIMScheduler has no option 'solver_order'"):
        scheduler = load("DDIM", solver_order=3)
    assert scheduler.options == load("DDIM").options
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("DDIM", _diffusers_version="0.1", tensor_format="pt")


BAD = [
    ("DDIM", "prediction_type", "noise"), ("DDIM", "timestep_spacing", "even"),
    ("DDIM", "clip_sample", 1), ("DDIM", "clip_sample_range", 0.0), ("DDIM", "steps_offset", 0.5),
    ("DDIM", "steps_offset", 1000), ("DDIM", "num_train_timesteps", 0),
    ("DDIM", "beta_schedule", "other"), ("DDIM", "beta_end", 2.0), ("DDIM", "trained_betas", []),
    ("DDIM", "dynamic_thresholding_ratio", 1.5), ("DDIM", "sample_max_value", -1.0),
    ("DDPM", "variance_type", "small"), ("DDIMInverse", "timestep_spacing", "linspace"),
    ("LCM", "original_inference_steps", 0), ("TCD", "timestep_scaling", "10"),
    ("EulerDiscrete", "interpolation_type", "cubic"), ("EulerDiscrete", "sigma_min", 0.0),
    ("EulerDiscrete", "timestep_type", None), ("EulerDiscrete", "final_sigmas_type", "one"),
    ("EDMEuler", "sigma_schedule", "linear"), ("EDMEuler", "rho", 0.0),
    ("EDMEuler", "sigma_data", True), ("EDMEuler", "prediction_type", "sample"),
    ("FlowMatchEulerDiscrete", "shift", 0.0), ("FlowMatchEulerDiscrete", "shift_terminal", 1.0),
    ("FlowMatchEulerDiscrete", "time_shift_type", "cosine"), ("ScoreSdeVe", "snr", float("inf")),
    ("ScoreSdeVe", "correct_steps", -1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "value"), BAD)
def test_bad_values_are_refused_by_name(name: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key.removeprefix("trained_")):
        load(name, **{key: value})


@pytest.mark.parametrize("name", [None, 3, "os.system", "DDIM"])
def test_unknown_classes_are_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="_class_name"):
        from_config({"_class_name": name})


def test_only_one_spacing_of_levels() -> None:
    scheduler = load("EulerDiscrete", use_karras_sigmas=True, use_beta_sigmas=True)
    with pytest.raises(ConfigError, match="use_karras_sigmas and use_beta_sigmas"):
        scheduler.grid(5)


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.0, True, None])
def test_bad_steps_are_refused(steps: Any) -> None:
    for name in ("DDIM", "EulerDiscrete"):
        with pytest.raises(ConfigError, match="steps"):
            load(name).grid(steps)


@pytest.mark.parametrize("name", ["DDIM", "EulerDiscrete", "UniPCMultistep"])
def test_an_offset_beyond_the_chain_is_refused(name: str) -> None:
    scheduler = load(name, timestep_spacing="leading", steps_offset=20)
    assert scheduler.timesteps(10)[0] == 920
    with pytest.raises(ConfigError, match="steps_offset = 20 puts the first of"):
        scheduler.grid(990)


def test_the_shift_by_mu() -> None:
    with pytest.raises(ConfigError, match="pass mu"):
        load("FlowMatchEulerDiscrete", use_dynamic_shifting=True).grid(5)
    with pytest.raises(ConfigError, match="leave mu out"):
        load("FlowMatchEulerDiscrete").grid(5, mu=1.0)
    with pytest.raises(ConfigError, match="mu = nan"):
        load("FlowMatchEulerDiscrete", use_dynamic_shifting=True).grid(5, mu=float("nan"))


def test_mu_grows_with_the_image() -> None:
    scheduler = load("FlowMatchEulerDiscrete")
    assert [scheduler.mu(tokens) for tokens in (256, 4096)] == [0.5, 1.15]
    assert scheduler.mu(1024) == pytest.approx(0.63)
    with pytest.raises(ConfigError, match="no base_shift"):
        load("DDIM").mu(256)


def test_options_of_the_sampler() -> None:
    config = {"_class_name": "DDIMScheduler"}
    assert from_config(config, eta=0.5).sampler == samplers.DDIM(eta=0.5)
    with pytest.raises(ConfigError, match="s_churn is no option of ddim; it has eta"):
        from_config(config, s_churn=1.0)
    with pytest.raises(ConfigError, match="eta"):
        from_config(config, eta=2.0)


def test_compatible_changes_no_numbers_where_diffusers_follows_the_paper() -> None:
    config = {"_class_name": "DDIMScheduler"}
    x = np.random.default_rng(0).standard_normal((1, 2, 2, 1))
    runs = [from_config(config, c).sample(lambda x, t: np.tanh(x), x, 20) for c in (False, True)]
    np.testing.assert_array_equal(*runs)
