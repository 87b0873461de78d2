"""CPU time by stage: work counts, waiting does not, and nothing is measured unless it is asked for."""

from __future__ import annotations

import threading
import time

from irvis_runtime.stages import KEPT, NO_TIMES, StageTimes


def work(cpu_s: float) -> None:
    end_s = time.thread_time() + cpu_s
    while time.thread_time() < end_s:
        pass


def test_work_counts_and_waiting_does_not() -> None:
    times = StageTimes()
    with times.stage("busy"):
        work(0.02)
    with times.stage("idle"):
        time.sleep(0.2)
    told = times.to_mapping()
    assert list(told) == ["busy", "idle"]
    assert 20 <= told["busy"]["p50_ms"] < 100
    assert told["idle"]["p50_ms"] < 20


def test_percentiles_and_sums_of_many() -> None:
    times = StageTimes()
    for microseconds in range(1, 101):
        times.add("stage", microseconds * 1000)
    assert times.to_mapping()["stage"] == {"count": 100, "p50_ms": 0.051, "p99_ms": 0.1, "total_ms": 5.05}
    times.clear()
    assert times.to_mapping() == {}


def test_it_does_not_grow_and_takes_several_threads() -> None:
    times = StageTimes()

    def add() -> None:
        for _ in range(KEPT):
            times.add("stage", 1)

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times.to_mapping()["stage"]["count"] == KEPT


def test_without_a_profile_nothing_is_kept() -> None:
    with NO_TIMES.stage("stage"):
        pass
    assert NO_TIMES.to_mapping() == {}
