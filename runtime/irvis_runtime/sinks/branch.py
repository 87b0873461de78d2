"""One output in a thread of its own: slow or dead, it holds up neither the picture nor another output."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import (
    Description,
    Platform,
    build_pipeline,
    gst,
    start_pipeline,
    stop_pipeline,
    stop_reason,
)
from irvis_runtime.stages import NO_TIMES, StageTimes

from .destinations import Sink
from .encoders import choose_encoder
from .picture import Picture, caps_text, even_size, nv12_buffer

TRIAL_SIZE_HW = (480, 640)
WAITING_PICTURES = 2
POLL_S = 0.1
CLOSE_S = 5.0
BACK_OFF_S = (0.5, 8.0)


class Branch:
    """Takes pictures by `push` and sends them to its sink; after a failure it opens the sink again.

    A picture of another size or colorimetry than the last opens the sink anew, a recording in a further file.
    BackendError where no encoder works.
    """

    def __init__(
        self, sink: Sink, platform: Platform, report: Callable[[str], None], times: StageTimes = NO_TIMES
    ) -> None:
        if sink.bitrate_kbps is not None:
            choose_encoder(platform, sink.bitrate_kbps, TRIAL_SIZE_HW)
        self.uri = sink.uri
        self.dropped = 0
        """Pictures that were not sent: the sink was slow, or closed after a failure."""
        self.sent = 0
        self.reason = ""
        """Why the sink is closed now, or nothing."""
        self.defect: Exception | None = None
        """What ended the thread though nothing should; the loop raises it."""
        self._sink, self._platform, self._report = sink, platform, report
        self._times = times
        self._waiting: deque[Picture] = deque()
        self._condition = threading.Condition()
        self._stopping = threading.Event()
        self._pipeline: Any = None
        self._caps = ""
        self._origin_ns = self._last_pts_ns = 0
        self._retry_at_s, self._pause_s = 0.0, BACK_OFF_S[0]
        self._thread = threading.Thread(target=self._run, name=f"output-{sink.uri}", daemon=True)

    @property
    def state(self) -> str:
        """What the status file says of this output."""
        if self.reason:
            return f"closed: {self.reason}"
        return "open" if self.sent else "waiting"

    def start(self) -> None:
        """Starts the thread; the sink is opened by the first picture."""
        self._thread.start()

    def push(self, picture: Picture) -> None:
        """Takes the picture without waiting; the oldest that still waits makes room."""
        with self._condition:
            self._waiting.append(picture)
            if len(self._waiting) > WAITING_PICTURES:
                self._waiting.popleft()
                self.dropped += 1
            self._condition.notify()

    def stop(self) -> None:
        """Asks the output to close; `join` waits for it, so that several close at the same time."""
        self._stopping.set()
        with self._condition:
            self._condition.notify()

    def join(self, timeout_s: float = CLOSE_S + 2.0) -> None:
        """Waits until the output is closed; one that hangs is left behind and reported."""
        if self._thread.ident is None:
            return
        self._thread.join(timeout_s)
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
            picture = self._next()
            try:
                if picture is not None:
                    self._send(picture)
                self._check()
            except BackendError as error:
                self._fail(str(error))
        try:
            self._close()
        except BackendError as error:
            self._fail(str(error))

    def _next(self) -> Picture | None:
        with self._condition:
            self._condition.wait_for(lambda: bool(self._waiting) or self._stopping.is_set(), POLL_S)
            return self._waiting.popleft() if self._waiting else None

    def _send(self, picture: Picture) -> None:
        caps = caps_text(picture)
        if self._pipeline is not None and caps != self._caps:
            self._close()
        if self._pipeline is None:
            if time.monotonic() < self._retry_at_s:
                self.dropped += 1
                return
            self._open(picture, caps)
        appsrc = self._pipeline.get_by_name("pictures")
        while appsrc.get_property("current-level-buffers") >= WAITING_PICTURES:
            self._check()
            if self._stopping.wait(0.002):
                self.dropped += 1
                return
        with self._times.stage(f"send {self.uri}"):
            self._hand_over(picture, appsrc)

    def _hand_over(self, picture: Picture, appsrc: Any) -> None:
        buffer = nv12_buffer(picture)
        # A camera that takes over from the other may be a little behind it; a muxer wants time to go forward.
        buffer.pts = max(picture.time_ns - self._origin_ns, self._last_pts_ns + gst().MSECOND)
        self._last_pts_ns = buffer.pts
        appsrc.push_buffer(buffer)
        self.sent += 1

    def _open(self, picture: Picture, caps: str) -> None:
        encoder, properties = "", dict(self._sink.properties)
        if self._sink.bitrate_kbps is not None:
            encoder = f"{choose_encoder(self._platform, self._sink.bitrate_kbps, even_size(picture))} ! "
        if self._sink.recording is not None:
            properties["file"] = {"location": str(self._sink.recording.open())}
        source = "appsrc name=pictures is-live=true format=time block=false"
        pipeline = build_pipeline(Description(f"{source} ! {encoder}{self._sink.tail}", properties))
        pipeline.get_by_name("pictures").set_property("caps", gst().Caps.from_string(caps))
        start_pipeline(pipeline, time.monotonic_ns())
        self._pipeline, self._caps = pipeline, caps
        self._origin_ns, self._last_pts_ns = picture.time_ns, -gst().MSECOND

    def _check(self) -> None:
        """BackendError where the sink has stopped by itself; a sink that sends on is no longer failing."""
        if self._pipeline is None:
            return
        reason = stop_reason(self._pipeline)
        if reason is not None:
            raise BackendError(reason)
        if self.reason and self._last_pts_ns > 1_000_000_000:
            self.reason, self._pause_s = "", BACK_OFF_S[0]
            self._report(f"output {self.uri}: works again")

    def _fail(self, reason: str) -> None:
        self._retry_at_s = time.monotonic() + self._pause_s
        if not self.reason:
            self._report(f"output {self.uri}: {reason}; trying again in {self._pause_s:g} s")
        self._pause_s = min(2 * self._pause_s, BACK_OFF_S[1])
        self.reason = reason
        if self._pipeline is not None:
            stop_pipeline(self._pipeline)
            self._pipeline = None
        if self._sink.recording is not None:
            self._sink.recording.release()

    def _close(self) -> None:
        """Ends the stream, waits for the sink to finish, and gives a recording its name."""
        if self._pipeline is None:
            return
        self._pipeline.get_by_name("pictures").end_of_stream()
        reason = stop_reason(self._pipeline, round(CLOSE_S * gst().SECOND))
        stop_pipeline(self._pipeline)
        self._pipeline = None
        if reason != "end of stream":
            raise BackendError(reason or f"did not finish within {CLOSE_S:g} s")
        if self._sink.recording is not None:
            self._sink.recording.close()
