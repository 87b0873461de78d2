"""CPU time of a live run's stages, for `irvis live --profile`."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

KEPT = 4096


class StageTimes:
    """Collects the CPU time that a thread spends in each named stage; the last 4096 of each are kept.

    Waiting costs nothing; what a stage has other threads do (a network's) is not seen.
    """

    def __init__(self) -> None:
        self._ns: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._lock = threading.Lock()

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """Measures a block of one stage."""
        return _Span(self, name)

    def add(self, name: str, cpu_ns: int) -> None:
        """Takes one measured time."""
        with self._lock:
            self._ns[name].append(cpu_ns)

    def clear(self) -> None:
        """Forgets what has been measured."""
        with self._lock:
            self._ns.clear()

    def to_mapping(self) -> dict[str, dict[str, float]]:
        """Returns per stage its count, median, p99 and sum, CPU milliseconds, in the order of first use."""
        with self._lock:
            stages = {name: sorted(values) for name, values in self._ns.items()}
        return {
            name: {
                "count": len(values),
                "p50_ms": round(values[len(values) // 2] / 1e6, 4),
                "p99_ms": round(values[min(len(values) - 1, len(values) * 99 // 100)] / 1e6, 4),
                "total_ms": round(sum(values) / 1e6, 2),
            }
            for name, values in stages.items()
        }


class NoTimes(StageTimes):
    """Measures nothing and costs next to nothing."""

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """Does nothing."""
        return _NOTHING


class _Span:
    def __init__(self, times: StageTimes, name: str) -> None:
        self._times, self._name = times, name

    def __enter__(self) -> None:
        self._started_ns = time.thread_time_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._times.add(self._name, time.thread_time_ns() - self._started_ns)


_NOTHING = nullcontext()
NO_TIMES = NoTimes()
