"""Closing what may hang: a stopped client or a dead disk holds a thread of its own, never its output's."""

from __future__ import annotations

import threading
from collections.abc import Callable

from irvis_runtime.errors import BackendError

WAIT_S = 0.5
MAX_HUNG = 4


class Closing:
    """Runs closings in daemon threads and counts those that hang."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._threads: list[threading.Thread] = []

    @property
    def hung(self) -> int:
        """How many closings have not come back yet."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return len(self._threads)

    def run(self, close: Callable[[], None]) -> None:
        """Calls `close`, waits half a second for it, and leaves it behind where it hangs."""
        thread = threading.Thread(target=close, name=f"{self._name}-closing", daemon=True)
        self._threads.append(thread)
        thread.start()
        thread.join(WAIT_S)

    def check(self) -> None:
        """BackendError where so many hang that opening once more would only add another."""
        if self.hung >= MAX_HUNG:
            raise BackendError(
                f"{MAX_HUNG} closings of it hang; end what holds it (a stopped client, a dead disk)"
            )
