"""What a run counts: pictures, and percentiles in a bounded window."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.states import WINDOW_FRAMES, Statistics


def test_nothing_measured_is_null_not_zero() -> None:
    told = Statistics().to_mapping()
    assert told["latency_ms"] == {"p50": None, "p99": None}
    assert told["skew_ms"] == {"p50": None, "p99": None}
    assert told["frames"] == 0


def test_latency_is_from_capture_to_now_and_skew_has_no_sign() -> None:
    statistics = Statistics()
    for skew_ms in (-30.0, 10.0, -20.0):
        statistics.add(time.monotonic_ns() - 50_000_000, skew_ms, is_held=skew_ms < -25)
    told = statistics.to_mapping()
    assert told["latency_ms"]["p50"] == pytest.approx(50, abs=40)
    assert told["latency_ms"]["p50"] >= 50
    assert told["skew_ms"] == {"p50": 20.0, "p99": 30.0}
    assert (told["frames"], told["held"]) == (3, 1)


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=300))
def test_percentiles_are_values_that_occurred(skews_ms: list[float]) -> None:
    statistics = Statistics()
    for skew_ms in skews_ms:
        statistics.add(0, skew_ms)
    told = statistics.to_mapping()["skew_ms"]
    sizes = sorted(round(abs(skew_ms), 3) for skew_ms in skews_ms)
    assert told["p50"] in sizes
    assert sum(size <= told["p50"] for size in sizes) >= len(sizes) / 2
    assert sum(size <= told["p99"] for size in sizes) >= 0.99 * len(sizes)


def test_the_window_forgets_what_is_old() -> None:
    statistics = Statistics()
    statistics.add(0, 999.0)
    for _ in range(WINDOW_FRAMES):
        statistics.add(time.monotonic_ns(), 1.0)
    assert statistics.to_mapping()["skew_ms"]["p99"] == 1.0
    assert statistics.frames == WINDOW_FRAMES + 1


def test_rates_up_to_240_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    statistics = Statistics()
    for _ in range(10 * 240):
        now_s += 1 / 240
        statistics.add(0, None)
    assert statistics.fps() == pytest.approx(240, abs=0.3)


def test_frames_a_second_are_those_of_the_elapsed_time() -> None:
    statistics = Statistics()
    for _ in range(20):
        statistics.add(0, None)
    time.sleep(0.2)
    assert 20 / 1.5 < statistics.fps() <= 20 / 0.2
