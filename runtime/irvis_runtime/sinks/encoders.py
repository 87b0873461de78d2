"""Which H.264 encoder works here: one that exists and encodes two frames.

nvv4l2h264enc has never run: no Jetson was at hand. The element exists on an Orin Nano too, which has no
encoder, and fails there when it starts; hence the trial.
"""

from __future__ import annotations

import time
from functools import lru_cache

from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import (
    INSTALL,
    Description,
    Platform,
    build_pipeline,
    gst,
    start_pipeline,
    stop_pipeline,
    stop_reason,
)

KEYFRAME_INTERVAL = 30
TRIAL_S = 10


def encoder_launches(platform: Platform, bitrate_kbps: int) -> dict[str, str]:
    """Returns the encoders to try, best first: element -> launch text from NV12 to H.264."""
    launches = {
        "x264enc": (
            f"x264enc tune=zerolatency speed-preset=ultrafast bitrate={bitrate_kbps} "
            f"key-int-max={KEYFRAME_INTERVAL}"
        ),
        "openh264enc": (
            f"videoconvert ! openh264enc complexity=low rate-control=bitrate bitrate={1000 * bitrate_kbps} "
            f"gop-size={KEYFRAME_INTERVAL}"
        ),
    }
    if platform == "jetson":
        hardware = (
            "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc maxperf-enable=1 "
            f"insert-sps-pps=1 idrinterval={KEYFRAME_INTERVAL} bitrate={1000 * bitrate_kbps}"
        )
        launches = {"nvv4l2h264enc": hardware, **launches}
    return launches


def choose_encoder(platform: Platform, bitrate_kbps: int, size_hw: tuple[int, int]) -> str:
    """Returns the launch text of the first encoder that works at this size; BackendError where none does."""
    failures = []
    for element, launch in encoder_launches(platform, bitrate_kbps).items():
        failure = _trial_failure(element, launch, size_hw)
        if failure is None:
            return launch
        failures.append(f"{element}: {failure}")
    raise BackendError(
        f"no H.264 encoder works at {size_hw[1]}x{size_hw[0]} ({'; '.join(failures)}); {INSTALL}"
    )


@lru_cache(maxsize=32)
def _trial_failure(element: str, launch: str, size_hw: tuple[int, int]) -> str | None:
    """Encodes two frames; returns why that failed, or None."""
    Gst = gst()
    if Gst.ElementFactory.find(element) is None:
        return "is not installed"
    caps = f"video/x-raw,format=NV12,width={size_hw[1]},height={size_hw[0]},framerate=30/1"
    trial = f"videotestsrc num-buffers=2 ! {caps} ! {launch} ! appsink name=encoded sync=false"
    try:
        pipeline = build_pipeline(Description(trial))
        start_pipeline(pipeline, time.monotonic_ns())
        # An encoder may swallow what it cannot encode and still end without an error, as openh264enc does.
        encoded = pipeline.get_by_name("encoded").try_pull_sample(TRIAL_S * Gst.SECOND)
        reason = stop_reason(pipeline)
        stop_pipeline(pipeline)
    except BackendError as error:
        return str(error)
    return None if encoded is not None else reason or f"gave nothing in {TRIAL_S} s"
