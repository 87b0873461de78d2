"""`irvis live`: two cameras fused live, as a rig file says."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from . import __version__
from .cameras.camera import Camera
from .cameras.compose import Composer, FusesLuma
from .cameras.frames import Frame
from .cameras.inbox import Inbox
from .cameras.sources import Role, make_source
from .cli import Parser
from .config import describe
from .errors import BackendError, ContractError
from .gstreamer import Platform, find_platform, gst
from .rig import CameraConfig, Rig, load_rig
from .sinks.branch import Branch
from .sinks.destinations import make_sink
from .states import State, Statistics, Teller, log
from .views import Views

WAIT_S = 0.05


class LiveFuser(FusesLuma, Protocol):
    """What the loop needs of a Fuser: it fuses, and says what with."""

    @property
    def backend(self) -> str:
        """The backend's name."""
        ...

    @property
    def description(self) -> str:
        """What fuses, and why that, in one line."""
        ...

    @property
    def precision(self) -> str:
        """The model file that serves."""
        ...

    @property
    def versions(self) -> dict[str, str]:
        """Of what serves."""
        ...


def main(argv: Sequence[str]) -> int:
    """Runs `irvis live ...` until --seconds are over, both sources have ended, or SIGINT or SIGTERM comes."""
    parser = Parser(
        prog="irvis live",
        description="Fuse two cameras live, as a rig file says.",
        epilog="--help-rig lists the rig file",
    )
    parser.add_argument(
        "rig", type=Path, nargs="?", metavar="RIG.toml", help="cameras, registration, outputs, limits"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="fields that differ from the file")
    parser.add_argument("--seconds", type=float, metavar="N", help="stop after N seconds")
    parser.add_argument("--status", type=Path, metavar="FILE", help="JSON that tells the state once a second")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model directory instead of the rig's")
    parser.add_argument("--precision", help="auto, fp32, fp16, int8, ... instead of the rig's")
    parser.add_argument("--help-rig", action="store_true", help="list the rig file's fields")
    arguments = parser.parse_args(argv)
    if arguments.help_rig:
        sys.stdout.write(f"{describe(Rig)}\n")
        return 0
    if arguments.rig is None:
        raise ContractError("irvis live: expected a rig file; `irvis live --help-rig` lists what is in one")
    if arguments.seconds is not None and not 0 < arguments.seconds < float("inf"):
        raise ContractError(f"--seconds: expected a number above 0, got {arguments.seconds}")
    rig = load_rig(arguments.rig, arguments.overrides)
    model = arguments.model or rig.fusion.model
    run_rig(rig, model, arguments.precision or rig.fusion.precision, arguments.seconds, arguments.status)
    return 0


def run_rig(rig: Rig, model: Path | None, precision: str, seconds: float | None, status: Path | None) -> None:
    """Checks the rig, loads the model, and runs until the end; SIGINT and SIGTERM are a clean end."""
    from .stand_in import open_live_fuser

    live = Live(rig, find_platform())
    stop = threading.Event()
    stop_on_signals(stop)
    with open_live_fuser(model, precision, rig.fusion.backend, rig.fusion.threads, log) as fuser:
        live.run(fuser, stop, seconds, status)


def stop_on_signals(stop: threading.Event) -> None:
    """Has the first SIGINT or SIGTERM set `stop`; a second one ends the process at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


class Live:
    """Two cameras, their composer and the outputs of one rig.

    Everything that can be wrong with the rig is a ContractError or BackendError here, before a model is
    loaded.
    """

    def __init__(self, rig: Rig, platform: Platform) -> None:
        gst()
        self._rig = rig
        self._inbox = Inbox()
        self._statistics = Statistics()
        self._state: State = "starting"
        self._started_s = self._picture_s = self._visible_s = time.monotonic()
        self._branches = [
            Branch(make_sink(output, log), platform, log, view=output.view) for output in rig.output
        ]
        self._visible = self._camera("visible", rig.visible, platform, self._inbox.put_visible)
        self._infrared = self._camera("infrared", rig.infrared, platform, self._inbox.put_infrared)

    def run(
        self, fuser: LiveFuser, stop: threading.Event, seconds: float | None, status: Path | None
    ) -> None:
        """Fuses until `stop`, `seconds`, or the end of both sources; closes cameras and outputs in any case.

        BackendError where a source can never start, or the model fails.
        """
        composer = Composer(fuser, self._rig)
        teller = Teller(status, lambda: self._status(fuser, composer))
        log(fuser.description)
        try:
            self._start()
            next_tell_s = self._started_s
            while not stop.is_set() and not self._is_over():
                self._step(composer)
                now_s = time.monotonic()
                self._watch(now_s)
                teller.follow(self._state)
                if now_s >= next_tell_s:
                    next_tell_s = now_s + 1.0
                    teller.tell(self._state, self._statistics.frames)
                if seconds is not None and now_s - self._started_s >= seconds:
                    self._check_frames(now_s)
                    break
        finally:
            teller.stopping()
            self._stop()
            self._state = "stopped"
            teller.close()

    def _camera(
        self, role: Role, config: CameraConfig, platform: Platform, deliver: Callable[[Frame], None]
    ) -> Camera:
        return Camera(
            role,
            make_source(config.source, role, platform),
            deliver,
            log,
            latency_ms=config.latency_ms,
            restart_s=self._rig.limits.restart_ms / 1e3,
            start_s=self._rig.limits.start_ms / 1e3,
        )

    def _start(self) -> None:
        self._started_s = self._picture_s = self._visible_s = time.monotonic()
        epoch_ns = time.monotonic_ns()
        for part in self._branches:
            part.start()
        self._visible.start(epoch_ns)
        self._infrared.start(epoch_ns)

    def _stop(self) -> None:
        self._visible.stop()
        self._infrared.stop()
        for branch in self._branches:
            branch.stop()
        for branch in self._branches:
            branch.join()

    def _step(self, composer: Composer) -> None:
        """Waits for a frame; where it makes a picture, hands that to every output."""
        visible, infrared = self._inbox.take(WAIT_S)
        for frame in infrared:
            composer.add_infrared(frame)
        composed = None
        if visible is not None:
            self._visible_s = time.monotonic()
            composed = composer.from_visible(visible)
        elif infrared and self._is_visible_away():
            composed = composer.from_infrared()
        if composed is None:
            return
        views = Views(composed)
        for branch in self._branches:
            branch.push(views.picture(branch.view))
        self._statistics.add(composed.picture.time_ns, composed.skew_ms, composed.is_held)
        self._state, self._picture_s = composed.state, time.monotonic()

    def _is_visible_away(self) -> bool:
        """Whether infrared frames are the picture now; at the start the visible camera is waited for."""
        if self._visible.state in ("lost", "over"):
            return True
        limits = self._rig.limits
        limit_ms = limits.lost_ms if self._visible.frames else limits.start_ms
        return time.monotonic() - self._visible_s > limit_ms / 1e3

    def _is_over(self) -> bool:
        return self._visible.state == "over" and self._infrared.state == "over"

    def _watch(self, now_s: float) -> None:
        """Notices that no picture comes; BackendError where none ever will."""
        for camera in (self._visible, self._infrared):
            if camera.is_hopeless:
                raise BackendError(f"{camera.source.uri}: {camera.reason}; check the {camera.role} source")
        parts: list[Camera | Branch] = [self._visible, self._infrared, *self._branches]
        for part in parts:
            if part.defect is not None:
                raise part.defect
        limits = self._rig.limits
        if now_s - self._started_s > 1.5 * limits.start_ms / 1e3:
            self._check_frames(now_s)
        if self._statistics.frames and now_s - self._picture_s > limits.lost_ms / 1e3:
            self._state = "no-cameras"

    def _check_frames(self, now_s: float) -> None:
        """BackendError where no camera has given a picture since the start."""
        if self._statistics.frames == 0:
            cameras = (self._visible, self._infrared)
            reasons = "; ".join(f"{camera.source.uri}: {camera.reason or camera.state}" for camera in cameras)
            raise BackendError(f"no camera gave a frame within {now_s - self._started_s:.0f} s ({reasons})")

    def _status(self, fuser: LiveFuser, composer: Composer) -> dict[str, Any]:
        """The public form of the status file, with what the cameras and outputs are doing."""
        dropped = self._inbox.dropped
        return {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "state": self._state,
            **self._statistics.to_mapping(),
            "dropped": {
                "infrared": dropped["infrared"] + composer.unused,
                "visible": dropped["visible"],
                "output": sum(branch.dropped for branch in self._branches),
            },
            "thermal": composer.thermal.status(),
            "cameras": {camera.role: _told(camera) for camera in (self._visible, self._infrared)},
            "outputs": {branch.uri: branch.state for branch in self._branches},
            "backend": fuser.backend,
            "precision": fuser.precision,
            "versions": {"irvis": __version__, "gstreamer": gst().version_string(), **fuser.versions},
        }


def _told(camera: Camera) -> str:
    return f"{camera.state}: {camera.reason}" if camera.reason else camera.state
