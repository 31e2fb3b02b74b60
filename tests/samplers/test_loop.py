"""The loop: starts, noise, callbacks, stops, errors, threads and batches."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sampler_cases import model

import pydiff
from pydiff import random
from pydiff.diffusion import Denoiser, schedules
from pydiff.errors import ConfigError, NonFiniteError, ShapeError
from pydiff.samplers import DDIM, DDPM, SAMPLERS, Sampler, sample

SHAPE = (3, 4, 4, 2)
SCHEDULE = schedules.linear()
DENOISER = Denoiser(model, SCHEDULE, clip=1.0)
STOCHASTIC = [DDPM(), DDPM("fixed_large"), DDIM(1.0)]


def test_the_public_name() -> None:
    assert pydiff.sample is sample


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_name_is_the_sampler_with_default_options(name: str) -> None:
    options: dict[str, Any] = {"x_init": random.normal(3, SHAPE), "steps": 5}
    by_name = sample(DENOISER, SHAPE, name, **options)
    np.testing.assert_array_equal(by_name, sample(DENOISER, SHAPE, SAMPLERS[name](), **options))
    assert by_name.shape == SHAPE and by_name.dtype == np.float32


def test_samplers_declare_what_they_are() -> None:
    for name, cls in SAMPLERS.items():
        sampler = cls()
        assert sampler.name == name and "arXiv" in sampler.paper
        assert sampler.order >= 1 and sampler.evaluations >= 1
        assert isinstance(sampler.stochastic, bool)
        with pytest.raises(AttributeError):
            sampler.name = "x"  # type: ignore[misc]
    assert not DDIM().stochastic and DDIM(0.1).stochastic


@pytest.mark.parametrize(
    "given, dtype",
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.int64, np.float32),
    ],
)
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_the_state_keeps_its_dtype(given: type, dtype: type, sampler: str) -> None:
    seen = set()

    def watched(x: np.ndarray, t: int) -> np.ndarray:
        seen.add(x.dtype)
        return 0.5 * x.astype(np.float64)

    x = np.ones(SHAPE, given)
    result = sample(Denoiser(watched, SCHEDULE), x_init=x, sampler=sampler, steps=4)
    assert result.dtype == dtype and seen == {np.dtype(dtype)}
    assert (x == 1).all()


def test_without_x_init_it_starts_from_the_stream_init() -> None:
    x = random.normal(9, SHAPE, stream="init")
    from_seed = sample(DENOISER, SHAPE, steps=4, seed=9)
    np.testing.assert_array_equal(from_seed, sample(DENOISER, x_init=x, steps=4))
    np.testing.assert_array_equal(from_seed, sample(DENOISER, SHAPE, x_init=x, steps=4))


def test_noise_is_keyed_by_seed_and_step() -> None:
    def by_hand(step: int, shape: tuple[int, ...]) -> np.ndarray:
        return random.normal(9, shape, step=step, stream="sampler")

    expected = sample(DENOISER, SHAPE, "ddpm", steps=4, seed=9, noise=by_hand)
    np.testing.assert_array_equal(sample(DENOISER, SHAPE, "ddpm", steps=4, seed=9), expected)


@pytest.mark.parametrize("sampler", STOCHASTIC, ids=repr)
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_noise_is_drawn_only_where_it_enters(sampler: Sampler, spacing: str) -> None:
    asked = []

    def noise(step: int, shape: tuple[int, ...]) -> np.ndarray:
        asked.append((step, shape))
        return np.zeros(shape)

    sample(DENOISER, SHAPE, sampler, steps=7, spacing=spacing, noise=noise)
    assert asked == [(step, SHAPE) for step in range(6)]  # none in the step onto clean data


def test_a_deterministic_sampler_draws_none() -> None:
    def noise(step: int, shape: tuple[int, ...]) -> np.ndarray:
        raise AssertionError("drawn")

    sample(DENOISER, SHAPE, "ddim", steps=7, noise=noise)


@pytest.mark.parametrize("sampler", [*STOCHASTIC, DDIM()], ids=repr)
def test_an_image_is_the_same_alone_and_in_any_batch(sampler: Sampler) -> None:
    batch = sample(DENOISER, (5, 4, 4, 2), sampler, steps=6, seed=2)
    for i in range(5):
        alone = sample(DENOISER, (1, 4, 4, 2), sampler, steps=6, seed=2, first_image=i)
        np.testing.assert_array_equal(alone[0], batch[i])


@pytest.mark.parametrize("sampler", [*STOCHASTIC, DDIM()], ids=repr)
def test_eight_threads_sharing_a_sampler_give_what_one_gives(sampler: Sampler) -> None:
    def one(seed: int) -> bytes:
        return sample(DENOISER, SHAPE, sampler, steps=12, seed=seed).tobytes()

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(one, range(32)))
    assert together == [one(seed) for seed in range(32)]


def test_callback_sees_every_step() -> None:
    calls: list[tuple[int, Any, np.ndarray, np.ndarray]] = []
    x = random.normal(1, SHAPE)
    result = sample(
        DENOISER, x_init=x, grid=[999, 500, 20, -1], callback=lambda *call: calls.append(call)
    )
    assert [(step, t) for step, t, _, _ in calls] == [(0, 999), (1, 500), (2, 20)]
    assert all(type(t) is int for _, t, _, _ in calls)
    assert calls[-1][2] is result
    before = [x, calls[0][2], calls[1][2]]
    for (_, t, _, x0), state in zip(calls, before, strict=True):
        np.testing.assert_array_equal(x0, DENOISER(state, t))


def test_states_given_to_the_callback_may_be_kept() -> None:
    kept: list[np.ndarray] = []
    copies: list[np.ndarray] = []

    def callback(step: int, t: int, x: np.ndarray, x0: np.ndarray) -> None:
        kept.extend((x, x0))
        copies.extend((x.copy(), x0.copy()))

    sample(DENOISER, SHAPE, "ddpm", steps=6, callback=callback)
    for a, b in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_callback_that_returns_false_stops_the_run() -> None:
    calls = []

    def callback(step: int, t: int, x: np.ndarray, x0: np.ndarray) -> bool:
        calls.append(x)
        return step < 2

    result = sample(DENOISER, SHAPE, steps=10, callback=callback)
    assert len(calls) == 3 and result is calls[-1]


@pytest.mark.parametrize("value", [None, 0, "", True])
def test_only_false_stops(value: Any) -> None:
    calls = []
    sample(DENOISER, SHAPE, steps=4, callback=lambda *call: calls.append(1) or value)
    assert len(calls) == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_non_finite_predictions_are_named(bad: float, clip: float | None) -> None:
    def broken(x: np.ndarray, t: int) -> np.ndarray:
        y = 0.1 * x
        if t <= 500:
            y[1, 0, 0, 0] = bad
        return y

    times = [999, 900, 800, 700, 600, 400, 300, 9]
    with pytest.raises(NonFiniteError, match=r"1 NaN or .* of 96 at step 5, t = 400, sampler ddim"):
        sample(Denoiser(broken, SCHEDULE, clip=clip), SHAPE, grid=times)


def test_a_state_that_overflows_is_never_returned() -> None:
    def noise(step: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, np.inf)

    with pytest.raises(NonFiniteError, match="sampler ddpm"):
        sample(DENOISER, SHAPE, "ddpm", grid=[999, 500], noise=noise)


def test_an_error_of_the_model_passes_through_and_closes_the_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            events.append(f"open {options['total']} {options['disable']}")

        def update(self) -> None:
            events.append("update")

        def close(self) -> None:
            events.append("close")

    def interrupted(x: np.ndarray, t: int) -> np.ndarray:
        if t < 500:
            raise KeyboardInterrupt
        return x

    monkeypatch.setattr("tqdm.tqdm", Bar)
    with pytest.raises(KeyboardInterrupt):
        sample(Denoiser(interrupted, SCHEDULE), SHAPE, grid=[999, 700, 300, 9], progress=True)
    assert events == ["open 3 None", "update", "update", "close"]


def test_progress_is_silent_unless_asked_and_on_a_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    sample(DENOISER, SHAPE, steps=4)
    sample(DENOISER, SHAPE, steps=4, progress=True)
    assert capfd.readouterr() == ("", "")


def test_tqdm_is_not_imported_for_a_run_without_a_bar() -> None:
    import subprocess

    code = (
        "import sys, numpy, pydiff; s = pydiff.schedules.linear();"
        "pydiff.sample(pydiff.Denoiser(lambda x, t: x, s), (1, 2), steps=2, spacing='trailing');"
        "print('tqdm' in sys.modules, 'PIL' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_starting_from_noise_where_there_is_none_warns() -> None:
    with pytest.warns(UserWarning, match=r"t = 500, where the SNR is 0\.0") as seen:
        sample(DENOISER, SHAPE, steps=2)
    assert seen[0].filename == __file__


def test_points_are_as_good_as_images() -> None:
    assert sample(DENOISER, (6, 2), steps=3, spacing="trailing").shape == (6, 2)


@pytest.mark.parametrize("sampler", ["eule", "DDIM", "", None, 3, object()])
def test_unknown_samplers_are_errors_that_list_the_known(sampler: Any) -> None:
    with pytest.raises(ConfigError, match="ddpm, ddim"):
        sample(DENOISER, SHAPE, sampler)


def test_a_class_in_place_of_an_object_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"pass DDIM\(\)"):
        sample(DENOISER, SHAPE, DDIM)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (0, 2), (2, -1), (2, 1.5), (2, "3")])
def test_bad_shapes_are_errors(shape: Any) -> None:
    with pytest.raises(ShapeError, match="shape"):
        sample(DENOISER, shape)


def test_bad_starts_are_errors() -> None:
    with pytest.raises(ConfigError, match="x_init"):
        sample(DENOISER)
    with pytest.raises(ShapeError, match=r"\(2, 2\).*\(3, 3\)"):
        sample(DENOISER, (3, 3), x_init=np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="x_init"):
        sample(DENOISER, x_init=np.zeros(()))
    with pytest.raises(NonFiniteError, match="x_init"):
        sample(DENOISER, x_init=np.full((2, 2), np.nan))


def test_other_bad_arguments_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"pydiff\.Denoiser\(model, schedule"):
        sample(model, SHAPE)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="callback"):
        sample(DENOISER, SHAPE, callback=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seed"):
        sample(DENOISER, SHAPE, seed=-1)
    with pytest.raises(ShapeError, match=r"noise\(step=0.*\(2,\)"):
        sample(DENOISER, SHAPE, "ddpm", noise=lambda step, shape: np.zeros(2))


@pytest.mark.parametrize("start", [80.0, 14.0])
def test_a_run_starts_with_the_noise_of_its_first_time(start: float) -> None:
    """On a variance exploding schedule a grid may start below its end."""
    seen: list[np.ndarray] = []

    def network(x: np.ndarray, t: float) -> np.ndarray:
        seen.append(x)
        return np.zeros_like(x)

    denoiser = Denoiser(network, schedules.edm(), "sample")
    sample(denoiser, (2, 50), grid=[start, 0.0], seed=3)
    expected = start * random.normal(3, (2, 50), stream="init")
    np.testing.assert_allclose(seen[0], expected, rtol=1e-6)
