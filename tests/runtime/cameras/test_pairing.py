"""Pairing by time, without GStreamer: properties over random clocks, and the holds of a silent camera."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.cameras.pairing import KEPT_FRAMES, KEPT_NS, Pairing
from irvis_runtime.rig import LimitsConfig

MS = 1_000_000


@dataclass(frozen=True)
class Tick:
    time_ns: int


def paired(times_ms: list[float], max_skew_ms: float = 20.0, hold_ms: float = 100.0) -> Pairing[Tick]:
    pairing: Pairing[Tick] = Pairing(max_skew_ms, hold_ms)
    for time_ms in times_ms:
        pairing.add(Tick(round(time_ms * MS)))
    return pairing


def test_no_infrared_frame_gives_no_partner() -> None:
    assert paired([]).choose(0) is None
    assert paired([]).newest() is None


def test_the_nearest_frame_is_chosen_and_the_skew_has_a_sign() -> None:
    choice = paired([0, 33, 66, 99]).choose(70 * MS)
    assert choice is not None
    assert choice.frame == Tick(66 * MS)
    assert choice.skew_ms == -4.0
    assert not choice.is_held


@pytest.mark.parametrize(
    ("visible_ms", "is_pair", "is_held"),
    [(120, True, False), (121, True, True), (200, True, True), (201, False, False), (80, True, False)],
)
def test_beyond_the_skew_the_last_frame_is_held_and_then_given_up(
    visible_ms: int, is_pair: bool, is_held: bool
) -> None:
    choice = paired([100]).choose(visible_ms * MS)
    assert (choice is not None) == is_pair
    assert (choice is not None and choice.is_held) == is_held


def test_a_frame_from_the_far_future_is_no_partner() -> None:
    assert paired([100]).choose(79 * MS) is None


def test_frames_that_were_never_chosen_are_counted_when_they_leave() -> None:
    pairing = paired(list(range(KEPT_FRAMES)))
    assert pairing.choose(0) is not None
    for time_ms in range(KEPT_FRAMES, KEPT_FRAMES + 3):
        pairing.add(Tick(time_ms * MS))
    assert pairing.unused == 2


def test_a_clock_that_goes_back_starts_anew() -> None:
    pairing = paired([100, 133, 50])
    choice = pairing.choose(130 * MS)
    assert choice is not None
    assert choice.frame == Tick(50 * MS)
    assert pairing.unused == 2


def test_the_newest_frame_is_the_last_added() -> None:
    assert paired([1, 2, 3]).newest() == Tick(3 * MS)


@pytest.mark.parametrize(
    ("infrared_ms", "visible_ms", "due_ms"),
    [
        ([0, 33, 66], 99, 99),
        ([0, 33, 66], 83, 99),
        ([0, 33, 66], 115, 99),
        ([0, 33, 66], 82, None),  # the last is nearer
        ([0, 33, 66], 60, None),
        ([0, 33, 66], 300, 99),  # whether it may still come is the inbox's to say
        ([0, 33, 66, 132, 165], 198, 198),  # one that was lost does not change the interval
        ([0], 33, None),
        ([], 33, None),
    ],
)
def test_a_frame_is_due_where_it_will_be_nearer_than_the_last(
    infrared_ms: list[float], visible_ms: int, due_ms: int | None
) -> None:
    due_ns = paired(infrared_ms).due_ns(visible_ms * MS)
    assert due_ns == (None if due_ms is None else due_ms * MS)


@given(st.floats(1, 200), st.floats(0, 2000), st.integers(2, KEPT_FRAMES + 3))
def test_of_a_steady_camera_with_its_due_frame_the_nearest_is_at_most_half_an_interval_away(
    interval_ms: float, visible_ms: float, count: int
) -> None:
    pairing = paired([index * interval_ms for index in range(count)], max_skew_ms=1e9)
    last_ms = (count - 1) * interval_ms
    due_ns = pairing.due_ns(round(visible_ms * MS))
    if due_ns is not None:
        assert last_ms < visible_ms
        assert due_ns == pytest.approx((last_ms + interval_ms) * MS, abs=2 * MS / 1e3)
        assert abs(due_ns - visible_ms * MS) < visible_ms * MS - last_ms * MS + 1e4
    elif last_ms <= visible_ms:
        choice = pairing.choose(round(visible_ms * MS))
        assert choice is not None
        assert abs(choice.skew_ms) <= interval_ms / 2 + 0.01


@given(st.floats(0, 115), st.floats(0, 33), st.floats(0, 60), st.floats(8.7, 9))
def test_a_camera_of_9_hz_serves_one_of_30_hz_at_the_rigs_defaults(
    infrared_ms: float, visible_ms: float, later_ms: float, rate_hz: float
) -> None:
    """Each visible frame finds a pair that is not held, its skew within a period of the slow camera.

    As in life the infrared frames arrive in turn, and later than the visible ones: none from the future is
    there to be chosen.
    """
    limits = LimitsConfig()
    pairing: Pairing[Tick] = Pairing(limits.max_skew_ms, limits.hold_ms)
    captures = [infrared_ms + index * 1000 / rate_hz for index in range(20)]
    skews_ms = []
    for index in range(6, 60):
        now_ms = visible_ms + index * 1000 / 30
        while captures and captures[0] + later_ms <= now_ms:
            pairing.add(Tick(round(captures.pop(0) * MS)))
        choice = pairing.choose(round(now_ms * MS))
        assert choice is not None
        assert not choice.is_held
        skews_ms.append(abs(choice.skew_ms))
    assert max(skews_ms) <= 1000 / rate_hz + later_ms + 0.01
    # At most those that came before the first visible frame.
    assert pairing.unused <= 2


@pytest.mark.parametrize(("rate_hz", "late_ms"), [(60, 200), (60, 300), (120, 200), (30, 420), (9, 420)])
def test_a_visible_camera_that_is_late_finds_the_frame_of_its_time(rate_hz: int, late_ms: int) -> None:
    """As one behind a network, whose `latency_ms` the rig tells."""
    pairing = paired([])
    skews_ms = []
    for index in range(3 * rate_hz):
        now_ms = index * 1000 / rate_hz
        pairing.add(Tick(round(now_ms * MS)))
        choice = pairing.choose(round((now_ms - late_ms) * MS))
        if now_ms > late_ms:
            assert choice is not None
            skews_ms.append(abs(choice.skew_ms))
    assert max(skews_ms) <= 500 / rate_hz


def test_frames_that_nobody_asks_for_do_not_pile_up() -> None:
    pairing = paired([])
    for index in range(500):
        pairing.add(Tick(index * 5 * MS))
    assert pairing.unused == 500 - KEPT_FRAMES
    slow = paired([0, 2000, 4000])
    assert slow.unused == 1


times = st.lists(st.integers(0, 2000), min_size=1, max_size=30, unique=True).map(sorted)


def kept(infrared_ms: list[int]) -> list[int]:
    """The last second's, and two at least."""
    last_ms = infrared_ms[-1]
    young = [t for t in infrared_ms if last_ms - t <= KEPT_NS / MS]
    return max(young, infrared_ms[-2:], key=len)


@given(times, st.integers(0, 2000), st.integers(0, 300), st.integers(0, 1500))
def test_a_choice_is_the_nearest_kept_frame_within_the_limits(
    infrared_ms: list[int], visible_ms: int, max_skew_ms: int, hold_ms: int
) -> None:
    choice = paired([float(t) for t in infrared_ms], max_skew_ms, hold_ms).choose(visible_ms * MS)
    skews = [t - visible_ms for t in kept(infrared_ms)]
    least = min(abs(skew) for skew in skews)
    if choice is None:
        assert least > max_skew_ms
        assert least > hold_ms or least in skews
        return
    assert abs(choice.skew_ms) == least
    assert choice.is_held == (least > max_skew_ms)
    assert not choice.is_held or -hold_ms <= choice.skew_ms <= 0


@given(times, st.lists(st.integers(0, 2000), max_size=10))
def test_every_frame_is_kept_chosen_or_counted(infrared_ms: list[int], visible_ms: list[int]) -> None:
    pairing = paired([])
    chosen: set[int] = set()
    for time_ms in infrared_ms:
        pairing.add(Tick(time_ms * MS))
        for moment in visible_ms:
            choice = pairing.choose(moment * MS)
            if choice is not None:
                chosen.add(choice.frame.time_ns)
    here = {frame.time_ns for frame in pairing._frames}
    gone = {t * MS for t in infrared_ms} - here
    assert pairing.unused == len(gone - chosen)
