"""The inbox of the loop: what a camera's thread leaves there, and the wait for a frame that is on its way."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from irvis_runtime.cameras.frames import FULL_RANGE, Frame
from irvis_runtime.cameras.inbox import Inbox
from irvis_runtime.cameras.pairing import KEPT_FRAMES

MS = 1_000_000


def frame(time_ns: int = 0) -> Frame:
    return Frame(np.zeros((2, 2), np.uint8), None, time_ns, FULL_RANGE, is_full_range=True)


def times(frames: list[Frame]) -> list[int]:
    return [frame.time_ns for frame in frames]


def test_the_newest_visible_frame_and_the_last_infrared_ones_are_taken_once() -> None:
    inbox = Inbox()
    for time_ns in range(KEPT_FRAMES + 2):
        inbox.put_visible(frame(time_ns))
        inbox.put_infrared(frame(time_ns))
    visible, infrared = inbox.take(0)
    assert visible is not None
    assert visible.time_ns == KEPT_FRAMES + 1
    assert times(infrared) == list(range(2, KEPT_FRAMES + 2))
    assert inbox.dropped == {"infrared": 2, "visible": KEPT_FRAMES + 1}
    assert inbox.take(0) == (None, [])


@pytest.mark.parametrize(("wakes", "wait_s"), [(True, 60.0), (False, 0.2)])
def test_an_infrared_frame_alone_wakes_only_where_it_is_the_picture(wakes: bool, wait_s: float) -> None:
    inbox = Inbox()
    inbox.wakes_for_infrared = wakes
    late = threading.Timer(0.05, inbox.put_infrared, [frame()])
    late.start()
    start_s = time.monotonic()
    visible, _ = inbox.take(wait_s)
    assert visible is None
    assert (time.monotonic() - start_s >= wait_s) == (not wakes)
    late.join()


def test_infrared_frames_that_woke_nobody_are_taken_with_the_next() -> None:
    inbox = Inbox()
    inbox.wakes_for_infrared = False
    inbox.put_infrared(frame(1))
    inbox.put_infrared(frame(2))
    assert times(inbox.take(0.01)[1]) == [1, 2]
    inbox.put_infrared(frame(3))
    inbox.wakes_for_infrared = True
    assert times(inbox.take(60.0)[1]) == [3]


def test_a_frame_that_is_awaited_wakes_and_one_that_is_here_is_not_waited_for() -> None:
    inbox = Inbox()
    inbox.wakes_for_infrared = False
    late = threading.Timer(0.1, inbox.put_infrared, [frame(7)])
    late.start()
    assert times(inbox.await_infrared(time.monotonic_ns() + 30_000 * MS, 60.0)) == [7]
    late.join()
    # Its delay since its capture was the machine's uptime: the next one's is told anew.
    now_ns = time.monotonic_ns()
    inbox.put_infrared(frame(now_ns))
    assert times(inbox.await_infrared(now_ns, 60.0)) == [now_ns]


def test_what_cannot_come_in_time_is_not_waited_for() -> None:
    inbox = Inbox()
    start_s = time.monotonic()
    assert inbox.await_infrared(time.monotonic_ns() + 120_000 * MS, 60.0) == []
    # Frames come two minutes after their capture: the one of now is not due within the minute.
    inbox.put_infrared(frame(time.monotonic_ns() - 120_000 * MS))
    inbox.take(0)
    assert inbox.await_infrared(time.monotonic_ns(), 60.0) == []
    assert time.monotonic() - start_s < 60


def test_a_frame_that_stays_away_is_given_up() -> None:
    inbox = Inbox()
    assert inbox.await_infrared(time.monotonic_ns(), 60.0) == []
    assert inbox.await_infrared(time.monotonic_ns() + 50 * MS, 60.0) == []


def test_what_should_have_come_long_ago_is_not_waited_for() -> None:
    inbox = Inbox()
    overdue_ns, start_s = time.monotonic_ns() - 60_000 * MS, time.monotonic()
    assert inbox.await_infrared(overdue_ns, 60.0) == []
    assert time.monotonic() - start_s < 50


def test_a_further_visible_frame_ends_the_wait() -> None:
    inbox = Inbox()
    further = threading.Timer(0.1, inbox.put_visible, [frame(7)])
    further.start()
    assert inbox.await_infrared(time.monotonic_ns() + 50_000 * MS, 60.0) == []
    further.join()
    visible, _ = inbox.take(0)
    assert visible is not None
