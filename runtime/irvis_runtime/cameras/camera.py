"""A camera in a thread of its own: opened, watched, and opened again when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import (
    END_OF_STREAM,
    Description,
    build_pipeline,
    gst,
    start_pipeline,
    stop_pipeline,
    stop_reason,
)
from irvis_runtime.stages import NO_TIMES, StageTimes

from .devices import ROOT, Identity, find_device, identify
from .feed import Feeder
from .frames import Form, Frame, FrameReader
from .health import Health, HealthLimits
from .source import Source

CameraState = Literal["starting", "running", "lost", "over"]

POLL_S = 0.05
BUS_S = 1.0
"""The bus is read so often while frames come: a stream's tags pile up there, and errors come among them."""
BACK_OFF_S = (0.5, 8.0)
"""The first and the longest pause before a lost camera is opened again; each doubles the last."""
REVIVE_AFTER = 2
"""Openings in a row without any frame, after which more than opening again is tried."""


class Camera:
    """Opens a source, hands its frames to `deliver` from its own thread, and opens it again after a failure.

    `restart_s`: without a frame for so long the source is closed and opened again; `start_s` for its first
    one. `health`: when frames that come count as none (`Health`), and the camera stays lost though it sends;
    a source that is certain is not judged.
    `report` gets one line when the camera comes, goes, changes its form, or cannot be opened. BackendError
    where GStreamer lacks an element.
    """

    def __init__(
        self,
        role: str,
        source: Source,
        deliver: Callable[[Frame], None],
        report: Callable[[str], None],
        *,
        latency_ms: float = 0.0,
        restart_s: float = 3.0,
        start_s: float = 10.0,
        health: HealthLimits | None = None,
        times: StageTimes = NO_TIMES,
        root: Path = ROOT,
    ) -> None:
        # A missing element is found here, before anything is started.
        build_pipeline(source.description)
        self.role, self.source = role, source
        self.state: CameraState = "starting"
        self.reason = ""
        """Why the camera is lost or over, in words."""
        self.frames = 0
        self.form: Form | None = None
        """The form of the last frame."""
        self.defect: Exception | None = None
        """What ended the thread though nothing should; the loop raises it."""
        self._deliver, self._report = deliver, report
        self._latency_ns = round(latency_ms * 1e6)
        self._restart_s, self._start_s = restart_s, start_s
        self._health = Health(health) if health is not None and not source.is_certain else None
        self._times, self._root = times, root
        self._identity: Identity | None = None
        self._stopping = threading.Event()
        self._epoch_ns = self._next_base_ns = 0
        self._has_sent = False
        """Whether a frame came in this opening, be it delivered or withheld."""
        self._thread = threading.Thread(target=self._run, name=f"camera-{role}", daemon=True)

    @property
    def is_hopeless(self) -> bool:
        """Whether the source failed before its first frame in a way that will not change."""
        return self.frames == 0 and self.state == "over"

    @property
    def period_s(self) -> float:
        """Seconds from frame to frame as negotiated; 0 where that is unknown."""
        return 1 / self.form.fps if self.form is not None and self.form.fps else 0.0

    def start(self, epoch_ns: int) -> None:
        """Starts; a file's or a scene's time counts from `epoch_ns`, so that two of them run in step."""
        self._epoch_ns = self._next_base_ns = epoch_ns
        self._thread.start()

    def retime(self, latency_ms: float, restart_s: float, start_s: float, health: HealthLimits) -> None:
        """Takes other limits for the frames to come."""
        self._latency_ns = round(latency_ms * 1e6)
        self._restart_s, self._start_s = restart_s, start_s
        if self._health is not None:
            self._health.limits = health

    def stop(self, timeout_s: float = 5.0) -> None:
        """Closes the source; a driver that hangs is left behind after `timeout_s`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._run_until_stopped()
        except Exception as error:
            self.defect = error

    def _run_until_stopped(self) -> None:
        pause_s, failed_openings = BACK_OFF_S[0], 0
        while not self._stopping.is_set():
            frames_before, self._has_sent = self.frames, False
            try:
                reason = self._play()
            except BackendError as error:
                reason = str(error)
            if self._stopping.is_set():
                return
            if self.frames == 0 and self.source.is_certain:
                self.state, self.reason = "over", reason
                return
            is_end = reason == END_OF_STREAM and self.frames > frames_before
            if is_end and self.source.on_end == "repeat":
                continue
            if reason == END_OF_STREAM and self.source.on_end == "finish":
                self._tell("over", reason)
                return
            if self.frames > frames_before:
                pause_s = BACK_OFF_S[0]
            # One that sends black pictures opens well: it waits longer, but nothing else is tried.
            failed_openings = 0 if self._has_sent else failed_openings + 1
            self._tell("lost", reason, f"; trying again in {pause_s:g} s")
            if failed_openings >= REVIVE_AFTER and self.source.revive is not None:
                self.source.revive(self._revival)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, BACK_OFF_S[1])

    def _revival(self, text: str) -> None:
        self._report(f"{self.role} camera: {text}")

    def _play(self) -> str:
        """Runs the pipeline until it stops; returns why."""
        pipeline = build_pipeline(self.located())
        if self.source.prepare is not None:
            self.source.prepare(pipeline)
        base_time_ns = self._base_time_ns()
        feeder = Feeder(pipeline, self.source.feed, base_time_ns) if self.source.feed is not None else None
        reader = FrameReader(base_time_ns, self._latency_ns, is_lent=self.source.is_lent)
        if self._health is not None:
            self._health.restart()
        try:
            start_pipeline(pipeline, base_time_ns)
            if feeder is not None:
                feeder.start()
            return self._pull_until_stopped(pipeline, reader, feeder)
        finally:
            if feeder is not None:
                feeder.stop()
            stop_pipeline(pipeline)
            if feeder is not None:
                feeder.join()

    def located(self) -> Description:
        """The source's description, with the node under which a device that was lost is found now."""
        description, device = self.source.description, self.source.device
        if device is None or self._identity is None or identify(device, self._root) == self._identity:
            return description
        node = find_device(self._identity, self._root)
        if node is None:
            # The node may be another camera's by now: it is not opened for want of the right one.
            raise BackendError(f"{self._identity.name or device} is not plugged in")
        self._report(f"{self.role} camera found as {node}")
        properties = {
            **description.properties,
            "source": {**description.properties["source"], "device": str(node)},
        }
        return replace(description, properties=properties)

    def _base_time_ns(self) -> int:
        """Running time 0: common to two scenes; a repeated file goes on where it ended."""
        now_ns = time.monotonic_ns()
        if self.source.feed is not None:
            return self._epoch_ns
        is_past = now_ns - self._next_base_ns > 1_000_000_000
        return now_ns if is_past or not self.source.is_paced else self._next_base_ns

    def _pull_until_stopped(self, pipeline: Any, reader: FrameReader, feeder: Feeder | None) -> str:
        Gst = gst()
        appsink = pipeline.get_by_name("frames")
        last_frame_s = bus_read_s = time.monotonic()
        limit_s = self._start_s
        while not self._stopping.is_set():
            with self._times.stage(f"pull {self.role}"):
                sample = appsink.try_pull_sample(round(POLL_S * Gst.SECOND))
                fault = "" if sample is None else self._take(sample, reader)
            if fault:
                return fault
            now_s = time.monotonic()
            if sample is not None:
                last_frame_s, limit_s = now_s, self._restart_s
                if now_s - bus_read_s < BUS_S:
                    continue
            bus_read_s = now_s
            # After the end of a stream try_pull_sample returns at once: the bus is waited for instead.
            reason = stop_reason(pipeline, 10 * Gst.MSECOND if appsink.is_eos() else 0)
            if reason is None and feeder is not None:
                reason = feeder.failure
            if reason is not None:
                return reason
            if time.monotonic() - last_frame_s > limit_s:
                return f"no frame for {limit_s:g} s"
        return "stopped"

    def _take(self, sample: Any, reader: FrameReader) -> str:
        """Delivers the sample's frame, withholds it, or returns what is wrong with it."""
        reader.latency_ns = self._latency_ns
        frame = reader.read(sample)
        form = reader.form
        self._has_sent = True
        if self._health is not None and form is not None:
            fault = self._health.fault(frame, form.fps)
            if fault or self._health.is_out:
                return fault
        if reader.duration_ns is not None:
            self._next_base_ns = frame.time_ns + self._latency_ns + reader.duration_ns
        self.frames += 1
        if self.state != "running":
            self._tell("running", "")
            self.remember_device()
        if form is not self.form:
            self._follow(form)
        self._deliver(frame)
        return ""

    def remember_device(self) -> None:
        """Notes which camera the device is, so that it is known when it comes back."""
        if self._identity is None and self.source.device is not None:
            self._identity = identify(self.source.device, self._root)

    def _follow(self, form: Form | None) -> None:
        """Reports a change of size or format, also over a restart."""
        if self.form is not None and form is not None and form.text != self.form.text:
            self._report(f"{self.role} camera changed from {self.form.text} to {form.text}")
        self.form = form

    def _tell(self, state: CameraState, reason: str, outlook: str = "") -> None:
        is_news = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        if is_news:
            self._report(f"{self.role} camera {state}{f': {reason}' if reason else ''}{outlook}")
