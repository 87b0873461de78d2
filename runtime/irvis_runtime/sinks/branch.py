"""One output in a thread of its own: slow, stuck or dead, it holds up neither the picture nor the others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import Platform
from irvis_runtime.rig import View
from irvis_runtime.stages import NO_TIMES, StageTimes

from .closing import Closing
from .outlet import Outlet, Sink
from .picture import Picture

POLL_S = 0.1
ROOM_POLL_S = 0.004
CLOSE_S = 5.0
BACK_OFF_S = (0.5, 8.0)


class Branch:
    """Takes pictures by `push` and sends them to its sink; after a failure it opens the sink again.

    A picture of another size or colorimetry than the last opens the sink anew, a recording in a further file.
    A sink that takes no picture for its `stall_s` is closed in the background and opened again. BackendError
    where the sink can never open here.
    """

    def __init__(
        self,
        sink: Sink,
        platform: Platform,
        report: Callable[[str], None],
        *,
        view: View = "fused",
        times: StageTimes = NO_TIMES,
    ) -> None:
        sink.check(platform)
        self.uri = sink.uri
        self.view: View = view
        """What the loop pushes here."""
        self.dropped = 0
        """Pictures that were not sent: the sink was slow, or closed after a failure."""
        self.sent = 0
        self.stalls = 0
        """How often the sink was stuck."""
        self.reason = ""
        """Why the sink is closed now, or nothing."""
        self.defect: Exception | None = None
        """What ended the thread though nothing should; the loop raises it."""
        self._sink, self._platform, self._report, self._times = sink, platform, report, times
        self._waiting: deque[Picture] = deque()
        self._condition = threading.Condition()
        self._stopping = threading.Event()
        self._outlet: Outlet | None = None
        self._closing = Closing(f"output-{sink.uri}")
        self._opened_ns = self._sent_ns = 0
        self._stopped_s = 0.0
        self._retry_at_s, self._pause_s = 0.0, BACK_OFF_S[0]
        self._thread = threading.Thread(target=self._run, name=f"output-{sink.uri}", daemon=True)

    @property
    def state(self) -> str:
        """What the status file says of this output."""
        if self.reason:
            return f"closed: {self.reason}"
        return "open" if self.sent else "waiting"

    def set_view(self, view: View) -> None:
        """Has the output show another view from the next picture on; the sink stays open."""
        if view != self.view:
            self.view = view
            self._report(f"output {self.uri}: shows {view}")

    def start(self) -> None:
        """Starts the thread; the sink is opened by the first picture."""
        self._thread.start()

    def push(self, picture: Picture) -> None:
        """Takes the picture without waiting; the oldest that still waits makes room."""
        with self._condition:
            self._waiting.append(picture)
            if len(self._waiting) > self._sink.waiting_pictures:
                self._waiting.popleft()
                self.dropped += 1
            self._condition.notify()

    def stop(self) -> None:
        """Asks the output to close; `join` waits for it, so that several close at the same time."""
        self._stopped_s = time.monotonic()
        self._stopping.set()
        with self._condition:
            self._condition.notify()

    def join(self, timeout_s: float = 2 * CLOSE_S) -> None:
        """Waits for the end until `timeout_s` after `stop`; what hangs is left behind and reported."""
        if self._thread.ident is None:
            return
        self._thread.join(max(0.0, self._stopped_s + timeout_s - time.monotonic()))
        if self._thread.is_alive():
            self._report(
                f"output {self.uri}: did not close within {timeout_s:g} s; its last pictures may be missing"
            )

    def _run(self) -> None:
        try:
            self._run_until_stopped()
        except Exception as error:
            self.defect = error

    def _run_until_stopped(self) -> None:
        while not self._stopping.is_set() or self._waiting:
            picture, sent = self._next(), self.sent
            try:
                if picture is not None:
                    self._send(picture)
                self._check()
            except (BackendError, OSError) as error:
                self.dropped += picture is not None and self.sent == sent
                self._fail(str(error))
        try:
            self._close()
        except (BackendError, OSError) as error:
            self._fail(str(error))

    def _next(self) -> Picture | None:
        with self._condition:
            self._condition.wait_for(lambda: bool(self._waiting) or self._stopping.is_set(), POLL_S)
            return self._waiting.popleft() if self._waiting else None

    def _send(self, picture: Picture) -> None:
        if self._outlet is not None and self._outlet.is_over(picture):
            self._close()
        if self._outlet is None:
            if time.monotonic() < self._retry_at_s:
                self.dropped += 1
                return
            self._closing.check()
            self._outlet = self._sink.open(self._platform, picture)
            self._opened_ns = picture.time_ns
        self._wait_for_room(self._outlet)
        with self._times.stage(f"send {self.uri}"):
            self._outlet.push(picture)
        self._sent_ns = picture.time_ns
        self.sent += 1

    def _wait_for_room(self, outlet: Outlet) -> None:
        """BackendError where the sink has stopped, or is stuck."""
        stuck_at_s = time.monotonic() + self._sink.stall_s
        while not outlet.has_room():
            self._check()
            if time.monotonic() > stuck_at_s:
                self.stalls += 1
                raise BackendError(f"took no picture for {self._sink.stall_s:g} s")
            time.sleep(ROOM_POLL_S)

    def _check(self) -> None:
        """BackendError where the sink has stopped by itself; a sink that sends on is no longer failing."""
        if self._outlet is None:
            return
        reason = self._outlet.stop_reason()
        if reason is not None:
            raise BackendError(reason)
        if self.reason and self._sent_ns - self._opened_ns > 1_000_000_000:
            self.reason, self._pause_s = "", BACK_OFF_S[0]
            self._report(f"output {self.uri}: works again")

    def _fail(self, reason: str) -> None:
        self._retry_at_s = time.monotonic() + self._pause_s
        if not self.reason:
            self._report(f"output {self.uri}: {reason}; trying again in {self._pause_s:g} s")
        self._pause_s = min(2 * self._pause_s, BACK_OFF_S[1])
        self.reason = reason
        self._release()

    def _close(self) -> None:
        """Lets the last pictures out and closes the sink; BackendError where a recording is not complete."""
        if self._outlet is not None:
            self._outlet.finish(CLOSE_S)
            self._release()

    def _release(self) -> None:
        """Closes the outlet in the background, whatever holds it."""
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            self._closing.run(outlet.close)
