"""file://: a recording, Matroska or fragmented MP4, or a picture file that is replaced again and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from irvis_runtime.errors import ContractError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.uri import Uri

from .encoders import Encoding
from .outlet import Sink
from .pipeline import PipelineSink
from .recording import Recording, Rotation, check_folder, free_name
from .snapshot import SnapshotSink

# Both play up to their end where the process was killed: a cluster or fragment is whole every half second.
MUXERS = {".mkv": "matroskamux", ".mp4": "mp4mux fragment-duration=500"}
SNAPSHOTS = (".jpg", ".jpeg", ".png")
RECORDER_PICTURES = 30
"""A recorder may wait a second for its disk or its next piece without losing a picture, at 30 a second."""


def make_recording(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """A recording that plays up to its end even where the process was killed.

    `{time}` in its name becomes the start's time (UTC), so that a service that starts again begins a new
    file.
    """
    template = Path(uri.location)
    muxer = MUXERS.get(template.suffix)
    if muxer is None:
        raise ContractError(
            f"{uri.text}: expected a name that ends in {', '.join(MUXERS)} (recordings) or "
            f"{', '.join(SNAPSHOTS)} (the newest picture)"
        )
    started = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    path = Path(uri.location.replace("{time}", started))
    if path != template and path.exists() and not config.overwrite:
        # A board without a clock begins at the same time again and again.
        path = free_name(path)
    rotation = Rotation(config.rotate_s, config.rotate_mib, config.keep_pieces, config.keep_free_mib)
    recording = Recording(path, config.overwrite, report, rotation, template)
    recording.check()
    return PipelineSink(
        uri.text,
        f"{config.codec}parse ! {muxer} ! filesink name=file buffer-mode=unbuffered",
        Encoding(config.bitrate_kbps, config.codec, config.keyframe_interval),
        recording=recording,
        stall_s=config.stall_ms / 1e3,
        waiting_pictures=RECORDER_PICTURES,
    )


def make_snapshot(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """The newest picture, every `every_s` seconds."""
    path = Path(uri.location)
    check_folder(path)
    return SnapshotSink(uri.text, path, config.every_s, config.stall_ms / 1e3)


def is_snapshot(uri: Uri) -> bool:
    """Whether the name is a picture's."""
    return Path(uri.location).suffix.lower() in SNAPSHOTS
