"""The memory planner: no two live buffers overlap, and the arena is no larger than it need be."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from unet_cases import CASES, inputs

import pydiff
from pydiff.plan.memory import ALIGNMENT, Lifetime, place

lifetimes = st.builds(
    lambda size, first, length: Lifetime(size, first, first + length),
    st.integers(1, 5000),
    st.integers(0, 30),
    st.integers(0, 30),
)


def overlapping(lives, offsets):
    spans = [(o, o + life.size) for o, life in zip(offsets, lives, strict=True)]
    return [
        (i, j)
        for i in range(len(lives))
        for j in range(i)
        if lives[i].meets(lives[j]) and spans[i][0] < spans[j][1] and spans[j][0] < spans[i][1]
    ]


@given(st.lists(lifetimes, max_size=40))
def test_no_two_live_buffers_overlap(lives):
    offsets, size = place(lives)
    assert overlapping(lives, offsets) == []
    assert all(offset % ALIGNMENT == 0 for offset in offsets)
    assert all(o + life.size <= size for o, life in zip(offsets, lives, strict=True))
    padded = sum(-(-life.size // ALIGNMENT) * ALIGNMENT for life in lives)
    assert size <= padded


@given(st.lists(lifetimes, min_size=1, max_size=20))
def test_the_arena_holds_at_least_what_lives_at_once(lives):
    size = place(lives)[1]
    for at in range(61):
        assert size >= sum(life.size for life in lives if life.first <= at <= life.last)


def test_a_chain_needs_two_buffers():
    chain = [Lifetime(640, i, i + 1) for i in range(10)]
    assert place(chain)[1] == 2 * 640


def test_nothing_takes_nothing():
    assert place([]) == ([], 0)


def test_the_arena_of_a_network_is_smaller_than_its_buffers(build):
    given = inputs(CASES["plain"])
    plan = pydiff.compile(build(CASES["plain"]), given["x"], given["t"])
    program = plan._program
    lives, offsets = zip(*program.placed, strict=True)
    assert overlapping(lives, offsets) == []
    assert plan.arena_bytes < program.buffer_bytes / 3


def test_old_contents_of_the_arena_do_not_matter(build):
    given = inputs(CASES["plain"])
    plan = pydiff.compile(build(CASES["plain"]), given["x"], given["t"])
    x = given["x"].astype(np.float32)
    expected = plan(x, given["t"])
    assert np.isnan(plan(x * np.nan, given["t"])).all()
    np.testing.assert_array_equal(plan(x, given["t"]), expected)
