"""A camera leaves at once and comes back when it is steady."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.cameras.presence import Presence


def test_the_first_frames_count_at_once() -> None:
    presence = Presence(0.5, 1.0)
    assert not presence.is_away(100.0)
    assert presence.take(3.0)
    assert not presence.is_away(3.4)
    assert presence.is_away(3.6)


def test_after_an_absence_frames_count_when_they_have_come_steadily() -> None:
    presence = Presence(0.5, 1.0)
    presence.take(0.0)
    counted = [presence.take(time_s) for time_s in np.arange(2.0, 3.6, 0.25)]
    assert counted == [False] * 4 + [True] * 3
    assert not presence.is_away(3.5)


def test_a_pause_while_settling_begins_anew() -> None:
    presence = Presence(0.5, 1.0)
    for time_s in (0.0, 2.0, 2.4, 2.8, 3.9):
        presence.take(time_s)
    assert presence.is_away(3.9)
    assert [presence.take(time_s) for time_s in (4.3, 4.7, 5.0)] == [False, False, True]


def test_without_settling_the_first_frame_brings_it_back() -> None:
    presence = Presence(0.5, 0.0)
    presence.take(0.0)
    assert presence.take(9.0)


def test_a_slow_camera_is_waited_for_by_its_own_period() -> None:
    presence = Presence(0.5, 1.0)
    assert all(presence.take(float(time_s), 1.0) for time_s in range(5))
    assert not presence.is_away(6.0)
    assert presence.is_away(6.6)


@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=60))
def test_a_camera_that_counts_has_been_steady_for_as_long_as_it_must(pauses_s: list[float]) -> None:
    presence, now_s = Presence(0.5, 1.0), 0.0
    presence.take(now_s)
    last_pause_s = None
    for pause_s in pauses_s:
        now_s += pause_s
        if pause_s > 0.5:
            last_pause_s = now_s
        assert presence.take(now_s) == (last_pause_s is None or now_s - last_pause_s >= 1.0)
