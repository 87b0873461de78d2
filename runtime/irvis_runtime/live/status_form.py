"""The public form of the status file of `irvis live`."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from irvis_runtime import __version__
from irvis_runtime.board import temperatures_c
from irvis_runtime.cameras.camera import Camera
from irvis_runtime.gstreamer import gst

if TYPE_CHECKING:
    from .live_fuser import LiveFuser
    from .loop import Live


def status_mapping(live: Live, fuser: LiveFuser) -> dict[str, Any]:
    """Returns the run's state, numbers and versions; null or empty for what was not measured."""
    dropped, composer = live.inbox.dropped, live.composer
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "running_s": round(time.monotonic() - live.started_s, 1),
        "state": live.state,
        **live.statistics.to_mapping(),
        "slates": live.slates,
        "cuts": composer.cuts,
        "dropped": {
            "infrared": dropped["infrared"] + composer.unused,
            "visible": dropped["visible"],
            "output": sum(branch.dropped for branch in live.branches),
        },
        "thermal": composer.thermal.status(),
        "cameras": {camera.role: _told(camera) for camera in (live.visible, live.infrared)},
        "forms": {
            camera.role: None if camera.form is None else camera.form.text
            for camera in (live.visible, live.infrared)
        },
        "outputs": {branch.uri: branch.state for branch in live.branches},
        "temperature_c": temperatures_c(),
        "backend": fuser.backend,
        "precision": fuser.precision,
        "versions": {"irvis": __version__, "gstreamer": gst().version_string(), **fuser.versions},
    }


def _told(camera: Camera) -> str:
    return f"{camera.state}: {camera.reason}" if camera.reason else camera.state
