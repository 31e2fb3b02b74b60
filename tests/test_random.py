"""Counter-based numbers: keyed by (seed, image, step, element), with the right distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydiff import backend, random
from pydiff.errors import ConfigError, PydiffError


@given(st.integers(0, 2**64 - 1), st.integers(1, 6), st.integers(0, 1000), st.integers(1, 30))
def test_an_image_does_not_depend_on_its_batch(seed, batch, first, n):
    together = random.normal(seed, (batch, n), first_image=first, step=3)
    alone = [random.normal(seed, (1, n), first_image=first + i, step=3) for i in range(batch)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 63, 127, 128, 129, 256])
@pytest.mark.parametrize("draw", [random.normal, random.uniform])
def test_small_images_drawn_together_are_those_drawn_alone(draw, n):
    together = draw(5, (150, n), step=3, first_image=2**32 - 200)
    for i in (0, 1, 31, 32, 63, 64, 65, 127, 149):
        alone = draw(5, (1, 300), step=3, first_image=2**32 - 200 + i)
        np.testing.assert_array_equal(together[i], alone[0, :n])


def test_shape_does_not_matter_beyond_the_image():
    flat = random.uniform(5, (3, 4 * 5 * 2))
    np.testing.assert_array_equal(random.uniform(5, (3, 4, 5, 2)), flat.reshape(3, 4, 5, 2))
    np.testing.assert_array_equal(random.uniform(5, (3, 7)), flat[:, :7])


def test_every_part_of_the_key_changes_all_numbers():
    base = {"seed": 1, "step": 0, "stream": "init", "first_image": 0}
    keys = [base | change for change in (
        {}, {"seed": 2}, {"seed": 1 + 2**32}, {"step": 1}, {"stream": "sampler"},
        {"first_image": 9}, {"draw": 1}, {"draw": 256}, {"draw": 1, "step": 1},
    )]  # fmt: skip
    drawn = [random.uniform(shape=(1, 1000), dtype=np.float64, **key) for key in keys]
    for i, a in enumerate(drawn):
        assert not any(np.intersect1d(a, b).size for b in drawn[:i])


def test_float32_is_float64_rounded():
    for draw in (random.normal, random.uniform):
        wide, narrow = draw(3, (4, 999), dtype=np.float64), draw(3, (4, 999))
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, wide, rtol=6e-8)


def test_moments_and_range():
    n = 400_000
    u = random.uniform(11, (4, n // 4), dtype=np.float64)
    z = random.normal(11, (4, n // 4), dtype=np.float64)
    assert u.min() > 0 and u.max() < 1
    # Five standard errors of each estimate.
    assert abs(u.mean() - 0.5) < 5 * math.sqrt(1 / 12 / n)
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / n)
    assert abs((z[:, 0::2] * z[:, 1::2]).mean()) < 5 / math.sqrt(n / 2)


def test_normal_follows_the_distribution_function():
    """Kolmogorov-Smirnov: the distance of n = 10^5 stays below 2 / sqrt(n) (probability 0.9993)."""
    z = np.sort(random.normal(2, (10, 10_000), dtype=np.float64), axis=None)
    cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z])
    rank = np.arange(z.size) / z.size
    assert max(np.abs(cdf - rank).max(), np.abs(cdf - rank - 1 / z.size).max()) < 2 / math.sqrt(
        z.size
    )


def test_both_backends_give_the_same_numbers():
    pytest.importorskip("pydiff._native", reason="the native module is not built")
    for draw in (random.normal, random.uniform):
        drawn = []
        for name in ("cpu", "reference"):
            with backend.use(name):
                drawn.append(draw(2**63 + 5, (3, 5, 5, 3), step=17, stream="train_noise"))
        np.testing.assert_allclose(*drawn, rtol=1.2e-7, atol=1e-14)


@pytest.mark.parametrize("name", backend.registry.NAMES)
def test_uniform_excludes_one_in_float32(name):
    """Element 30849 of this draw is 0.999999995, which rounds to 1."""
    with backend.use(name):
        u = random.uniform(0, (1, 30850), step=9, first_image=57)
    assert u[0, -1] == np.nextafter(np.float32(1), np.float32(0))


@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(0, 50))
def test_permutation_is_one_and_changes_with_the_epoch(seed, n, epoch):
    order = random.permutation(seed, n, epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, random.permutation(seed, n, epoch))
    if n > 20:
        assert (order != random.permutation(seed, n, epoch + 1)).any()


def test_permutations_are_uniform():
    """All 24 orders of 4 elements, 2400 draws: chi-square below its 0.9999 quantile, 59."""
    orders = [tuple(random.permutation(0, 4, epoch)) for epoch in range(2400)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert counts.size == 24
    assert ((counts - 100) ** 2 / 100).sum() < 59


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"seed": 2**64},
        {"seed": True},
        {"seed": 1.5},
        {"stream": "noise"},
        {"shape": ()},
        {"shape": (-1, 3)},
        {"step": -1},
        {"step": 2**32},
        {"first_image": 2**32 - 1},
        {"draw": -1},
        {"draw": 2**24},
        {"draw": 0.5},
        {"dtype": np.int32},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(PydiffError):
        random.normal(**{"seed": 0, "shape": (2, 3)} | wrong)


def test_messages_name_what_is_allowed():
    with pytest.raises(ConfigError, match=r"seed is -1; allowed: 0 to 2\^64 - 1"):
        random.normal(-1, (1,))
    with pytest.raises(ConfigError, match="allowed: init, sampler, train_noise"):
        random.uniform(0, (1,), stream="x")
