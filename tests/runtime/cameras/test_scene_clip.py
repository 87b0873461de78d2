"""The endless clip of a scene."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.cameras.scene_clip import SceneClip, there_and_back
from irvis_runtime.scenes.scene import Scene


@given(st.integers(0, 1000), st.integers(1, 50))
def test_the_walk_makes_single_steps_and_turns_at_both_ends(count: int, length: int) -> None:
    here, then = there_and_back(count, length), there_and_back(count + 1, length)
    assert 0 <= here < length
    assert abs(then - here) == (1 if length > 1 else 0)
    assert there_and_back(count + 2 * length - 2, length) == here


def test_a_picture_is_drawn_once_and_comes_again() -> None:
    clip = SceneClip(Scene(seed=2, height_px=32, width_px=48), "visible", fps=5.0)
    first_hw3 = clip.picture(0.0)
    assert first_hw3.shape == (32, 48, 3)
    assert clip.picture(0.02) is first_hw3
    assert not np.array_equal(clip.picture(1.0), first_hw3)
    assert clip.picture(3.6) is first_hw3
