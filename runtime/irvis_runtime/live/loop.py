"""Two cameras fused live, as a rig file says."""

from __future__ import annotations

import gc
import threading
import time
from functools import partial
from pathlib import Path

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.compose import Composed, Composer
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.health import HealthLimits
from irvis_runtime.cameras.inbox import Inbox
from irvis_runtime.cameras.presence import PATIENCE, Presence
from irvis_runtime.cameras.sources import Role, make_source
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Platform, gst
from irvis_runtime.image import opencv
from irvis_runtime.kernels.library import describe_kernels, kind_of_kernels
from irvis_runtime.log import log
from irvis_runtime.rig import CameraConfig, LimitsConfig, Rig
from irvis_runtime.sinks.branch import Branch
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.picture import Picture
from irvis_runtime.stages import NO_TIMES
from irvis_runtime.states import State, Statistics

from .lettering import slate, with_corner
from .live_fuser import LiveFuser
from .misfits import Misfits
from .profile import Profile
from .reload import Reloader
from .status import Teller
from .status_form import status_mapping
from .views import Views

WAIT_S = 0.05
SLATE_S = 0.2
"""Without a camera a slate goes out so often, which keeps streams open and recordings going."""


class Live:
    """Two cameras, their composer and the outputs of one rig.

    Everything that can be wrong with the rig is a ContractError or BackendError here, before a model is
    loaded.
    """

    def __init__(self, rig: Rig, platform: Platform, profile: Profile | None = None) -> None:
        gst()
        # Its threads spin beside the network's: 0.4 ms of CPU a frame of 640x480.
        opencv().setNumThreads(1)
        self.rig, self._profile = rig, profile
        self._times = NO_TIMES if profile is None else profile.times
        self.inbox = Inbox()
        self.statistics = Statistics()
        self.state: State = "starting"
        self.slates = 0
        """Pictures that went out without a camera."""
        self.started_s = self._picture_s = self._slate_s = time.monotonic()
        self._last: Picture | None = None
        self._misfits = Misfits()
        self._presence = {"visible": Presence(0.0, 0.0), "infrared": Presence(0.0, 0.0)}
        self.branches = [
            Branch(make_sink(output, log), platform, log, view=output.view, times=self._times)
            for output in rig.output
        ]
        self.visible = self._camera("visible", rig.visible, platform)
        self.infrared = self._camera("infrared", rig.infrared, platform)
        self._set_limits()

    @property
    def left(self) -> int:
        """Pictures that have left by an output; those that were made, where every output is known closed."""
        if all(branch.reason for branch in self.branches):
            return self.statistics.frames + self.slates
        return sum(branch.sent for branch in self.branches)

    def run(
        self,
        fuser: LiveFuser,
        stop: threading.Event,
        seconds: float | None,
        status: Path | None,
        reloader: Reloader | None = None,
    ) -> None:
        """Fuses until `stop`, `seconds`, or the end of both sources; closes cameras and outputs in any case.

        BackendError where a source can never start, or the model fails.
        """
        self.composer = Composer(fuser, self.rig, self._times)
        teller = Teller(status, partial(status_mapping, self, fuser))
        log(fuser.description)
        log(describe_kernels())
        try:
            self._start()
            # What there is now stays: a full collection in flight would look through all of it.
            gc.collect()
            gc.freeze()
            next_tell_s = self.started_s
            while not stop.is_set() and not self._is_over():
                self._step()
                now_s = time.monotonic()
                self._watch(now_s)
                teller.follow(self.state)
                if reloader is not None and reloader.is_requested:
                    teller.reloading()
                    self._reload(reloader, fuser)
                    teller.reloaded()
                if now_s >= next_tell_s:
                    next_tell_s = now_s + 1.0
                    teller.tell(self.state, self.left)
                if seconds is not None and now_s - self.started_s >= seconds:
                    self._check_frames(now_s)
                    break
        finally:
            teller.stopping()
            if self._profile is not None:
                self._profile.end(self.statistics.frames)
            self._stop()
            self.state = "stopped"
            teller.close()
            gc.unfreeze()
        if self._profile is not None:
            facts = {"backend": fuser.backend, "precision": fuser.precision, "kernels": kind_of_kernels()}
            self._profile.write(facts)

    def _camera(self, role: Role, config: CameraConfig, platform: Platform) -> Camera:
        put = self.inbox.put_visible if role == "visible" else self.inbox.put_infrared
        presence = self._presence[role]

        def deliver(frame: Frame) -> None:
            # In the camera's thread, so that a pause of the loop is no absence of the camera.
            if presence.take(time.monotonic(), camera.period_s):
                put(frame)

        camera = Camera(
            role,
            make_source(config.source, role, platform),
            deliver,
            partial(log, camera=role),
            health=_health(self.rig.limits),
            times=self._times,
        )
        return camera

    def _set_limits(self) -> None:
        """Gives the rig's limits to the cameras."""
        limits = self.rig.limits
        for camera, config in ((self.visible, self.rig.visible), (self.infrared, self.rig.infrared)):
            camera.retime(config.latency_ms, limits.restart_ms / 1e3, limits.start_ms / 1e3, _health(limits))
        away_ms = {"visible": limits.lost_ms, "infrared": max(limits.hold_ms, limits.lost_ms)}
        for role, presence in self._presence.items():
            presence.away_s, presence.settle_s = away_ms[role] / 1e3, limits.settle_ms / 1e3

    def _start(self) -> None:
        self.started_s = self._picture_s = time.monotonic()
        epoch_ns = time.monotonic_ns()
        for part in self.branches:
            part.start()
        self.visible.start(epoch_ns)
        self.infrared.start(epoch_ns)

    def _stop(self) -> None:
        self.visible.stop()
        self.infrared.stop()
        for branch in self.branches:
            branch.stop()
        for branch in self.branches:
            branch.join()

    def _reload(self, reloader: Reloader, fuser: LiveFuser) -> None:
        """Goes on with the rig as it is in the file now, as far as that can change while running."""
        rig = reloader.read(self.rig)
        if rig is None:
            return
        composer = Composer(fuser, rig, self._times)
        try:
            composer.take_over(self.composer)
        except ContractError as error:
            log(f"the rig was not reloaded: {error}", event="reload", is_done=False)
            return
        self.composer, self.rig = composer, rig
        self._set_limits()
        for branch, output in zip(self.branches, rig.output, strict=True):
            branch.set_view(output.view)
        log("the rig was reloaded", event="reload", is_done=True)

    def _step(self) -> None:
        """Waits for a frame; where it makes a picture, hands that to every output."""
        self.inbox.wakes_for_infrared = self._is_visible_away()
        visible, infrared = self.inbox.take(WAIT_S)
        taken = [self._take_infrared(frame) for frame in infrared]
        if visible is not None:
            self._await_partner(visible)
        composed = self._composed(visible, any(taken))
        if composed is not None:
            self._put_out(composed)

    def _composed(self, visible: Frame | None, has_infrared: bool) -> Composed | None:
        """The picture of what came; a visible frame that fits no infrared one ends a start, or goes alone."""
        composed = None
        try:
            if visible is not None:
                composed = self.composer.from_visible(visible)
            elif has_infrared and self._is_visible_away():
                composed = self.composer.from_infrared()
        except ContractError as error:
            self._misfits.tell("visible", error, may_raise=self.statistics.frames == 0)
            return None if visible is None else self.composer.alone(visible)
        if composed is not None:
            self._misfits.forget("visible")
        return composed

    def _await_partner(self, visible: Frame) -> None:
        """Waits a little for an infrared frame that is on its way and nearer in time than those here.

        Of two cameras in step either may hand its frame over first; without this, pairs of a visible camera
        that is a little ahead would lie a whole period apart.
        """
        due_ns = self.composer.due_infrared_ns(visible)
        if due_ns is not None:
            for frame in self.inbox.await_infrared(due_ns, self.rig.limits.wait_ms / 1e3):
                self._take_infrared(frame)

    def _take_infrared(self, frame: Frame) -> bool:
        """Hands the frame on, and says whether it could; one that is not of the rig's sensor ends a start."""
        try:
            self.composer.add_infrared(frame)
        except ContractError as error:
            self._misfits.tell("infrared", error, may_raise=self.statistics.frames == 0)
            return False
        self._misfits.forget("infrared")
        return True

    def _put_out(self, composed: Composed) -> None:
        self._last = composed.picture
        count, mark = self.statistics.frames + self.slates, None
        if self.rig.picture.corner:
            mark = partial(with_corner, state=composed.state, count=count)
        views = Views(composed, mark)
        with self._times.stage("push"):
            for branch in self.branches:
                branch.push(views.picture(branch.view))
        self.statistics.add(composed.picture.time_ns, composed.skew_ms, composed.is_held)
        self.state, self._picture_s = composed.state, time.monotonic()
        if self._profile is not None:
            self._profile.follow(self.statistics.frames)

    def _is_visible_away(self) -> bool:
        """Whether infrared frames are the picture now; at the start the visible camera is waited for."""
        if self.visible.state in ("lost", "over"):
            return True
        now_s = time.monotonic()
        if self.visible.frames:
            return self._presence["visible"].is_away(now_s)
        return now_s - self.started_s > self.rig.limits.start_ms / 1e3

    def _is_over(self) -> bool:
        return self.visible.state == "over" and self.infrared.state == "over"

    def _watch(self, now_s: float) -> None:
        """Notices that no picture comes; BackendError where none ever will."""
        for camera in (self.visible, self.infrared):
            if camera.is_hopeless:
                raise BackendError(f"{camera.source.uri}: {camera.reason}; check the {camera.role} source")
        parts: list[Camera | Branch] = [self.visible, self.infrared, *self.branches]
        for part in parts:
            if part.defect is not None:
                raise part.defect
        limits = self.rig.limits
        if now_s - self.started_s > 1.5 * limits.start_ms / 1e3:
            self._check_frames(now_s)
        shown = self.infrared if self._is_visible_away() else self.visible
        silence_s = max(limits.lost_ms / 1e3, PATIENCE * shown.period_s)
        if self.statistics.frames and now_s - self._picture_s > silence_s:
            self.state = "no-cameras"
            self._put_slate(now_s)

    def _put_slate(self, now_s: float) -> None:
        if self._last is None or now_s - self._slate_s < SLATE_S:
            return
        self._slate_s = now_s
        picture = slate(self._last, time.monotonic_ns(), self.statistics.frames + self.slates)
        self.slates += 1
        for branch in self.branches:
            branch.push(picture)

    def _check_frames(self, now_s: float) -> None:
        """BackendError where no camera has given a picture since the start."""
        if self.statistics.frames == 0:
            cameras = (self.visible, self.infrared)
            reasons = "; ".join(f"{camera.source.uri}: {camera.reason or camera.state}" for camera in cameras)
            raise BackendError(f"no camera gave a frame within {now_s - self.started_s:.0f} s ({reasons})")


def _health(limits: LimitsConfig) -> HealthLimits:
    return HealthLimits(limits.frozen_ms, limits.black_ms, limits.slow_fps)
